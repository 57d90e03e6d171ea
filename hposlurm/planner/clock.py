"""The clock and the sleep of the planner, and its log: arguments of everything that waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

#: Takes a line for a person on what happens meanwhile.
Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Clock:
    """What time it is, and how to let some pass."""

    #: seconds since the epoch, for records
    now: Callable[[], float] = time.time
    #: seconds that never run backwards, for deadlines
    monotonic: Callable[[], float] = time.monotonic
    #: lets so many seconds pass
    sleep: Callable[[float], None] = time.sleep


#: This machine's own.
CLOCK = Clock()


def silent(_line: str) -> None:
    """Drops the line."""
