"""Shows the progress of a study on a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hposlurm.records.history import History
from hposlurm.records.ranking import best
from hposlurm.records.thinning import MOST_METRICS
from hposlurm.report.budget import budget_text
from hposlurm.report.digest import FailedTrial
from hposlurm.report.going_on import way_lines
from hposlurm.report.numbers import counted, duration, shorten, shown, spans
from hposlurm.report.printable import printable, printable_parts
from hposlurm.report.progress import Progress, RunningTrial
from hposlurm.trial import JobState, ParamValue, TrialState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

_RUNNING_SHOWN = 20
_FAILED_SHOWN = 5
_DAMAGED_SHOWN = 8
_STUCK_SHOWN = 5
PHASE_STYLES = {
    "running": "green",
    "finished": "bold green",
    "paused": "bold yellow",
    "simulated": "bold magenta",
    "stopped": "yellow",
    "interrupted": "yellow",
    "stalled": "bold red",
}
_METRICS_SHOWN = 3


def screen(view: Progress) -> RenderableType:
    """Returns header, counts, best trial, running trials, failures with the end of their output, next command."""
    view = printable_parts(view)
    parts: list[RenderableType] = [_header(view)]
    if view.running:
        parts += [Text(), _running(view.running, is_driven=view.phase != "interrupted")]
    if view.failed:
        parts += [Text(), *_failures(view)]
    commands = way_lines(view.ways) or [view.next]
    following = [Text.assemble("      " if i else "next: ", (line, "bold")) for i, line in enumerate(commands)]
    return Group(*parts, Text(), *following)


def summary(view: Progress) -> str:
    """Returns the progress in one line, for logs and pipes."""
    view = printable_parts(view)
    words = [view.phase, counts_text(view)]
    if view.best is not None:
        words.append(f"best {pairs_text(view.best.values)} (trial {view.best.trial})")
    return "; ".join(words)


def progress_line(history: History, spec: StudySpec) -> str:
    """Returns wave, counts and best value so far in one line, for a study that is followed."""
    counts = history.counts()
    words = [f"{number} {state.lower()}" for state, number in counts.items() if number]
    planned, most = len(history.trials), spec.budget.n_trials or 0
    # a budget that was lowered later may be below what is planned
    total = f" of {most}" if most >= max(1, planned) else ""
    line = f"wave {max(0, len([p for p in history.plans if not p.finished]) - 1)}: "
    line += ": ".join(filter(None, [f"{planned}{total} trials planned", ", ".join(words)]))
    leader = best(history, spec.objectives, spec.limits)
    if leader is not None and leader.values is not None:
        line += f"; best {spec.objectives[0].metric} {leader.values[0]:.5g} (trial {leader.number})"
    return line


def _header(view: Progress) -> Table:
    grid = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, text in _facts(view):
        grid.add_row(Text(name), text)
    return grid


def _facts(view: Progress) -> Iterator[tuple[str, Text]]:
    phase = Text(view.phase, style=PHASE_STYLES.get(view.phase, "yellow"))
    yield "study", Text.assemble((view.study, "bold"), ": ", phase, f" ({view.detail})")
    yield "directory", Text(view.directory)
    if view.simulated is not None:
        yield from ((name, Text(text, style="magenta")) for name, text in view.simulated.lines())
    yield "trials", Text(counts_text(view))
    if view.phase in ("finished", "simulated") and (paused := view.counts[TrialState.PAUSED]):
        what = f"{counted(paused, 'trial')} PAUSED at a rung: not good enough to be trained on"
        yield "", Text(f"{what}; hposlurm gc {view.study} deletes their checkpoints")
    yield "best", Text(best_text(view))
    yield "waves", Text(_waves(view))
    if view.simulated is None:
        yield "GPU hours", Text(shown(view.gpu_hours))
    if text := budget_text(view.budget):
        yield "budget", Text(text)
    if view.eta_s is not None:
        yield "ETA", Text(f"about {duration(view.eta_s)}")
    if text := queue_text(view):
        yield "queue", Text(text)
    yield from alerts(view)


def best_text(view: Progress) -> str:
    """Returns values and parameters of the best trial."""
    if view.best is None:
        return "none has completed yet"
    params = pairs_text(view.best.params)
    return f"{pairs_text(view.best.values)} (trial {view.best.trial}: {params}){view.best.remark}"


def alerts(view: Progress) -> Iterator[tuple[str, Text]]:
    """Yields what a person should know or do, each with its label."""
    for lost in view.lost:
        yield "preempted", Text(printable(lost.line), style="yellow")
    for reason, advice in view.advice.items():
        yield "waiting", Text(f"{reason}: {advice}", style="yellow")
    for stuck in view.stuck[:_STUCK_SHOWN]:
        other = "a job without a trial yet" if "_" in stuck.job_id else "the planner"
        who = other if stuck.trial is None else f"trial {stuck.trial}"
        yield "held", Text(f"{who} (job {stuck.job_id}, {stuck.reason}): {stuck.advice}", style="yellow")
    if len(view.stuck) > _STUCK_SHOWN:
        yield "held", Text(f"… and {len(view.stuck) - _STUCK_SHOWN} more: hposlurm status --format json")
    for excluded in view.excluded:
        yield "excluded", Text(f"node {printable(excluded.node)}: {excluded.reason}")
    if view.exclude_note:
        yield "note", Text(printable(view.exclude_note))
    for note in view.notes:
        yield "note", Text(printable(note))
    for notice in view.notices:
        yield "noticed", Text(printable(notice.line), style="yellow")
    retry = f"hposlurm rebuild {printable(view.study)} publishes it" if view.is_over else "the next step retries"
    for publisher, failure in view.unpublished.items():
        yield "note", Text(f"{printable(publisher)}: not published: {printable(failure)}; {retry}")
    if view.unreadable:
        yield "damaged", Text(_damage(view.unreadable), style="yellow")
    if view.left_out:
        who = f"trial {_numbers(view.left_out)} reported more than {MOST_METRICS:,} metrics"
        yield "note", Text(f"{who}; values of the others are only in its journal")


def _waves(view: Progress) -> str:
    """Returns how many waves there are by now. Their final number is not known while trials are left."""
    going = view.waves - view.waves_done
    states = f"{view.waves_done} done, {going} in progress" if going else f"{view.waves}, all done"
    planned = sum(view.counts.values())
    is_more_to_come = not view.is_over and view.total is not None and planned < view.total
    return f"{states}; more follow" if is_more_to_come else states


def queue_text(view: Progress) -> str:
    """Returns the number of elements in each state, why pending ones wait, and the planner's state."""
    reasons = ", ".join(f"{count} {printable(reason)}" for reason, count in view.waiting.items())
    if list(view.waiting.values()) == [view.queue.get(JobState.PENDING)]:
        reasons = printable(next(iter(view.waiting)))  # all wait for the same reason
    parts = [
        f"{count} {state}" + (f" ({reasons})" if state is JobState.PENDING and reasons else "")
        for state, count in view.queue.items()
    ]
    planner = "" if view.planner is None else f"the planner {view.planner}"
    return " and ".join(part for part in (", ".join(parts), planner) if part)


