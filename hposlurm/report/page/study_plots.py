"""Draws the figures that show one study."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from hposlurm.report.page.columns import ParameterColumn
from hposlurm.report.page.plots import COLOURS, GREY, RAMP, blank, limits, plain_ticks, zoom
from hposlurm.report.page.study_page import StudyPage

_BLUE, _ORANGE, _GREEN, _PINK = COLOURS[:4]
_OUTCOMES = {"complete": _BLUE, "pruned": GREY, "running": _GREEN, "interrupted": _PINK}
_FATES = {"went on": _BLUE, "stopped": _ORANGE, "failed": _ORANGE, "waits": _PINK, "complete": _GREEN}
_MOST_LINES = 1000
_LEAST_IN_CONTOUR = 4


def importance(study: StudyPage) -> Figure | None:
    """Draws the shares of the parameters as bars, a group for each method and objective."""
    if not study.importance:
        return None
    names = list(dict.fromkeys(name for each in study.importance for name in each.shares if name not in each.left_out))
    if not names:
        return None
    figure, axes = blank(height=max(0.6, 0.16 * len(names) * len(study.importance) / 2 + 0.3))
    width = 0.8 / len(study.importance)
    for k, each in enumerate(study.importance):
        shares = {name: share for name, share in each.shares.items() if name not in each.left_out}
        places = [names.index(name) + k * width for name in shares]
        label = (
            f"{each.method}, {each.objective or 'Pareto front'}" if len(study.trials.objectives) > 1 else each.method
        )
        label += f" ({each.trials} trials{', too few' if each.is_doubtful else ''})"
        bars = axes.barh(places, list(shares.values()), height=width, label=label, color=COLOURS[k % len(COLOURS)])
        signs = ["no sign of an effect" if share <= each.floors.get(name, -1) else "" for name, share in shares.items()]
        axes.bar_label(bars, signs, fontsize=5, padding=2)
    axes.set_yticks([k + 0.4 - width / 2 for k in range(len(names))], names)
    axes.invert_yaxis()
    axes.set_xlabel("share")
    axes.legend(fontsize=6)
    return figure


def parallel(study: StudyPage) -> Figure | None:
    """Draws the parallel coordinates of the completed trials; a conditional parameter has a lowest tick "inactive"."""
    columns = [column for column in study.trials.parameters if len({*column.rows}) > 1]
    goal = study.trials.objectives[0]
    order = [(rank, row) for row, rank in enumerate(study.trials.rank) if rank is not None]
    if not columns or len(order) < 2:
        return None
    order.sort(reverse=True)
    order = order[-_MOST_LINES:]
    span = limits([goal.counted[row] for _, row in order], is_minimized=goal.is_minimized) or (0.0, 1.0)
    figure, axes = blank(width=max(1.0, 0.32 * (len(columns) + 1)))
    axes.grid(False)
    heights = [[_height(column, row) for _, row in order] for column in columns]
    heights.append([_between(goal.counted[row] or 0.0, *span) for _, row in order])
    lines = [list(enumerate(points)) for points in zip(*heights, strict=True)]
    shades = [colormaps[RAMP](0.86 * min(1.0, rank / len(order))) for rank, _ in order]
    axes.add_collection(LineCollection(lines, colors=shades, linewidths=0.6, alpha=0.7, rasterized=len(lines) > 200))
    axes.set_xlim(-0.2, len(columns) + 0.2)
    axes.set_ylim(-0.2, 1.05)
    axes.set_xticks(range(len(columns) + 1), [*(c.name for c in columns), goal.name], rotation=20, ha="right")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    for place, column in enumerate(columns):
        _axis(axes, place, _labels(column))
    _axis(axes, len(columns), [(0.0, f"{span[0]:.4g}"), (1.0, f"{span[1]:.4g}")])
    return figure


def _axis(axes: Axes, place: int, labels: Sequence[tuple[float, str]]) -> None:
    axes.axvline(place, color="#5a626c", lw=0.8)
    for height, text in labels:
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
        axes.text(place, height, text, fontsize=6, ha="center", va="center", bbox=box)


def _labels(column: ParameterColumn) -> list[tuple[float, str]]:
    found = [(-0.13, "inactive")] if None in column.rows else []
    if column.kind == "choice":
        return [*found, *((_choice(k, column), text) for k, text in enumerate(column.choices))]
    return [*found, (0.0, f"{column.low:.4g}"), (1.0, f"{column.high:.4g}")]


def _height(column: ParameterColumn, row: int) -> float:
    value = column.rows[row]
    if value is None:
        return -0.13
    if column.kind == "choice":
        return _choice(value, column)
    return _between(value, column.low or 0.0, column.high or 0.0, is_log=column.is_log)


def _choice(index: float, column: ParameterColumn) -> float:
    return (index + 0.5) / len(column.choices)


def _between(value: float, low: float, high: float, *, is_log: bool = False) -> float:
    if is_log and low > 0:
        value, low, high = (math.log(each) for each in (value, low, high))
    return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.5


def contour(study: StudyPage) -> Figure | None:
    """Draws the first objective over the two numbers that matter most, from the completed trials."""
    shares = study.importance[0].shares if study.importance else {}
    numbers = [c for c in study.trials.parameters if c.kind == "number" and len({*c.rows}) > 2]
    numbers.sort(key=lambda column: -shares.get(column.name, 0.0))
    goal = study.trials.objectives[0]
    if len(numbers) < 2:
        return None
    x, y = numbers[:2]
    values = zip(study.trials.rank, x.rows, y.rows, goal.counted, strict=True)
    points = [(a, b, v) for rank, a, b, v in values if None not in (rank, a, b, v)]
    span = limits([v for *_, v in points], is_minimized=goal.is_minimized)
    if span is None or len(points) < _LEAST_IN_CONTOUR:
        return None
    figure, axes = blank()
    axes.grid(False)
    ramp = colormaps[RAMP] if goal.is_minimized else colormaps[f"{RAMP}_r"]
    across, up, heights = ([float(each or 0.0) for each in column] for column in zip(*points, strict=True))
    with contextlib.suppress(RuntimeError, ValueError):  # all of them on one line: there is nothing between them
        axes.tricontourf(across, up, heights, levels=12, cmap=ramp, vmin=span[0], vmax=span[1])
    shown = axes.scatter(across, up, c=heights, s=5, cmap=ramp, vmin=span[0], vmax=span[1], ec="white", lw=0.3)
    figure.colorbar(shown, label=goal.name)
    for column, scale, label in ((x, axes.set_xscale, axes.set_xlabel), (y, axes.set_yscale, axes.set_ylabel)):
        scale("log" if column.is_log else "linear")
        label(column.name)
        if column.is_log:
            plain_ticks(axes.xaxis if column is x else axes.yaxis)
    return figure


def timeline(study: StudyPage) -> Figure | None:
    """Draws each attempt as a bar on its node, with the time that it waited before."""
    own = study.timeline
    if own is None:
        return None
    figure, axes = blank(width=2.0, height=min(3.0, max(0.6, 0.05 * len(own.lanes) + 0.3)))
    hour = 3600.0
    bars = [
        [(a / hour, y - 0.4), (b / hour, y - 0.4), (b / hour, y + 0.4), (a / hour, y + 0.4)]
        for a, b, y in zip(own.started, own.ended, own.lane, strict=True)
    ]
    names = [own.outcome.values[k] if k is not None else "" for k in own.outcome.rows]
    shades = [_OUTCOMES.get(str(name), _ORANGE) for name in names]
    waits = [[(a / hour, y), (b / hour, y)] for a, b, y in zip(own.queued, own.started, own.lane, strict=True)]
    axes.add_collection(LineCollection(waits, colors=_PINK, linewidths=0.5))
    axes.add_collection(PolyCollection(bars, facecolors=shades, edgecolors="white", linewidths=0.2))
    firsts = [k for k in range(len(own.lanes)) if not k or own.lanes[k] != own.lanes[k - 1]]
    axes.set_yticks(firsts[:: max(1, len(firsts) // 20)], [own.lanes[k] for k in firsts[:: max(1, len(firsts) // 20)]])
    axes.set_xlim(0, own.end / hour or 1)
    axes.set_ylim(len(own.lanes) - 0.5, -0.5)
    axes.set_xlabel("hours since the first plan")
    return figure


def rungs(study: StudyPage) -> Figure | None:
    """Draws the values at each rung, by what became of the trials, with the rank correlation with the end."""
    own = study.rungs
    if own is None or not own.rungs:
        return None
    figure, axes = blank(width=1.3)
    named: set[str] = set()
    for place, rung in enumerate(own.rungs):
        for fate, colour in _FATES.items():
            some = [(row, v) for row, v, f in zip(rung.rows, rung.values, rung.fates, strict=True) if f == fate]
            x = [place + ((study.trials.number[row] * 0.618) % 1 - 0.5) * 0.5 for row, _ in some]
            is_named = bool(some) and fate not in named
            named.update([fate] if some else [])
            axes.plot(x, [v for _, v in some], ".", ms=3, color=colour, label=fate if is_named else None)
        if rung.correlation is not None:
            axes.annotate(f"r = {rung.correlation:.2f}", (place, 1.0), xycoords=("data", "axes fraction"), ha="center")
    zoom(axes, [v for rung in own.rungs for v in rung.values], is_minimized=study.trials.objectives[0].is_minimized)
    axes.set_xticks(range(len(own.rungs)), [f"step {rung.step}" for rung in own.rungs])
    axes.set_ylabel(own.objective)
    axes.legend(fontsize=6)
    return figure


def schedules(study: StudyPage) -> Figure | None:
    """Draws the values of the parameters that change, of the best trials of a population."""
    own = study.lineage
    if own is None or not own.schedules or not own.mutable:
        return None
    figure = Figure(figsize=(3.4, 1.5 * len(own.mutable)), layout="constrained")
    grid = figure.subplots(len(own.mutable), 1, squeeze=False, sharex=True)
    last = max(each.to_step for each in own.members)
    logs = {column.name for column in study.trials.parameters if column.is_log}
    for place, name in enumerate(own.mutable):
        axes = grid[place][0]
        for k, each in reversed([*enumerate(own.schedules)]):
            known = [(leg.step, v) for leg in each.legs if isinstance(v := leg.params.get(name), int | float)]
            if known:
                points = [*known, (last, known[-1][1])]
                colour = COLOURS[k % len(COLOURS)]
                axes.step(*zip(*points, strict=True), where="post", color=colour, label=f"trial {each.trial}")
        if name in logs:
            axes.set_yscale("log")
            plain_ticks(axes.yaxis)
        axes.set_ylabel(name)
    grid[-1][0].set_xlabel("step")
    grid[0][0].legend(fontsize=6)
    return figure


#: The figures of one study, by the name of the file.
ALL: dict[str, Callable[[StudyPage], Figure | None]] = {
    "importance": importance,
    "parallel-coordinates": parallel,
    "contour": contour,
    "timeline": timeline,
    "rungs": rungs,
    "schedules": schedules,
}
