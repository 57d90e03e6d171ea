"""`python -m hposlurm.decisions STUDY_DIR WAVE [needed]`: adds the next batch to a refill wave's pool.

A process of its own beside a worker, so that no training waits for the search. Exit status 0 whether or not there was
something to add, 1 with one line on stderr if that could not be found out. Where no element waits for it (`needed`), it
goes on with what has fallen behind of the published files, if anything has (refill/upkeep.py).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from hposlurm.errors import HposlurmError
from hposlurm.records.layout import StudyLayout


def main(arguments: list[str]) -> int:
    from hposlurm.refill import upkeep
    from hposlurm.refill.batches import add_batch
    from hposlurm.refill.cancel_idle import cancel_surplus

    layout, wave, is_needed = StudyLayout(Path(arguments[0])), int(arguments[1]), "needed" in arguments[2:]
    try:
        batch = add_batch(layout, wave, time.time(), is_needed=is_needed)
        if batch and batch.over:
            cancel_surplus(layout.wave(wave), batch)
        if not is_needed and upkeep.is_due(layout.wave(wave)):
            upkeep.go_on(layout, wave)
    except (HposlurmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
