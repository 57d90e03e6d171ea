"""Draws the figures that show several studies on the same axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from hposlurm.report.numbers import shorten
from hposlurm.report.page.columns import ObjectiveColumns, ParameterColumn
from hposlurm.report.page.study_page import StudyPage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

#: Okabe and Ito's colours, which can be told apart with every kind of colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
GREY = "#9aa1aa"
#: From the best to the worst value.
RAMP = "cividis"

_WIDTH, _HEIGHT = 3.4, 2.3  # inches
_MOST_CURVES = 500
_MOST_SLICES = 12
_LONGEST_TICK = 14  # characters
_AXES = {"gpu_hours": "GPU hours", "hours": "hours", "trials": "trials that ended"}


def blank(width: float = 1.0, height: float = 1.0) -> tuple[Figure, Axes]:
    """Returns a figure of so many columns' width and its axes."""
    figure = Figure(figsize=(_WIDTH * width, _HEIGHT * height))
    return figure, figure.subplots()


def goal_of(study: StudyPage, objective: str) -> ObjectiveColumns | None:
    """Returns the columns of an objective; None if the study has another one."""
    return next((goal for goal in study.trials.objectives if goal.name == objective), None)


def limits(values: Sequence[float | None], *, is_minimized: bool) -> tuple[float, float] | None:
    """Returns the range that most values lie in: a few trials that diverged must not flatten all others."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    if len(known) < 8:
        return known[0], known[-1]
    quarter, rest = known[len(known) // 4], known[3 * len(known) // 4]
    spread = rest - quarter
    if spread <= 0:
        return known[0], known[-1]
    return (
        (known[0], min(known[-1], rest + 4 * spread))
        if is_minimized
        else (max(known[0], quarter - 4 * spread), known[-1])
    )


def zoom(axes: Axes, values: Sequence[float | None], *, is_minimized: bool) -> None:
    """Shows most of the values, with a little room around them."""
    found = limits(values, is_minimized=is_minimized)
    if found is not None and found[0] < found[1]:
        pad = 0.04 * (found[1] - found[0])
        axes.set_ylim(found[0] - pad, found[1] + pad)


def plain_ticks(axis: Axis) -> None:
    """Labels the ticks of a logarithmic axis as 1e-05: powers would need the formulas that are switched off."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def best_so_far(studies: Sequence[StudyPage], objective: str, axis: str) -> Figure | None:
    """Draws the best value so far against GPU hours, hours or trials; None if there is nothing to show."""
    index = {"hours": 0, "gpu_hours": 1, "trials": 2}[axis]
    lines = [(k, s, each) for k, s in enumerate(studies) for each in s.best_so_far if each.objective == objective]
    if not lines or not any(each.now[index] for _, _, each in lines):
        return None
    figure, axes = blank()
    for number, study, each in lines:
        x = [float(value) for value in getattr(each, axis)]
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(
            x, each.values, ".", ms=2.5, color=colour if len(studies) > 1 else GREY, alpha=0.6, rasterized=len(x) > 2000
        )
        axes.step(
            [*x, float(each.now[index])],
            [*each.best, each.best[-1]],
            where="post",
            color=colour,
            label=study.head.study,
        )
    goal = goal_of(lines[0][1], objective)
    zoom(axes, [v for _, _, each in lines for v in each.values], is_minimized=goal is None or goal.is_minimized)
    axes.set_xlabel(_AXES[axis])
    axes.set_ylabel(objective)
    axes.set_xlim(left=0)
    if len(lines) > 1:
        axes.legend()
    return figure


