"""Places at which a test can let a process die, to examine what is left. Standard library only.

HPOSLURM_FAIL_POINT names one place; the process then kills itself there with SIGKILL, like a node failure. In a normal
run the variable is unset, and a fail point costs one lookup in the environment.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "HPOSLURM_FAIL_POINT"

#: All places between two effects of a planner step, in the order of the step.
ADVANCE: tuple[str, ...] = (
    "decided",  # the next wave is decided, not recorded
    "planned",  # wave.json is there
    "claimed",  # intent.json is there
    "scripted",  # trial.sbatch is there
    "array submitted",  # sbatch answered, the job is not recorded
    "planner scripted",  # planner.sbatch is there
    "planner submitted",  # sbatch answered, the job is not recorded
    "jobs recorded",  # jobs.json is there
    "planner recorded",  # planner.json is there
    "swept",  # jobs that lost a race are cancelled
    "released",  # the arrays are released, which is not recorded
    "release recorded",  # the file `released` is there
    "one published",  # study.db is there, the tables are not
    "published",  # everything is published, the process is about to end
)
#: The place before a new study's directory, which is whole by then, gets its name.
CREATE: tuple[str, ...] = ("study filled",)
#: All places that only a chain of arrays and planners has: between two pairs, and after a wave smaller than its array.
CHAIN: tuple[str, ...] = ("pair laid", "surplus cancelled")
#: All places between two effects of an element of a refill wave: it takes an assignment, and proposes a batch.
REFILL: tuple[str, ...] = (
    "element entered",  # claims/element-00005.json is there
    "assignment taken",  # claims/00017 is there, the trial has not started
    "lease taken",  # the lease on the next batch is acquired
    "batch decided",  # the next batch is decided, not recorded
    "batch recorded",  # batch-00064.json is there
)
#: All places between two effects of closing a refill wave that has ended.
CLOSE: tuple[str, ...] = ("batch decided", "batch recorded", "rest closed")
#: All places between two effects of cancelling a study, and of preparing it to continue.
CANCEL: tuple[str, ...] = ("stop written", "planner cancelled", "arrays cancelled", "cancel marked")


def fail_point(name: str) -> None:
    """Kills this process with SIGKILL if HPOSLURM_FAIL_POINT names this place."""
    if os.environ.get(VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
