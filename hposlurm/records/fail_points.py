"""Places at which a process can be told to die, so that a test can look at what is left. Standard library only.

HPOSLURM_FAIL_POINT names one; the process then kills itself there with SIGKILL, as a node failure would. Unset, as in
every normal run, a fail point costs one look into the environment.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "HPOSLURM_FAIL_POINT"

#: Every place between two effects of a planner step, in the order in which a step comes by.
ADVANCE: tuple[str, ...] = (
    "decided",  # the next wave is thought of, and recorded nowhere
    "planned",  # wave.json is there
    "claimed",  # intent.json is there
    "scripted",  # trial.sbatch is there
    "array submitted",  # sbatch answered, and nothing is recorded
    "planner scripted",  # planner.sbatch is there
    "planner submitted",  # sbatch answered, and nothing is recorded
    "jobs recorded",  # jobs.json is there
    "planner recorded",  # planner.json is there
    "swept",  # jobs that lost a race are cancelled
    "released",  # the arrays are released, and it is not recorded
    "release recorded",  # the file `released` is there
    "one published",  # study.db is there, the tables are not
    "published",  # everything is published, and the process would end
)
#: Every place that only a chain of arrays and planners has: between two pairs, behind a wave smaller than its array.
CHAIN: tuple[str, ...] = ("pair laid", "surplus cancelled")
#: Every place between two effects of an element of a refill wave that takes an assignment, and of who proposes more.
REFILL: tuple[str, ...] = (
    "element entered",  # claims/element-00005.json is there
    "assignment taken",  # claims/00017 is there, and nothing of the trial
    "lease taken",  # somebody is at the next batch
    "batch decided",  # the next batch is thought of, and recorded nowhere
    "batch recorded",  # batch-00064.json is there
)
#: Every place between two effects of closing a refill wave that has ended.
CLOSE: tuple[str, ...] = ("batch decided", "batch recorded", "rest closed")
#: Every place between two effects of cancelling a study and of making it ready to go on.
CANCEL: tuple[str, ...] = ("stop written", "planner cancelled", "arrays cancelled", "cancel marked")


def fail_point(name: str) -> None:
    """Kills this process with SIGKILL if HPOSLURM_FAIL_POINT names this place."""
    if os.environ.get(VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
