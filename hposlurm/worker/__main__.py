"""The worker's command line: STUDY_DIR WAVE INDEX."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hposlurm.errors import HposlurmError, RequestError
from hposlurm.records.permissions import umask_for
from hposlurm.worker.run import NOTHING_TO_RUN, run


def main(arguments: list[str]) -> int:
    try:
        if len(arguments) != 3 or not (arguments[1].isdecimal() and arguments[2].isdecimal()):
            raise RequestError(f"usage: python -m hposlurm.worker STUDY_DIR WAVE INDEX; given: {arguments}")
        study = Path(arguments[0]).absolute()
        if (umask := umask_for(study)) is not None:
            os.umask(umask)  # the group of a shared study reads what the training code writes, too
        return run(study, int(arguments[1]), int(arguments[2]))
    except (HposlurmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return NOTHING_TO_RUN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
