"""Writes the studies of a directory as a table for a terminal."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hposlurm.report.numbers import duration, shorten, shown
from hposlurm.report.overview import StudyLine
from hposlurm.report.printable import printable
from hposlurm.report.progress import OVER
from hposlurm.trial import TrialState

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

#: What a person may type at a live page.
KEYS = "q or Ctrl-C leaves; nothing is stopped"


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


def overview_lines(lines: Sequence[StudyLine], width: int, height: int, now: float, note: str = "") -> list[Text]:
    """Returns the studies as at most `height` lines for a live page at `now` (epoch seconds); `note` came last."""
    from rich.console import Console
    from rich.text import Text

    moment = time.strftime("%H:%M:%S", time.localtime(now))
    foot = [*([Text(f"note: {printable(note)}", style="yellow")] if note else []), Text(KEYS, style="dim")]
    room = height - 5 - len(foot)  # title, a gap, the two lines above the rows, a gap
    shown_lines = lines if len(lines) <= room else lines[: max(1, room - 1)]
    console = Console(width=width, height=height, color_system=None, file=io.StringIO())
    console.print(overview(shown_lines, width))
    assert isinstance(console.file, io.StringIO)
    table = console.file.getvalue().rstrip("\n").split("\n")
    going = sum(not _is_over(line) for line in lines)
    head = Text(f"{len(lines)} {'study' if len(lines) == 1 else 'studies'}, {going} not over")
    head.truncate(max(0, width - len(moment) - 1), pad=True)
    more = len(lines) - len(shown_lines)
    rest = [Text(f"… and {more} more: hposlurm list", style="dim")] if more else []
    found = [Text.assemble(head, " ", (moment, "dim")), Text(), *map(Text, table), *rest, Text(), *foot]
    for line in found:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return found[:height]


def summaries(lines: Sequence[StudyLine]) -> list[str]:
    """Returns a line on each study, for logs and pipes; it has nothing that changes by the clock."""
    found = []
    for line in lines:
        states = ", ".join(f"{count} {state}" for state, count in line.counts.items() if count)
        best = "" if line.best is None else f"; best {line.objective}={shown(line.best)} (trial {line.best_trial})"
        found.append(printable(f"{line.study}: {line.phase}; {states or 'no trial planned yet'}{best}"))
    return found


def are_over(lines: Sequence[StudyLine]) -> bool:
    """True if nothing will change by itself."""
    return all(map(_is_over, lines))


def _is_over(line: StudyLine) -> bool:
    return line.phase in OVER and not line.counts[TrialState.RUNNING]


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
