"""Array elements that a refill wave no longer needs: each would wait, be given GPUs and find nothing to do."""

from __future__ import annotations

import os
import shutil
import subprocess

from hposlurm.errors import StudyError
from hposlurm.records import refill_pool
from hposlurm.records.files import from_json
from hposlurm.records.layout import WaveLayout
from hposlurm.records.refill_pool import Batch

_PATIENCE_S = 20.0


def cancel_surplus(wave: WaveLayout, ending: Batch) -> None:
    """Cancels the elements behind all that have started, once `ending` has ended the wave's pool.

    They never took anything and never can; Slurm starts the elements of an array in order. What is left over if this
    fails ends by itself, so no failure matters. Only within a job of the wave.
    """
    try:
        surplus = _surplus(wave, ending.position)
        scancel = shutil.which("scancel")
        if surplus and scancel:
            # with --state as well, scancel takes all waiting elements of the array, not only these
            subprocess.run(
                [scancel, *surplus], stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE_S, check=False
            )
    except (OSError, ValueError, TypeError, KeyError, StudyError, subprocess.SubprocessError):
        return


def _surplus(wave: WaveLayout, end: int) -> list[str]:
    mine = os.environ.get("SLURM_ARRAY_JOB_ID")
    arrays = from_json(wave.jobs.read_bytes())["arrays"] if mine else []
    # only where it is known who has each position: nobody else can have a trial then
    if mine not in [array["job_id"] for array in arrays] or not {*range(end)} <= refill_pool.taken(wave):
        return []
    started = {*refill_pool.takers(wave).values(), *refill_pool.entered(wave)}
    found = []
    for array in arrays:
        offset, count = int(array["offset"]), int(array["count"])
        first = max((element + 1 - offset for element in started if element < offset + count), default=0)
        if (first := max(first, 0)) < count:
            found.append(f"{array['job_id']}_[{first}-{count - 1}]")
    return found