def curves(studies: Sequence[StudyPage], objective: str) -> Figure | None:
    """Draws the learning curves, each up to where its trial ended; of very many, an even sample with the best."""
    from matplotlib import colormaps

    figure, axes = blank()
    ends: list[float | None] = []
    count = 0
    for number, study in enumerate(studies):
        goal = goal_of(study, objective)
        found = next((each for each in study.curves if each.objective == objective), None)
        if goal is None or found is None:
            continue
        order = sorted(range(len(found.rows)), key=lambda k: -(_rank(study, found.rows[k])))
        every = -(-len(order) // _MOST_CURVES)
        shown = order[::-1][::every][::-1]
        count += sum(len(found.values[k]) > 1 for k in shown)
        for place, k in enumerate(shown):
            share = 1 - (place + 1) / len(shown)
            colour = COLOURS[number % len(COLOURS)] if len(studies) > 1 else colormaps[RAMP](0.86 * share)
            steps, values = found.steps[found.steps_of[k]], found.values[k]
            axes.plot(
                steps, values, color=colour, lw=0.7, alpha=0.7 if len(shown) > 40 else 1.0, rasterized=len(shown) > 200
            )
            ends += [values[0], values[-1]]
    if not count:
        return None
    goal = next(goal for study in studies if (goal := goal_of(study, objective)))
    zoom(axes, ends, is_minimized=goal.is_minimized)
    axes.set_xlabel("step")
    axes.set_ylabel(objective)
    return figure


def _rank(study: StudyPage, row: int) -> float:
    place = study.trials.rank[row]
    return math.inf if place is None else place


def slices(studies: Sequence[StudyPage], objective: str) -> Figure | None:
    """Draws the objective against each parameter that differs between trials."""
    own = [study for study in studies if goal_of(study, objective) is not None]
    names = list(dict.fromkeys(c.name for study in own for c in study.trials.parameters if len({*c.rows}) > 1))
    names = names[:_MOST_SLICES]
    if not names:
        return None
    across = min(3, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(2.2 * across, 1.8 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    drawn = False
    for position, name in enumerate(names):
        axes = grid[position // across][position % across]
        for number, study in enumerate(studies):
            goal = goal_of(study, objective)
            column = next((c for c in study.trials.parameters if c.name == name), None)
            if goal is not None and column is not None:
                drawn = _slice(axes, column, goal, study, COLOURS[number % len(COLOURS)]) or drawn
        axes.set_xlabel(name)
        axes.set_ylabel(objective if position % across == 0 else "")
    for position in range(len(names), down * across):
        grid[position // across][position % across].set_visible(False)
    return figure if drawn else None


def _slice(axes: Axes, column: ParameterColumn, goal: ObjectiveColumns, study: StudyPage, colour: str) -> bool:
    rows = [r for r, rank in enumerate(study.trials.rank) if rank is not None and column.rows[r] is not None]
    x, y = [column.rows[r] for r in rows], [goal.counted[r] for r in rows]
    axes.plot(x, y, ".", ms=2.5, color=colour, alpha=0.6, rasterized=len(x) > 2000)  # type: ignore[arg-type]
    zoom(axes, y, is_minimized=goal.is_minimized)
    if column.kind == "choice":
        texts = [shorten(text, _LONGEST_TICK) for text in column.choices]
        axes.set_xticks(range(len(texts)), texts, rotation=30, ha="right")
    elif column.is_log:
        axes.set_xscale("log")
        plain_ticks(axes.xaxis)
    return bool(rows)


def pareto(studies: Sequence[StudyPage]) -> Figure | None:
    """Draws the first two objectives with the Pareto front; None for studies with one objective."""
    found = [(k, study) for k, study in enumerate(studies) if study.front]
    if not found:
        return None
    first, second = found[0][1].trials.objectives[:2]
    figure, axes = blank()
    for number, study in found:
        x, y = (goal_of(study, goal.name) for goal in (first, second))
        if x is None or y is None:
            continue
        colour = COLOURS[number % len(COLOURS)]
        rows = [r for r, rank in enumerate(study.trials.rank) if rank is not None]
        points = [(a, b) for r in rows if (a := x.counted[r]) is not None and (b := y.counted[r]) is not None]
        axes.plot(*zip(*points, strict=True), ".", ms=2.5, color=GREY, alpha=0.6)
        front = sorted((x.counted[r] or 0.0, y.counted[r] or 0.0) for r in study.front)
        line = "s-" if len(study.trials.objectives) == 2 else "s"
        axes.plot(*zip(*front, strict=True), line, ms=3.5, lw=0.9, color=colour, label=study.head.study)
    axes.set_xlabel(first.name)
    axes.set_ylabel(second.name)
    if len(found) > 1:
        axes.legend()
    return figure
