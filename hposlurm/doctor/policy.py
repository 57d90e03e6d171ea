"""Checks accounting (are GPU hours recorded?) and preemption (how do jobs lose their nodes?). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hposlurm.doctor.answers import Answers, parse_partitions
from hposlurm.doctor.finding import SEE_CONTROLLER, Finding, ok, unknown, warn

_SHORT_GRACE_S = 30
# Below this the controller can forget a job between two queries of a planner without sacct
_SHORT_MIN_JOB_AGE_S = 120


def accounting(answers: Answers) -> Finding:
    """Checks that sacct answers and counts GPUs. Without it hposlurm uses its own records."""
    name, settings = "accounting", answers.settings
    own = "GPU hours come from hposlurm's own records instead"
    if "sacct" not in answers.commands or "slurmdbd" not in settings.get("AccountingStorageType", "slurmdbd"):
        return warn(name, f"there is no sacct here{_job_age(settings)}", f"{own}; nothing to set")
    if not settings:
        return unknown(name, SEE_CONTROLLER)
    if answers.sacct.error:
        return warn(name, answers.sacct.error, f"{own}; ask whether slurmdbd is down, or sacct is not for users")
    counted = settings.get("AccountingStorageTRES", "").split(",")
    if not any(tres.startswith("gres/gpu") for tres in counted):
        return warn(name, "sacct answers, but does not count GPUs", f"{own}; ask for AccountingStorageTRES=gres/gpu")
    return ok(name, "sacct answers and counts GPUs (gres/gpu)")


def _job_age(settings: Mapping[str, str]) -> str:
    age = re.match(r"\d+", settings.get("MinJobAge", ""))
    if age and int(age.group()) < _SHORT_MIN_JOB_AGE_S:
        return f", and squeue forgets a job {age.group()} s after its end (MinJobAge)"
    return ""


def preemption(answers: Answers, partition: str | None) -> Finding:
    """Checks how jobs are preempted, and how long they have to save."""
    name, settings = "preemption", answers.settings
    if not settings:
        return unknown(name, SEE_CONTROLLER)
    kind, mode = settings.get("PreemptType", ""), settings.get("PreemptMode", "OFF")
    if kind in ("", "preempt/none") or mode.startswith("OFF"):
        return ok(name, "off: no job is preempted")
    known = parse_partitions(answers.partitions.text)
    grace = _grace_times(known, kind, mode)
    if known and not grace:
        return ok(name, f"{kind.removeprefix('preempt/')}, but no partition has a lower priority tier than another")
    if partition in known:
        if partition not in grace:
            return ok(name, f"{kind.removeprefix('preempt/')}; jobs in {partition} are not preempted")
        grace = {partition: grace[partition]}
    user_signal = "send_user_signal" in settings.get("PreemptParameters", "")
    requeue = "on" if settings.get("JobRequeue", "1") == "1" else "off by default (hposlurm asks for it)"
    found = (
        f"{kind.removeprefix('preempt/')}, mode {mode}; requeue {requeue}\n"
        f"GraceTime {_by_value(grace)}; send_user_signal {'on' if user_signal else 'off (not needed)'}"
    )
    if "SUSPEND" in mode:
        return warn(
            name, found, "a suspended trial keeps its GPU memory, and its clock runs on: set a longer trial.timeout"
        )
    short = [p for p, seconds in grace.items() if seconds < _SHORT_GRACE_S]
    if short:
        advice = f"trials preempted in {_listed(short)} lose all since their last checkpoint: ask for GraceTime=120"
        return warn(name, found, advice)
    return ok(name, found)


def _grace_times(known: dict[str, dict[str, str]], kind: str, mode: str) -> dict[str, int]:
    """Returns the GraceTime in seconds of each partition whose jobs can be preempted."""
    tiers = {p: int(s["PriorityTier"]) for p, s in known.items() if s.get("PriorityTier", "").isdigit()}
    highest = max(tiers.values(), default=0) if kind == "preempt/partition_prio" else None
    return {
        p: int(s["GraceTime"]) if s.get("GraceTime", "").isdigit() else 0
        for p, s in known.items()
        if s.get("PreemptMode", mode) != "OFF" and tiers.get(p) != highest
    }


def _by_value(grace: dict[str, int]) -> str:
    """Returns "0 s (batch, urgent), 10 s (grace)"; without names if all are equal."""
    values = sorted(set(grace.values()))
    if len(values) <= 1:
        return f"{values[0] if values else 0} s"
    return ", ".join(f"{value} s ({_listed([p for p, v in grace.items() if v == value])})" for value in values)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
