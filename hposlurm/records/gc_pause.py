"""Python's search for garbage in circles, kept out of where a large history is built. Standard library only."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Nothing looks for circles of dead objects meanwhile; also a decorator.

    What a history and a decision are made of holds none, and nearly all of it stays. Python would go through all
    objects of the process each time that their number has grown by a quarter: about half of the time of a decision,
    which depends on what else was imported.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
