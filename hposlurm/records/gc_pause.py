"""Pauses Python's cyclic garbage collector while a large history is built. Standard library only."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Iterator[None]:
    """Disables the cyclic garbage collector meanwhile; also a decorator.

    The objects of a history and of a decision have no reference cycles, and nearly all of them stay alive. The
    collector would visit all objects of the process each time their number has grown by a quarter, which takes about
    half of the time of a decision (it depends on what else was imported).
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
