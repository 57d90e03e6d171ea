"""Writes the data of a live page as lines that fit a terminal: `width` columns, at most `height` lines."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from rich.cells import cell_len
from rich.text import Text

from hposlurm.records.spent import clock
from hposlurm.report.budget import BudgetUse, budget_text
from hposlurm.report.live import LivePage, LiveTrial, Rung
from hposlurm.report.numbers import counted, duration, shorten, shown
from hposlurm.report.overview_text import KEYS
from hposlurm.report.printable import printable, printable_parts
from hposlurm.report.progress import Progress
from hposlurm.report.progress_text import PHASE_STYLES, alerts, best_text, counts_text, failure_lines, queue_text

_SPARKS = "▁▂▃▄▅▆▇█"
_ASCII_SPARKS = "_.:-=+*#"
_BAR_WIDTH = 20
_NODE_WIDTH = 14
_METRIC_WIDTH = 12
# a curve is worth a column only from so many characters on, and no wider than so many
_CURVE_WIDTHS = (4, 32)
_LABEL_WIDTH = 9
_LABELS = {"gpu_hours": "GPU hours", "wall_time": "wall time"}


def page_lines(
    page: LivePage, width: int, height: int, now: float, note: str = "", *, ascii_only: bool = False
) -> list[Text]:
    """Returns the page at `now` (epoch seconds); `note` is what happened last. Each line fits `width`.

    First come the figures of the study, then as many running trials as fit, then what a person should know.
    """
    page = replace(page, progress=printable_parts(page.progress))
    draw = _Drawing(ascii_only)
    figures = (line for label, value in draw.figures(page) for line in _figure(label, value, width))
    head = [*_head(page.progress, width, now), *figures]
    told = [_labelled(name, text) for name, text in chain(alerts(page.progress), failure_lines(page.progress))]
    if note:
        told.append(_labelled("note", Text(printable(note), style="yellow")))
    room = max(0, height - len(head) - 1)
    below = _cut(told, max(1, room // 3 if page.running else room))
    above = draw.trials(page, width, room - len(below) - (1 if below else 0))
    gap = [Text()] if below else []
    lines = [*head, *above, *gap, *below][: max(0, height - 1)]
    return [_fit(line, width) for line in [*lines, Text(KEYS, style="dim")][:height]]


def _head(view: Progress, width: int, now: float) -> list[Text]:
    phase = Text(view.phase, style=PHASE_STYLES.get(view.phase, "yellow"))
    left = Text.assemble((view.study, "bold"), ": ", phase, f" ({view.detail})")
    moment = time.strftime("%H:%M:%S", time.localtime(now))
    left.truncate(max(0, width - len(moment) - 1), overflow="ellipsis", pad=True)
    return [Text.assemble(left, " ", (moment, "dim"))]


def _labelled(name: str, text: Text) -> Text:
    return Text.assemble((f"{name:<{_LABEL_WIDTH}} ", "dim"), text)


def _figure(label: str, value: str, width: int) -> list[Text]:
    """Returns a figure in at most two lines: what follows is cut."""
    lines = textwrap.wrap(value, max(10, width - _LABEL_WIDTH - 1), break_on_hyphens=False) or [""]
    first, rest = lines[0], " ".join(lines[1:])
    return [_labelled(label, Text(first)), *([_labelled("", Text(rest))] if rest else [])]


def _fit(line: Text, width: int) -> Text:
    """Returns the line without a break, cut to `width` columns with an ellipsis."""
    line = line.copy()
    line.no_wrap = True
    line.truncate(width, overflow="ellipsis")
    return line


def _cut(lines: Sequence[Text], most: int) -> list[Text]:
    """Returns at most `most` lines; the last one says how many are left out, if any are."""
    if len(lines) <= most:
        return list(lines)
    kept = lines[: max(0, most - 1)]
    return [*kept, Text(f"… and {len(lines) - len(kept)} more", style="dim")][: max(0, most)]


class _Drawing:
    """Draws bars, curves and the parts made of them, with block characters or in ASCII."""

    def __init__(self, ascii_only: bool) -> None:
        self._full, self._empty = ("#", ".") if ascii_only else ("█", "░")
        self._sparks = _ASCII_SPARKS if ascii_only else _SPARKS

    def bar(self, used: float, limit: float) -> str:
        """Returns a bar that is full once `used` is `limit`."""
        share = 1.0 if limit <= 0 else min(1.0, max(0.0, used / limit))
        filled = int(share * _BAR_WIDTH)  # full only at the end
        return self._full * filled + self._empty * (_BAR_WIDTH - filled)

    def figures(self, page: LivePage) -> Iterator[tuple[str, str]]:
        """Yields the figures of the study, each with its label."""
        view = page.progress
        ended = sum(count for state, count in view.counts.items() if state.is_finished)
        bar = "" if view.total is None else f"{self.bar(ended, view.total)} "
        yield "trials", f"{bar}{counts_text(view)}"
        yield "best", best_text(view)
        for name, use in view.budget.items():
            if name in ("gpu_hours", "wall_time"):
                yield _LABELS[name], self._budget(name, use)
        if "gpu_hours" not in view.budget and view.simulated is None:
            yield _LABELS["gpu_hours"], shown(view.gpu_hours)
        others = {name: use for name, use in view.budget.items() if name in ("patience", "target")}
        if text := budget_text(others):
            yield "budget", text
        if view.eta_s is not None:
            yield "ETA", f"about {duration(view.eta_s)}"
        if page.rungs:
            yield "rungs", ", ".join(map(_rung, page.rungs))
        if text := queue_text(view):
            yield "queue", text

    def _budget(self, name: str, use: BudgetUse) -> str:
        used, amount = use.used or 0.0, clock if name == "wall_time" else shown
        kept = f", {shown(use.reserved)} reserved" if use.reserved > 0 else ""
        return f"{self.bar(used, use.limit)} {amount(used)} of {amount(use.limit)}{kept}"

    def trials(self, page: LivePage, width: int, most: int) -> list[Text]:
        """Returns the table of the running trials in at most `most` lines, an empty one before it included."""
        if not page.running or most < 3:
            return [Text(), Text(f"{counted(len(page.running), 'trial')} running")][: max(0, most)] * bool(page.running)
        names = ("trial", "attempt", "node", "step", shorten(page.metric, _METRIC_WIDTH), "since", "ends in")
        fit = most - 2 if len(page.running) <= most - 2 else most - 3
        rows = [_cells(trial) for trial in page.running[:fit]]
        widths = [max(map(cell_len, column)) for column in zip(names, *rows, strict=True)]
        curve = min(_CURVE_WIDTHS[1], width - sum(widths) - len(widths))
        lines = [Text(_row(names, widths, "curve" if curve >= 5 else "", curve), style="bold")]
        for trial, cells in zip(page.running, rows, strict=False):
            lines.append(Text(_row(cells, widths, self._middle(trial, page, curve), curve)))
        if (more := len(page.running) - len(rows)) > 0:
            lines.append(Text(f"… and {more} more running", style="dim"))
        return [Text(), *lines]

    def _middle(self, trial: LiveTrial, page: LivePage, width: int) -> str:
        """Returns the trial's curve, or what has become of it if it does not run any more."""
        state = trial.running.job_state
        if page.progress.phase == "interrupted":
            return "ended with its driver"
        if state is not None and state.is_terminal:
            return f"job ended {state}"
        return self.spark(trial.curve, width)

    def spark(self, values: Sequence[float], width: int) -> str:
        """Returns a curve in one line: its points, evenly thinned to `width`, between its lowest and highest value."""
        if not values or width < _CURVE_WIDTHS[0]:
            return ""
        if len(values) > width:
            values = [values[i * (len(values) - 1) // (width - 1)] for i in range(width)]
        low, high = min(values), max(values)
        top = len(self._sparks) - 1
        if high == low:
            return self._sparks[top // 2] * len(values)
        # halves first: the difference of two huge numbers is not a number
        return "".join(self._sparks[round((value / 2 - low / 2) / (high / 2 - low / 2) * top)] for value in values)


def _rung(rung: Rung) -> str:
    more = [f"{rung.paused} paused"] if rung.paused else []
    more += [f"{rung.running} on the way"] if rung.running else []
    return f"step {rung.step}: {rung.reached}" + (f" ({', '.join(more)})" if more else "")


def _cells(trial: LiveTrial) -> tuple[str, ...]:
    running = trial.running
    step = shown(running.step) if trial.end_step is None else f"{running.step or 0}/{trial.end_step}"
    left = "soon" if trial.left_s == 0 else duration(trial.left_s)
    value = printable(shown(trial.value))
    node = shorten(printable(running.node), _NODE_WIDTH)
    return (
        *(str(running.trial), str(running.attempt), node, step, shorten(value, _METRIC_WIDTH)),
        *(duration(running.running_s), left),
    )


def _row(cells: Sequence[str], widths: Sequence[int], middle: str, middle_width: int) -> str:
    """Returns the cells in their columns: the node to the left, numbers to the right, the curve before the times."""
    padded = [_padded(cell, width, to_left=i == 2) for i, (cell, width) in enumerate(zip(cells, widths, strict=True))]
    curve = [_padded(shorten(middle, middle_width), middle_width, to_left=True)] if middle_width > 0 else []
    return " ".join([*padded[:5], *curve, *padded[5:]])


def _padded(text: str, width: int, *, to_left: bool) -> str:
    space = " " * max(0, width - cell_len(text))
    return text + space if to_left else space + text
