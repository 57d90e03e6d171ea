"""`python -m hposlurm.refill STUDY_DIR WAVE [needed]`: adds the next batch to a refill wave's pool.

A separate process beside a worker, so that no training waits for the search. The exit status is 0 whether or not there
was something to add, and 1, with one line on stderr, after an error. Unless an element waits for the batch (`needed`),
the process then publishes and cleans up if that is due (upkeep.py). Nothing depends on that, and SIGTERM may end it.
"""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

from hposlurm.errors import HposlurmError
from hposlurm.records.layout import StudyLayout
from hposlurm.records.ownership import check_own
from hposlurm.records.refill_pool import Batch

# How long to wait for the cluster's answer. Nothing depends on the answer.
_PATIENCE_S = 20.0


def main(arguments: list[str]) -> int:
    from hposlurm.refill.batches import add_batch

    layout, wave, is_needed = StudyLayout(Path(arguments[0])), int(arguments[1]), "needed" in arguments[2:]
    try:
        check_own(layout.root)
        batch = add_batch(layout, wave, time.time(), is_needed=is_needed)
        if batch and batch.over:
            _cancel_idle(layout, wave, batch)
        if not is_needed:
            _publish_if_due(layout, wave)
    except (HposlurmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _cancel_idle(layout: StudyLayout, wave: int, ending: Batch) -> None:
    from hposlurm.backend import choose
    from hposlurm.refill.jobs import cancel_idle
    from hposlurm.spec.frozen import frozen_spec

    with contextlib.suppress(HposlurmError, OSError):  # idle elements end by themselves
        cancel_idle(choose(frozen_spec(layout).backend, patience_s=_PATIENCE_S), layout.wave(wave), ending)


def _publish_if_due(layout: StudyLayout, wave: int) -> None:
    from hposlurm.refill import upkeep

    if upkeep.is_due(layout.wave(wave)):
        upkeep.catch_up(layout, wave)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
