"""Causes out of the sentences of format 1: journals, plans and batches of before had nothing else. Read once, here.

A record of format 2 tells its cause itself. The patterns are those of the last version that wrote format 1, and
do not follow the sentences of `cause_text` when these change.
"""

from __future__ import annotations

import ast
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hposlurm.records.assignment import Settlement
from hposlurm.trial import Cause, EndCause, JobState, Outcome

_Match = re.Match[str]
_EXIT = (
    r"command (?:exited with status (?P<status>\d+)(?: \([^)]*\))?(?:: (?P<said>.*))?"
    r"|was killed by signal (?P<by>\d+).*)"
)
_STATES = "|".join(JobState)


def cause_of(outcome: Outcome | None, reason: str) -> EndCause | None:
    """Returns the cause that an old record's `reason` tells; None if it has none."""
    if not reason:
        return None
    if outcome is Outcome.PRUNED:
        return _pruned(reason)
    for pattern, build in _PATTERNS.items():
        if found := pattern.fullmatch(reason):
            return build(found)
    for beginning, kind in _BEGINNINGS.items():
        if reason.startswith(beginning):
            return EndCause(kind, detail=reason)
    return EndCause(Cause.NOT_BEGUN if outcome is Outcome.FAIL else Cause.UNKNOWN, detail=reason)


def with_causes(settled: tuple[Settlement, ...]) -> tuple[Settlement, ...]:
    """Returns the settlements of an old plan or batch with their causes."""
    return tuple(replace(s, cause=cause_of(s.outcome, s.reason)) for s in settled)


def _pruned(reason: str) -> EndCause:
    found = re.fullmatch(r"(?P<detail>.*?)(?:; killed after (?P<killed>\d+) s)?", reason, re.DOTALL)
    detail, killed = found.group("detail", "killed") if found else (reason, None)
    return EndCause(Cause.PRUNED, detail=detail, killed_after_s=None if killed is None else float(killed))


def _exit(found: _Match) -> EndCause:
    code = int(found["status"]) if found["status"] else -int(found["by"])
    return EndCause(Cause.COMMAND_FAILED, exit_code=code, detail=found["said"] or "")


def _guard(found: _Match) -> EndCause:
    code: int | None = 0
    if said := found["how"]:
        how = re.fullmatch(_EXIT, said, re.DOTALL)
        code = _exit(how).exit_code if how else None
    return EndCause(Cause.MEMORY_GUARD, detail=found["detail"], exit_code=code)


def _not_a_number(found: _Match) -> EndCause:
    try:
        value = str(ast.literal_eval(found["value"]))
    except (ValueError, SyntaxError):
        value = found["value"]
    return EndCause(Cause.METRIC_NOT_FINITE, metric=found["metric"], value=value, step=int(found["step"]))


def _asked(found: _Match) -> EndCause:
    number = signal.Signals[found["name"]]
    kind = Cause.TIME_LIMIT_AHEAD if number == signal.SIGUSR2 else Cause.TOLD_TO_STOP
    killed = found["killed"]
    return EndCause(kind, signal=int(number), killed_after_s=None if killed is None else float(killed))


def _time_limit(found: _Match) -> EndCause:
    if found["minutes"]:
        return EndCause(Cause.TIME_LIMIT, limit_s=float(found["minutes"]) * 60)
    has_checkpoint = {None: None, "without new progress": True}.get(found["lack"], False)
    step = None if found["step"] is None else int(found["step"])
    return EndCause(Cause.TIME_LIMIT, step=step, has_checkpoint=has_checkpoint)


def _of(kind: Cause, **wanted: Callable[[str], Any]) -> Callable[[_Match], EndCause]:
    """Returns what builds the cause from the pattern's groups, each read by a function."""
    return lambda found: EndCause(kind, **{name: read(found[name] or "") for name, read in wanted.items()})


def _whole(text: str) -> int:
    return int(text or 0)


