"""`python -m hposlurm.refill.publisher STUDY_DIR WAVE`: publishes and tidies while a refill wave runs (keep_up.py).

A process beside a worker, which ends it with the trial: SIGTERM at any time. Exit status 1 with one line on stderr if
something could not be read or written; nothing depends on it.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from hposlurm.errors import HposlurmError
from hposlurm.records.layout import StudyLayout
from hposlurm.refill import upkeep


def main(arguments: list[str]) -> int:
    layout, wave = StudyLayout(Path(arguments[0])), int(arguments[1])
    try:
        signal.signal(signal.SIGTERM, _end)
        # a worker starts its processes with it held back: what came until now is answered here
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        from hposlurm.refill.keep_up import keep_up

        keep_up(layout, wave)
    except (HposlurmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        upkeep.done(layout.wave(wave))
    return 0


def _end(_number: int, _frame: object) -> None:
    sys.exit(1)  # not killed: what is half written is taken away


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