def _damage(unreadable: Mapping[int, int]) -> str:
    lines = sum(unreadable.values())
    what = "1 line of the journals is" if lines == 1 else f"{lines} lines of the journals are"
    return f"{what} unreadable and left out (trial {_numbers(unreadable)})"


def _numbers(trials: Collection[int]) -> str:
    return ", ".join(map(str, list(trials)[:_DAMAGED_SHOWN])) + ("…" if len(trials) > _DAMAGED_SHOWN else "")


def counts_text(view: Progress) -> str:
    known = sum(view.counts.values())
    planned = f"{known} of {view.total}" if view.total is not None else str(known)
    states = [f"{view.counts[state]} {state}" for state in TrialState if view.counts[state]]
    return f"{planned} planned" + (f": {', '.join(states)}" if states else "")


def pairs_text(values: Mapping[str, ParamValue]) -> str:
    return ", ".join(f"{name}={printable(shown(value))}" for name, value in values.items())


def _running(trials: tuple[RunningTrial, ...], *, is_driven: bool) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    names = ("running", "attempt", "node", "since", "step")
    rows = [_running_cells(trial, is_driven=is_driven) for trial in trials[:_RUNNING_SHOWN]]
    for position, name in enumerate(names):
        room = max(len(name), *(cell_len(row[position]) for row in rows))
        grid.add_column(name, justify="left" if name == "node" else "right", no_wrap=True, min_width=room)
    grid.add_column("last report")  # the rest: rich takes room only from columns that wrap, so their texts must not
    for row in rows:
        grid.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in row))
    if len(trials) > _RUNNING_SHOWN:
        grid.add_row(Text("…"), *[Text("")] * 4, Text(f"and {len(trials) - _RUNNING_SHOWN} more"))
    return grid


def _running_cells(trial: RunningTrial, *, is_driven: bool) -> tuple[str, ...]:
    numbers = (str(trial.trial), str(trial.attempt))
    node = shorten(printable(trial.node), 20)
    return (*numbers, node, duration(trial.running_s), shown(trial.step), _last_report(trial, is_driven=is_driven))


def _last_report(trial: RunningTrial, *, is_driven: bool) -> str:
    reported = pairs_text(dict(list(trial.metrics.items())[:_METRICS_SHOWN])) or "nothing reported yet"
    if not is_driven:
        return f"it ended with the process that drove it. {reported}"
    if trial.job_state is not None and trial.job_state.is_terminal:
        return f"its job ended {trial.job_state}; the planner will settle it. {reported}"
    return reported


def failure_lines(view: Progress) -> Iterator[tuple[str, Text]]:
    """Yields a line for each reason for which trials failed, with its label."""
    for group in _alike(view.failed):
        yield "failed", next(_failure(group))


def _alike(trials: Sequence[FailedTrial]) -> list[list[FailedTrial]]:
    """Returns the trials in groups that failed for the same reason."""
    alike: dict[tuple[str, bool], list[FailedTrial]] = {}
    for failed in trials:
        alike.setdefault((failed.reason, failed.infeasible), []).append(failed)
    return list(alike.values())


def _failures(view: Progress) -> Iterator[RenderableType]:
    groups = _alike(view.failed)
    for group in groups[:_FAILED_SHOWN]:
        yield from _failure(group)
    more = sum(map(len, groups[_FAILED_SHOWN:]))
    if more:
        yield Text(f"… and {more} more failed trials: hposlurm collect {view.study}", style="dim")


def _failure(group: Sequence[FailedTrial]) -> Iterator[Text]:
    """Yields the lines about trials that failed for the same reason, with the output of the first one."""
    failed, *others = group
    tries = f" after {failed.attempts} attempts" if failed.attempts > 1 and not others else ""
    ended = ("are" if others else "is") + " infeasible" if failed.infeasible else "failed"
    who = f"{len(group)} trials ({spans([each.trial for each in group])})" if others else f"trial {failed.trial}"
    yield Text.assemble((f"{who} {ended}{tries}: ", "red"), failed.reason)
    for line in failed.tail:
        yield Text(f"  │ {line}", style="dim", no_wrap=True, overflow="ellipsis")
    if failed.log:
        yield Text(f"  log: {failed.log}", style="dim")
