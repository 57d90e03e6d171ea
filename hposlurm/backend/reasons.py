"""Slurm's reasons why a job waits (squeue(1), JOB REASON CODES), and the remedy where waiting does not help."""

from __future__ import annotations

from collections.abc import Mapping

#: The reason of a job that will wait forever, as an ElementState's detail
NEVER_SATISFIED = "DependencyNeverSatisfied"
#: The reason of a job that waits for the end of others
DEPENDENCY = "Dependency"

_RELEASE_AGAIN = "scontrol release {job}"
# The reason in lower case with blanks, since Slurm's releases differ in that → the remedy
_HELD: Mapping[str, str] = {
    "jobhelduser": _RELEASE_AGAIN,
    "jobheldadmin": "an administrator holds it: ask for its release",
    "launch failed requeued held": f"its node could not start it: {_RELEASE_AGAIN}",
    "jobholdmaxrequeue": f"it was requeued too often: {_RELEASE_AGAIN}",
    "job requeued in held state": _RELEASE_AGAIN,
}
_TOO_MUCH: Mapping[str, str] = {
    "PartitionTimeLimit": "resources.time",
    "AssocMaxWallDurationPerJobLimit": "resources.time",
    "QOSMaxWallDurationPerJobLimit": "resources.time",
    "PartitionNodeLimit": "resources.nodes",
    "BadConstraints": "slurm.constraint",
}


def release_advice(reason: str, job_id: str) -> str | None:
    """Returns what a person can do about a job that is held for `reason`; None if it is not held."""
    advice = _HELD.get(reason.lower().replace("_", " "))
    return None if advice is None else advice.format(job=job_id)


def asks_too_much(reason: str) -> str | None:
    """Returns the key of the study file that requests too much if waiting does not end `reason`; None otherwise."""
    return _TOO_MUCH.get(reason)
