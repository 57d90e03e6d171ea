"""The clock, the sleep and the log: arguments of every function that waits. Standard library only."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

#: Writes one line about the progress for a person.
Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Clock:
    """The functions that read the time and wait."""

    #: Returns the seconds since the epoch, for records.
    now: Callable[[], float] = time.time
    #: Returns seconds that never run backwards, for deadlines.
    monotonic: Callable[[], float] = time.monotonic
    #: Waits for a number of seconds.
    sleep: Callable[[float], None] = time.sleep


#: The clock of this machine.
CLOCK = Clock()


def silent(_line: str) -> None:
    """Drops the line."""
