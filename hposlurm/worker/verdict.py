"""Decides how an attempt ended, and why. Pure."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hposlurm.trial import Cause, EndCause, Outcome, is_finite
from hposlurm.worker.last_words import NOTHING_SAID, LastWords

_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Ending:
    """The facts that the worker saw at the end of a command."""

    # Negative for a signal, None if the command could not be killed
    exit_code: int | None
    # Why it was asked to leave, None if it was not
    asked: EndCause | None = None
    # How long it was then waited for, None if it left by itself
    killed_after_s: float | None = None
    # True if the training code itself said that it leaves because it was asked
    is_stopping: bool = False
    # True if it reported metrics; False if only earlier attempts did
    has_reported: bool = True
    timed_out_s: float | None = None
    # Lines of its metrics file that were not reports
    unreadable: int = 0
    # Lines of its output that trial.metric_pattern saw; None without a pattern
    lines: int | None = None
    # The first step in a match that was not a whole number, "" if there was none
    uneven_step: str = ""
    # The memory guard's reason to ask it to save and stop, "" if there was none
    memory: str = ""
    # The search's reason to end the trial, None if there was none
    pruned: EndCause | None = None


def judge(
    ending: Ending,
    objectives: Sequence[str],
    last: Mapping[str, tuple[int, float | str]],
    to_step: int | None = None,
    said: LastWords = NOTHING_SAID,
    out_of_gpu_memory: str = "",
) -> tuple[Outcome, EndCause | None]:
    """Returns the outcome and its cause (None if complete as assigned) from the last (step, value) of each metric.

    `last` has what earlier attempts reported up to the checkpoint, too: a command that had nothing left to train, and
    therefore reports nothing, completes the trial.

    A command that was asked to leave and ends with status 0 and all its metrics is complete, unless it reported that it
    leaves because it was asked: a command that ignores requests may just have finished. A command that left for the
    memory guard has failed. That costs a retry, since another attempt may meet the same limit. A command that left for
    the search is pruned, however it left. `out_of_gpu_memory` is the error of any rank; such a configuration is not
    tried again, nor is one whose command line was refused.

    A command that ends by itself before `to_step`, or goes on past it, is complete: it knows its own end, and its
    reports count. The cause then holds how far it went.
    """
    code = ending.exit_code
    if out_of_gpu_memory and code != 0 and not ending.asked and not ending.pruned:
        return Outcome.INFEASIBLE, EndCause(Cause.OUT_OF_GPU_MEMORY, detail=out_of_gpu_memory)
    if ending.timed_out_s is not None:
        return Outcome.FAIL, EndCause(Cause.TRIAL_TIMEOUT, limit_s=ending.timed_out_s)
    problem = metrics_problem(objectives, last, _nothing(ending))
    if (ending.asked or ending.memory or ending.pruned) and code == 0 and not problem:
        has_arrived = to_step is not None and min(last[name][0] for name in objectives) >= to_step
        is_own_end = ending.has_reported and not ending.is_stopping and (to_step is None or not ending.pruned)
        if has_arrived or is_own_end:
            return Outcome.COMPLETE, distance(objectives, last, to_step)
    if asked := ending.pruned or ending.asked:
        outcome = Outcome.PRUNED if ending.pruned else Outcome.INTERRUPTED
        return outcome, replace(asked, killed_after_s=ending.killed_after_s)
    if ending.memory and (ending.is_stopping or code in _KILLED):
        return Outcome.FAIL, EndCause(Cause.MEMORY_GUARD, exit_code=code, detail=ending.memory)
    if code != 0:
        return Outcome.FAIL, _failure(code, said, is_begun=bool(last))
    return (Outcome.FAIL, problem) if problem else (Outcome.COMPLETE, distance(objectives, last, to_step))


def _failure(code: int | None, said: LastWords, *, is_begun: bool) -> EndCause:
    """Returns the cause of a failed command; its last words explain an exit status, but not a signal."""
    if code is None:
        return EndCause(Cause.COMMAND_NOT_KILLABLE)
    if said.is_wrong_argument and not is_begun:
        return EndCause(Cause.WRONG_ARGUMENT, exit_code=code, detail=said.reason)
    return EndCause(Cause.COMMAND_FAILED, exit_code=code, detail=said.reason if code > 0 else "")


def distance(
    objectives: Sequence[str], last: Mapping[str, tuple[int, float | str]], to_step: int | None
) -> EndCause | None:
    """Returns how the last step at which every objective was reported misses `to_step`; None if it does not."""
    steps = [last[name][0] for name in objectives]
    if to_step is None or not steps or min(steps) == to_step:
        return None
    return EndCause(Cause.OTHER_STEP, step=min(steps), to_step=to_step)


def _nothing(ending: Ending) -> EndCause:
    """Returns the cause of a command that reported nothing."""
    return EndCause(Cause.NO_METRICS, count=ending.unreadable, lines=ending.lines, value=ending.uneven_step)


def metrics_problem(
    objectives: Sequence[str], last: Mapping[str, tuple[int, float | str]], nothing: EndCause
) -> EndCause | None:
    """Returns why the objectives' last values are not a result: `nothing` if there are none; None if they are."""
    if not last:
        return nothing
    for name in objectives:
        if name not in last:
            return EndCause(Cause.METRIC_MISSING, metric=name, detail=", ".join(sorted(last)))
        step, value = last[name]
        if not is_finite(value):
            return EndCause(Cause.METRIC_NOT_FINITE, metric=name, step=step, value=str(value))
    return None
