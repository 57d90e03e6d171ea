"""When what is published of a study falls behind while a refill wave runs, and who brings it up to date.

The planner publishes and tidies once a wave has ended, and one of refill mode may last for days. In between a process
that has thought of further assignments, and for which nobody waits, goes on as `python -m hposlurm.refill.publisher`.
"""

from __future__ import annotations

import os
import sys

from hposlurm.records import refill_pool
from hposlurm.records.files import age_s, from_json, publish, to_json
from hposlurm.records.layout import StudyLayout, WaveLayout

EVERY_S = 60.0
# A large study's files take long to write: not more than a twentieth of the time goes there
_REST = 19.0
# After so long whoever was at it counts as dead. Being wrong does no harm: each file is replaced in one step.
_DEAD_S = 900.0


def is_due(wave: WaveLayout) -> bool:
    """Whether it is time to bring what is published up to date, and nobody is at it; if so it is this process's to do.

    Raises OSError where the study's directory cannot be written to.
    """
    try:
        is_late = age_s(wave.upkeep) > max(EVERY_S, _REST * seconds(wave))
    except FileNotFoundError:
        is_late = age_s(wave.plan) > EVERY_S
    return is_late and refill_pool.hold(wave.upkeep_lease, _DEAD_S)


def go_on(layout: StudyLayout, wave: int) -> None:
    """Becomes the process that does it; does not return. Raises OSError if that cannot be started."""
    command = [sys.executable, "-P", "-m", "hposlurm.refill.publisher", str(layout.root), str(wave)]
    try:
        os.execv(command[0], command)
    finally:
        done(layout.wave(wave))


def note(wave: WaveLayout, taken_s: float) -> None:
    """Writes down that it was just begun, or done, and takes so many seconds."""
    publish(wave.upkeep, to_json({"seconds": taken_s}), is_durable=False)


def done(wave: WaveLayout) -> None:
    """Lets others at it."""
    refill_pool.let_go(wave.upkeep_lease)


def seconds(wave: WaveLayout) -> float:
    """How long it took the last time; 0 where that is not known."""
    try:
        return float(from_json(wave.upkeep.read_bytes())["seconds"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0.0
