"""Shows studies until they are over: as a page on a terminal, as lines elsewhere. Ctrl-C ends only the display."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from hposlurm.cli.common import log

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import Console
    from rich.text import Text

    from hposlurm import Study
    from hposlurm.report.live import LivePage
    from hposlurm.report.overview import StudyLine

T = TypeVar("T")
# reading takes at most this share of the time: 10,000 trials take a second
_SHARE = 0.2


class Screen(Protocol):
    """The part of a terminal that a loop needs; see cli/terminal.py."""

    @property
    def size(self) -> tuple[int, int]: ...
    def page(self) -> AbstractContextManager[None]: ...
    def show(self, lines: Sequence[Text], /) -> None: ...
    def wait(self, seconds: float, /) -> str: ...


def watch_study(study: Study, every_s: float) -> None:
    """Shows the progress of a study until it is over, then its last state as `status` does."""
    from hposlurm.report.live import live_page
    from hposlurm.report.live_text import page_lines
    from hposlurm.report.progress_text import screen, summary

    console, notes = _console(), _Notes()
    if not _is_page(console):
        views = study.watch(log=log)
        write_lines(views, lambda view: [summary(view)], lambda view: view.is_over, every_s, console)
        return
    pages = (live_page(*look, study.spec) for look in study.looks(log=notes.add))

    def draw(page: LivePage, width: int, height: int) -> list[Text]:
        return page_lines(page, width, height, time.time(), notes.last, ascii_only=console.options.ascii_only)

    last = show_page(pages, draw, lambda page: page.progress.is_over, every_s, _terminal(console))
    notes.print_all()
    if last is not None:
        console.print(screen(last.progress))


def watch_studies(views: Callable[[Callable[[str], None]], Iterator[list[StudyLine]]], every_s: float) -> None:
    """Shows the lines of studies until all are over, then the last ones as `list` does; `views` takes a log."""
    from hposlurm.report.overview_text import are_over, overview, overview_lines, summaries

    console, notes = _console(), _Notes()
    if not _is_page(console):
        write_lines(views(log), summaries, are_over, every_s, console)
        return

    def draw(lines: list[StudyLine], width: int, height: int) -> list[Text]:
        return overview_lines(lines, width, height, time.time(), notes.last)

    last = show_page(views(notes.add), draw, are_over, every_s, _terminal(console))
    notes.print_all()
    if last:
        console.print(overview(last, console.width))


def show_page(
    views: Iterable[T],
    draw: Callable[[T, int, int], Sequence[Text]],
    is_over: Callable[[T], bool],
    every_s: float,
    terminal: Screen,
    monotonic: Callable[[], float] = time.monotonic,
) -> T | None:
    """Draws each view and waits `every_s` before the next one; returns the last one if it is over, None for Ctrl-C.

    A page whose size has changed is drawn again at once, from the same view. Where a view takes long, the waiting is
    longer too: the login node is shared.
    """
    with contextlib.suppress(KeyboardInterrupt), terminal.page():
        begun = monotonic()
        for view in views:
            if is_over(view):
                return view
            ready = monotonic()
            end = ready + max(every_s, (ready - begun) / _SHARE)
            answer = "redraw"
            while answer == "redraw":
                terminal.show(draw(view, *terminal.size))
                answer = terminal.wait(end - monotonic())
            if answer == "leave":
                return None
            begun = monotonic()
    return None


def write_lines(
    views: Iterable[T],
    texts: Callable[[T], Sequence[str]],
    is_over: Callable[[T], bool],
    every_s: float,
    console: Console,
) -> None:
    """Writes the lines of each view that the one before did not have, with the time, until it is over or Ctrl-C."""
    known: set[str] = set()
    with contextlib.suppress(KeyboardInterrupt):
        for view in views:
            lines = texts(view)
            for line in lines:
                if line not in known:
                    console.file.write(f"{time.strftime('%H:%M:%S')}  {line}\n")
            console.file.flush()
            known = set(lines)
            if is_over(view):
                return
            time.sleep(every_s)


class _Notes:
    """Keeps the notes that come while a page is shown: the page has the last one, and all follow it once."""

    def __init__(self) -> None:
        self._all: dict[str, None] = {}
        self.last = ""

    def add(self, text: str) -> None:
        self._all[text] = None
        self.last = text.removeprefix("note: ")

    def print_all(self) -> None:
        for text in self._all:
            log(text)


def _console() -> Console:
    from rich.console import Console

    return Console()


def _is_page(console: Console) -> bool:
    from hposlurm.cli.terminal import is_page

    return is_page(console)


def _terminal(console: Console) -> Screen:
    from hposlurm.cli.terminal import Terminal

    return Terminal(console)