_SENTENCES: Mapping[str, Callable[[_Match], EndCause]] = {
    r"command could not be started: (?P<detail>.*)": _of(Cause.COMMAND_NOT_STARTED, detail=str),
    r"command could not be killed": _of(Cause.COMMAND_NOT_KILLABLE),
    _EXIT: _exit,
    r"reported no metrics at all(?: \((?P<count>\d+) lines? of .*\))?; use .*": _of(Cause.NO_METRICS, count=_whole),
    r"never reported (?P<metric>.*?); reported: (?P<detail>.*)": _of(Cause.METRIC_MISSING, metric=str, detail=str),
    r"(?P<metric>.*?) at step (?P<step>-?\d+) is (?P<value>nan|inf|-inf)": _of(
        Cause.METRIC_NOT_FINITE, metric=str, step=_whole, value=str
    ),
    r"(?P<metric>.*?) at step (?P<step>-?\d+) is (?P<value>.*), which is not a number": _not_a_number,
    r"trial\.timeout of (?P<limit_s>\S+) s exceeded": _of(Cause.TRIAL_TIMEOUT, limit_s=float),
    r"(?P<detail>.*) \(memory guard: asked to save and stop(?:, (?P<how>.*))?\)": _guard,
    r"out of GPU memory: (?P<detail>.*)": _of(Cause.OUT_OF_GPU_MEMORY, detail=str),
    r"it ended by itself at step (?P<step>-?\d+), before the (?P<to_step>\d+) that was assigned": _of(
        Cause.OTHER_STEP, step=_whole, to_step=_whole
    ),
    r"it went on to step (?P<step>-?\d+), past the (?P<to_step>\d+) that was assigned .*": _of(
        Cause.OTHER_STEP, step=_whole, to_step=_whole
    ),
    r"(?P<name>SIGTERM|SIGINT|SIGUSR2)(?: \([^)]*\))?(?:; killed after (?P<killed>\d+) s)?": _asked,
    r"the job ended without a result record": _of(Cause.JOB_ENDED_SILENTLY),
    r"the job failed without a result record": _of(Cause.JOB_FAILED),
    r"out of memory: the job used more than resources\.mem_gb(?: \(.*\))?": _of(Cause.OUT_OF_HOST_MEMORY),
    r"time limit: the job used up (?:the (?P<minutes>\S+) minutes of its part"
    r"|resources\.time(?: at step (?P<step>-?\d+))?(?:, (?P<lack>without .*))?)": _time_limit,
    r"preempted": _of(Cause.PREEMPTED),
    r"its node failed": _of(Cause.NODE_FAILED),
    r"the process that drove it has ended": _of(Cause.DRIVER_ENDED),
    r"cancelled": _of(Cause.CANCELLED),
    r"the study was cancelled": _of(Cause.STUDY_CANCELLED),
    r"lost: no result record, and the cluster does not know the job any more": _of(Cause.LOST),
    rf"the job ended (?P<job_state>{_STATES}) before its worker started(?:: (?P<detail>.*))?": _of(
        Cause.WORKER_NOT_STARTED, job_state=JobState, detail=str
    ),
    r"its job came before the plan could be seen, and left": _of(Cause.TOO_EARLY),
    r"an earlier attempt had ended the trial by then": _of(Cause.ALREADY_ENDED),
    r"(?P<count>\d+) jobs found nothing to do": _of(Cause.NOTHING_TO_DO, count=_whole),
}
_PATTERNS = {re.compile(pattern, re.DOTALL): build for pattern, build in _SENTENCES.items()}
# A sentence of a still older version decided by how it began
_BEGINNINGS = {
    "SIGUSR2": Cause.TIME_LIMIT_AHEAD,
    "time limit": Cause.TIME_LIMIT,
    "command ": Cause.COMMAND_FAILED,
    "the job ": Cause.JOB_FAILED,
    "lost: ": Cause.LOST,
}
