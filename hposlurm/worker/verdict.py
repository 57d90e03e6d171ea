"""How an attempt ended, and why, in words that a person understands. Pure."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hposlurm.trial import Outcome

_SHELL_SAYS = {126: "found, but not executable", 127: "command not found"}
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
_OOM_KILLER = "often the kernel's out-of-memory killer"


@dataclass(frozen=True, slots=True)
class Ending:
    """What the worker saw at the end of a command.

    `exit_code` is negative for a signal and None if the command could not be killed. `asked` says why it was asked to
    leave, "" if it was not; `killed_after_s` is how long it was then waited for, None if it left by itself.
    `is_stopping`: the training code itself said that it leaves because it was asked. `unreadable` lines of its metrics
    file were no reports. `memory` is why the memory guard asked it to save and stop, `pruned` why the search did, both
    "" if they did not.
    """

    exit_code: int | None
    asked: str = ""
    killed_after_s: float | None = None
    is_stopping: bool = False
    timed_out_s: float | None = None
    unreadable: int = 0
    memory: str = ""
    pruned: str = ""


def judge(
    ending: Ending,
    objectives: Sequence[str],
    last: Mapping[str, tuple[int, float | str]],
    to_step: int | None = None,
    exception: str = "",
    out_of_gpu_memory: str = "",
) -> tuple[Outcome, str]:
    """The outcome and its reason ("" if complete as assigned) from the last (step, value) of each metric.

    A command that was asked to leave and ends with status 0 and all its metrics counts as complete, unless it said that
    it leaves because it was asked: one that knows nothing of requests may just have finished. One that left for the
    memory guard has failed: it costs a retry, since another attempt may meet the same limit again. One that left for
    the search, however it left, is pruned. `out_of_gpu_memory`
    is what any rank said of that: such a configuration is not tried again.

    A command that ends by itself before `to_step`, or goes on past it, is complete: it knows its own end, and what it
    reported holds. The reason then tells how far it went.
    """
    if out_of_gpu_memory and ending.exit_code != 0 and not ending.asked and not ending.pruned:
        return Outcome.INFEASIBLE, f"out of GPU memory: {out_of_gpu_memory}"
    if ending.timed_out_s is not None:
        return Outcome.FAIL, f"trial.timeout of {ending.timed_out_s:g} s exceeded"
    problem = metrics_problem(objectives, last, ending.unreadable)
    if (ending.asked or ending.memory or ending.pruned) and ending.exit_code == 0 and not problem:
        has_arrived = to_step is not None and min(last[name][0] for name in objectives) >= to_step
        is_own_end = not ending.is_stopping and (to_step is None or not ending.pruned)
        if has_arrived or is_own_end:
            return Outcome.COMPLETE, distance(objectives, last, to_step)
    if ending.asked or ending.pruned:
        killed = ending.killed_after_s
        outcome = Outcome.PRUNED if ending.pruned else Outcome.INTERRUPTED
        return outcome, (ending.pruned or ending.asked) + (
            f"; killed after {killed:.0f} s" if killed is not None else ""
        )
    if ending.memory and (ending.is_stopping or ending.exit_code in _KILLED):
        how = "" if ending.exit_code == 0 else f", {exit_reason(ending.exit_code)}"
        return Outcome.FAIL, f"{ending.memory} (memory guard: asked to save and stop{how})"
    if ending.exit_code != 0:
        is_own_doing = exception and ending.exit_code is not None and ending.exit_code > 0
        return Outcome.FAIL, exit_reason(ending.exit_code) + (f": {exception}" if is_own_doing else "")
    return (Outcome.FAIL, problem) if problem else (Outcome.COMPLETE, distance(objectives, last, to_step))


def distance(objectives: Sequence[str], last: Mapping[str, tuple[int, float | str]], to_step: int | None) -> str:
    """How the last step at which every objective was reported misses `to_step`; "" if it does not."""
    steps = [last[name][0] for name in objectives]
    if to_step is None or not steps or min(steps) == to_step:
        return ""
    if min(steps) < to_step:
        return f"it ended by itself at step {min(steps)}, before the {to_step} that was assigned"
    return f"it went on to step {min(steps)}, past the {to_step} that was assigned and that max_step told"


def metrics_problem(objectives: Sequence[str], last: Mapping[str, tuple[int, float | str]], unreadable: int = 0) -> str:
    """Why the objectives' last values are no result; "" if they are."""
    if not last:
        lines = "1 line of its metrics file is no report"
        lines = lines if unreadable == 1 else f"{unreadable} lines of its metrics file are no reports"
        seen = f" ({lines})" if unreadable else ""
        return f"reported no metrics at all{seen}; use hposlurm.client.report or trial.metric_pattern"
    for name in objectives:
        if name not in last:
            return f"never reported {name}; reported: {', '.join(sorted(last))}"
        step, value = last[name]
        if value in ("nan", "inf", "-inf"):
            return f"{name} at step {step} is {value}"
        if isinstance(value, str):
            return f"{name} at step {step} is {value!r}, which is not a number"
    return ""


def exit_reason(code: int | None) -> str:
    """What the exit status of a failed command means."""
    if code is None:
        return "command could not be killed"
    if code < 0:
        hint = f": {_OOM_KILLER}" if -code == signal.SIGKILL else ""
        return f"command was killed by signal {-code} ({_signal_name(-code)}){hint}"
    if code in _SHELL_SAYS:
        return f"command exited with status {code} ({_SHELL_SAYS[code]})"
    if name := _signal_name(code - 128):  # a shell's way to say that its last command died of a signal
        hint = f"; {_OOM_KILLER}" if code - 128 == signal.SIGKILL else ""
        return f"command exited with status {code} (usually signal {code - 128}, {name}{hint})"
    return f"command exited with status {code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""
