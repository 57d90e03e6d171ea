"""Makes the sentences for people about the cause of an end; no other module does. Standard library only.

No decision reads a sentence. Decisions compare `EndCause`, so any wording here may change at any time.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping

from hposlurm.trial import Attempt, Cause, EndCause, has_diverged, is_finite

_SHELL_SAYS = {126: "found, but not executable", 127: "command not found"}
_OOM_KILLER = "often the kernel's out-of-memory killer"
_AFTER_NUMBERS = ",;:)]}%'\""  # what \S+ matches after a number in printed text
_SIGNAL_MEANS = {signal.SIGTERM: " (cancelled or preempted)", signal.SIGUSR2: " (time limit ahead)"}


def sentence(cause: EndCause | None, own: str = "") -> str:
    """Returns the cause as a sentence, "" for None.

    `own` is the sentence that the attempt's own record has, where what overrides it quotes it.
    """
    if cause is None:
        return ""
    text = SENTENCES[cause.kind](cause)
    return f"{text} ({own})" if own else text


def no_progress_text(cause: EndCause, attempts: Iterable[Attempt]) -> str:
    """Returns why the trial with these attempts is not tried again, with what the last one that counted said."""
    last = next((attempt.reason for attempt in attempts if attempt.number == cause.attempts[-1]), "")
    return f"{sentence(cause)}: {last}" if len(cause.attempts) > 1 else f"{sentence(cause)}; the last: {last}"


def without_cause(attempt: Attempt) -> str:
    """Returns what is known of the end of an attempt whose record gives no reason."""
    status = "" if attempt.exit_code is None else f" with exit status {attempt.exit_code}"
    return f"attempt {attempt.number} ended as {attempt.outcome}{status}"


def _exit(cause: EndCause) -> str:
    code = cause.exit_code or 0
    said = f": {cause.detail}" if cause.detail else ""
    if code < 0:
        hint = f": {_OOM_KILLER}" if -code == signal.SIGKILL else ""
        return f"command was killed by signal {-code} ({_signal_name(-code)}){hint}"
    if code in _SHELL_SAYS:
        return f"command exited with status {code} ({_SHELL_SAYS[code]}){said}"
    if name := _signal_name(code - 128):  # a shell reports so that its last command died of a signal
        hint = f"; {_OOM_KILLER}" if code - 128 == signal.SIGKILL else ""
        return f"command exited with status {code} (usually signal {code - 128}, {name}{hint}){said}"
    return f"command exited with status {code}{said}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""


def _no_metrics(cause: EndCause) -> str:
    lines = "1 line of its metrics file is not a report"
    lines = lines if cause.count == 1 else f"{cause.count} lines of its metrics file are not reports"
    seen = f" ({lines})" if cause.count else ""
    if cause.value:
        step = f"a step that is not a whole number, such as {cause.value!r}"
        return f"reported no metrics at all{seen}; every match of trial.metric_pattern has {step}"
    if cause.lines is not None:
        line = "line" if cause.lines == 1 else "lines"
        found = f"trial.metric_pattern matched none of {cause.lines} {line} of output"
        return f"reported no metrics at all{seen}; {found}; try it: hposlurm check STUDY.yaml --log FILE"
    return f"reported no metrics at all{seen}; use hposlurm.client.report or trial.metric_pattern"


def _missing(cause: EndCause) -> str:
    if not cause.detail:
        return f"it ended without ever reporting {cause.metric}"
    return f"never reported {cause.metric}; reported: {cause.detail}"


def _not_finite(cause: EndCause) -> str:
    if cause.step is None:
        return f"the last {cause.metric} was {cause.value}, which is not a finite number"
    if has_diverged(cause.value):
        return f"{cause.metric} at step {cause.step} is {cause.value}"
    number = cause.value.strip().rstrip(_AFTER_NUMBERS)
    hint = f"; in trial.metric_pattern, [\\d.eE+-]+ would match {number} only" if _is_number(number) else ""
    return f"{cause.metric} at step {cause.step} is {cause.value!r}, which is not a number{hint}"


def _is_number(text: str) -> bool:
    try:
        return is_finite(float(text))
    except ValueError:
        return False


def _guarded(cause: EndCause) -> str:
    how = "" if cause.exit_code == 0 else f", {exit_text(cause.exit_code)}"
    return f"{cause.detail} (memory guard: asked to save and stop{how})"


def exit_text(code: int | None) -> str:
    """Returns what the exit status of a failed command means; None stands for one that could not be killed."""
    kind = Cause.COMMAND_NOT_KILLABLE if code is None else Cause.COMMAND_FAILED
    return sentence(EndCause(kind, exit_code=code))


def _other_step(cause: EndCause) -> str:
    step, to_step = cause.step or 0, cause.to_step or 0
    if step < to_step:
        return f"it ended by itself at step {step}, before the {to_step} that was assigned"
    return f"it went on to step {step}, past the {to_step} that was assigned and that max_step told"


def _asked(cause: EndCause) -> str:
    number = cause.signal or 0
    return f"{_signal_name(number)}{_SIGNAL_MEANS.get(signal.Signals(number), '')}{_killed(cause)}"


def _killed(cause: EndCause) -> str:
    return "" if cause.killed_after_s is None else f"; killed after {cause.killed_after_s:.0f} s"


def _time_limit(cause: EndCause) -> str:
    if cause.limit_s is not None:
        return f"time limit: the job used up the {cause.limit_s / 60:g} minutes of its part"
    text = "time limit: the job used up resources.time"
    if cause.has_checkpoint is None:
        return text
    place = "" if cause.step is None else f" at step {cause.step}"
    lack = "without new progress" if cause.has_checkpoint else "without a checkpoint to go on from"
    return f"{text}{place}, {lack}"


def _not_started(cause: EndCause) -> str:
    if cause.job_id:
        return f"its job {cause.job_id} ended {cause.job_state} before it started"
    return f"the job ended {cause.job_state} before its worker started" + (f": {cause.detail}" if cause.detail else "")


def _no_progress(cause: EndCause) -> str:
    place = "before a first step" if cause.step is None else f"at step {cause.step}"
    if len(cause.attempts) < 2:
        return f"no progress: {cause.count} attempts in a row ended {place}"
    return f"no progress: attempts {' and '.join(map(str, cause.attempts))} both ended {place}"


def _text(text: str) -> Callable[[EndCause], str]:
    return lambda cause: text.format(c=cause)


#: How each kind of cause is said.
SENTENCES: Mapping[Cause, Callable[[EndCause], str]] = {
    Cause.COMMAND_NOT_STARTED: _text("command could not be started: {c.detail}"),
    Cause.COMMAND_FAILED: _exit,
    Cause.COMMAND_NOT_KILLABLE: _text("command could not be killed"),
    Cause.WRONG_ARGUMENT: lambda cause: f"{_exit(cause)} (a wrong argument, not tried again)",
    Cause.NO_METRICS: _no_metrics,
    Cause.METRIC_MISSING: _missing,
    Cause.METRIC_NOT_FINITE: _not_finite,
    Cause.TRIAL_TIMEOUT: _text("trial.timeout of {c.limit_s:g} s exceeded"),
    Cause.MEMORY_GUARD: _guarded,
    Cause.OUT_OF_GPU_MEMORY: _text("out of GPU memory: {c.detail}"),
    Cause.OTHER_STEP: _other_step,
    Cause.NOT_BEGUN: _text("{c.detail}"),
    Cause.TOLD_TO_STOP: _asked,
    Cause.TIME_LIMIT_AHEAD: _asked,
    Cause.PRUNED: lambda cause: cause.detail + _killed(cause),
    Cause.JOB_ENDED_SILENTLY: _text("the job ended without a result record"),
    Cause.JOB_FAILED: _text("the job failed without a result record"),
    Cause.OUT_OF_HOST_MEMORY: _text("out of memory: the job used more than resources.mem_gb"),
    Cause.TIME_LIMIT: _time_limit,
    Cause.PREEMPTED: _text("preempted"),
    Cause.NODE_FAILED: _text("its node failed"),
    Cause.DRIVER_ENDED: _text("the process that drove it has ended"),
    Cause.CANCELLED: _text("cancelled"),
    Cause.STUDY_CANCELLED: _text("the study was cancelled"),
    Cause.LOST: _text("lost: no result record, and the cluster does not know the job any more"),
    Cause.WORKER_NOT_STARTED: _not_started,
    Cause.TOO_EARLY: _text("its job came before the plan could be seen, and left"),
    Cause.ALREADY_ENDED: _text("an earlier attempt had ended the trial by then"),
    Cause.STUDY_PAUSED: _text("the study was paused before its job started"),
    Cause.NOTHING_TO_DO: _text("{c.count} jobs found nothing to do"),
    Cause.JOB_ENDED: _text("its job {c.job_id} ended {c.job_state}"),
    Cause.REPLACED: _text("its process was killed with its job; another attempt followed"),
    Cause.NO_PROGRESS: _no_progress,
    Cause.UNKNOWN: _text("{c.detail}"),
}
