"""Checks Slurm's limits: the size of arrays, the jobs of a user, the time between TERM and KILL. Pure.

A wave that exceeds a limit is submitted in several arrays, so most limits are reported without a warning.
"""

from __future__ import annotations

import re

from hposlurm.backend.cluster_facts import kill_wait_s, max_array_size
from hposlurm.backend.queries import gpus_in_tres
from hposlurm.doctor.answers import Answers, associations, parse_partitions, qualities
from hposlurm.doctor.finding import SEE_CONTROLLER, Finding, fail, ok, unknown, warn

_SHORT_KILL_WAIT_S = 10
_FEW_JOBS = 10


def arrays(answers: Answers) -> Finding:
    if not answers.settings:
        return unknown("arrays", SEE_CONTROLLER)
    size = max_array_size(answers.config.text)
    tasks = max_array_tasks(answers.settings.get("SchedulerParameters", ""))
    jobs = answers.settings.get("MaxJobCount", "?")
    limit = "no max_array_tasks" if tasks is None else f"max_array_tasks {tasks}"
    found = f"MaxArraySize {size}, {limit}, MaxJobCount {jobs}"
    if size < 1:
        return fail("arrays", found, "job arrays are disabled: ask the administrator for MaxArraySize=1001")
    return ok("arrays", found)


def max_array_tasks(scheduler_parameters: str) -> int | None:
    """Returns the largest number of elements in an array; None if only the index is limited.

    See max_array_tasks under SchedulerParameters in slurm.conf(5).
    """
    found = re.search(r"(?:^|,)max_array_tasks=(\d+)", scheduler_parameters)
    return int(found.group(1)) if found else None


def submit_limits(answers: Answers, partition: str | None) -> Finding:
    """Checks how many jobs and GPUs a user may have. Each array element counts as a job, and the planner too."""
    name = "submit_limits"
    enforced = set(re.split(r"[,\s]+", answers.settings.get("AccountingStorageEnforce", "").lower()))
    if answers.settings and not enforced & {"limits", "safe", "all"}:
        return ok(name, "limits of accounts and QOS are not enforced here")
    if not answers.settings:
        return unknown(name, SEE_CONTROLLER)
    if answers.association.error:
        advice = "sbatch fails when a limit is reached; ask for your MaxSubmitJobs and set waves.size below it"
        return unknown(name, answers.association.error, advice)
    if not associations(answers):
        advice = "sbatch may refuse your jobs: ask for an account, and set slurm.account"
        return warn(name, "sacctmgr lists no account for you", advice)
    jobs, gpus = _limits(answers, partition)
    if not jobs and not gpus:
        return ok(name, "no limit on your jobs or GPUs in your accounts and QOS")
    found = "; ".join(
        [
            *(f"at most {n} {'job' if n == 1 else 'jobs'} ({where})" for where, n in jobs),
            *(f"{n} GPUs ({where})" for where, n in gpus),
        ]
    )
    lowest = min((n for _, n in jobs), default=None)
    if lowest is not None and lowest < 2:
        return fail(name, found, "a study needs at least two jobs, an element and its planner: ask for MaxSubmitJobs")
    if lowest is not None and lowest <= _FEW_JOBS:
        return warn(name, found, f"each element counts, and the planner too: set waves.size to at most {lowest - 1}")
    return ok(name, found)


def _limits(answers: Answers, partition: str | None) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Returns the limits on queued jobs and on GPUs, each with the account or QOS that sets it."""
    jobs: list[tuple[str, int]] = []
    gpus: list[tuple[str, int]] = []
    names: set[str] = set()
    for row in associations(answers):
        if partition and row["Partition"] not in ("", partition):
            continue
        names |= {name for name in row["QOS"].split(",") if name}
        jobs += [(f"account {row['Account']}", int(row[f])) for f in ("MaxSubmit", "GrpSubmit") if row[f].isdigit()]
        if n := gpus_in_tres(row["GrpTRES"]):
            gpus.append((f"account {row['Account']}", n))
    if partition:
        names.add(parse_partitions(answers.partitions.text).get(partition, {}).get("QoS", ""))
    for name, row in qualities(answers).items():
        if name in names:
            limits = [row[f] for f in ("MaxSubmitPU", "MaxSubmitPA", "GrpSubmit")]
            jobs += [(f"QOS {name}", int(limit)) for limit in limits if limit.isdigit()]
            gpus += [(f"QOS {name}", n) for f in ("MaxTRESPU", "GrpTRES") if (n := gpus_in_tres(row[f]))]
    return jobs, gpus


def kill_wait(answers: Answers) -> Finding:
    if not answers.settings:
        return unknown("kill_wait", SEE_CONTROLLER)
    seconds = kill_wait_s(answers.config.text)
    found = f"{seconds} s from TERM to KILL"
    if seconds < _SHORT_KILL_WAIT_S:
        advice = "short for saving after scancel (before the time limit, trials get more time). KillWait=30 is usual"
        return warn("kill_wait", found, advice)
    return ok("kill_wait", found)
