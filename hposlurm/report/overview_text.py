"""Writes the studies of a directory as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hposlurm.report.numbers import duration, shorten, shown
from hposlurm.report.overview import StudyLine
from hposlurm.report.printable import printable
from hposlurm.trial import TrialState

if TYPE_CHECKING:
    from rich.table import Table


def overview(lines: Sequence[StudyLine], width: int) -> Table:
    """Returns the table for a terminal; it has tags if `width` is at least 100 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    names = ["study", "phase", "done", "running", "failed", "age", "best", *(["tags"] if width >= 100 else [])]
    rows = [_cells(line)[: len(names)] for line in lines]
    for position, name in enumerate(names):
        gives_way = name in ("best", "tags")
        room = max(len(text) for text in (name, *(row[position] for row in rows)))
        grid.add_column(
            name,
            justify="right" if name in ("done", "running", "failed", "age") else "left",
            no_wrap=not gives_way,  # rich takes room only from columns that wrap, so their texts must not
            min_width=len(name) if gives_way else room,
        )
    for row in rows:
        grid.add_row(*(Text(text, no_wrap=True, overflow="ellipsis") for text in row))
    return grid


def _cells(line: StudyLine) -> list[str]:
    done = sum(count for state, count in line.counts.items() if state.is_finished)
    found = "–" if line.best is None else f"{line.objective}={shown(line.best)} (trial {line.best_trial})"
    return [
        shorten(printable(line.study), 28),
        "?" if line.phase == "unknown" else line.phase,
        str(done) if line.total is None else f"{done}/{line.total}",
        str(line.counts[TrialState.RUNNING]),
        str(line.counts[TrialState.FAIL]),
        duration(line.age_s),
        printable(found),
        printable(" ".join(f"{key}={value}" for key, value in line.tags.items())),
    ]
