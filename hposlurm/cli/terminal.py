"""A terminal as a page that is drawn again and again, and given back as it was found."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_LEAVE = b"qQ\x03"
_LFLAGS = 3  # the local modes in the list of tcgetattr


class Terminal:
    """The terminal of stdout; it is a page only inside of `page`.

    The page is on the alternate screen, without a cursor, and what is typed does not appear. Afterwards all of that is
    as before: after an error, Ctrl-C and SIGTERM, and while the process is stopped by Ctrl-Z.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._keys = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._modes: list[Any] | None = None
        self._wake = -1

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows, as they are now."""
        return self._console.size

    @contextlib.contextmanager
    def page(self) -> Iterator[None]:
        """Shows the page until the body ends. SIGTERM ends the body by SystemExit."""
        with _signals() as self._wake:
            try:
                self._begin()
                yield
            finally:
                self._end()

    def show(self, lines: Sequence[Text]) -> None:
        """Draws the page."""
        from rich.console import Group

        self._console.update_screen(Group(*lines))

    def wait(self, seconds: float) -> str:
        """Waits and returns ""; returns earlier "redraw" if the page has to be drawn again, "leave" for the key q."""
        sources = [self._wake] if self._keys is None else [self._wake, self._keys]
        ready, _, _ = select.select(sources, [], [], max(0.0, seconds))
        if self._wake in ready:
            if signal.SIGTSTP in os.read(self._wake, 64):
                self._stop()
            return "redraw"
        if not ready:
            return ""
        typed = os.read(sources[-1], 64)
        if not typed:  # the terminal is gone: it would be ready for ever
            self._keys = None
        return "leave" if any(key in _LEAVE for key in typed) else "redraw"

    def _begin(self) -> None:
        if self._keys is not None:
            self._modes = termios.tcgetattr(self._keys)
            quiet = [*self._modes]
            quiet[_LFLAGS] &= ~(termios.ECHO | termios.ICANON)
            termios.tcsetattr(self._keys, termios.TCSANOW, quiet)
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)

    def _end(self) -> None:
        self._console.show_cursor(True)
        self._console.set_alt_screen(False)
        if self._keys is not None and self._modes is not None:
            # What was typed is dropped: the shell would run it. TCSAFLUSH does the same, but waits for the other end
            termios.tcflush(self._keys, termios.TCIFLUSH)
            termios.tcsetattr(self._keys, termios.TCSANOW, self._modes)

    def _stop(self) -> None:
        """Stops this process as Ctrl-Z does, with the terminal as it was; returns once it goes on."""
        self._end()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._begin()


def is_page(console: Console) -> bool:
    """True if stdout is a terminal that can show a page, and this process may use it."""
    if not console.is_terminal or console.is_dumb_terminal or not sys.stdout.isatty():
        return False
    try:  # a process in the background would be stopped as soon as it changed the terminal
        return os.tcgetpgrp(sys.stdout.fileno()) == os.getpgrp()
    except OSError:  # not the terminal that controls this process
        return True


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """Yields a descriptor on which the numbers of signals arrive; lets SIGTERM end the process by an exception."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    changes: dict[signal.Signals, Callable[..., None]] = {
        signal.SIGINT: _leave,
        signal.SIGTERM: _leave,
        signal.SIGWINCH: _go_on,
        signal.SIGTSTP: _go_on,
    }
    with contextlib.ExitStack() as before:
        before.callback(os.close, reader)
        before.callback(os.close, writer)
        before.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(writer, warn_on_full_buffer=False))
        for number, handler in changes.items():
            before.callback(signal.signal, number, signal.signal(number, handler))
        yield reader


def _leave(number: int, _frame: object) -> None:
    """Leaves the page; a second signal would interrupt how the terminal is given back."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _go_on(_number: int, _frame: object) -> None:
    """Does nothing: the number arrives on the descriptor."""
