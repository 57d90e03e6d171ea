"""Orders conditional parameters by their dependencies. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping


def dependency_order(needs: Mapping[str, frozenset[str]]) -> tuple[list[str], list[str]]:
    """Returns the names of `needs`, each after those that it needs, else in the given order; and one cycle, if any.

    Names that are needed but are not in `needs` are ignored. A cycle [a, b] means that a needs b and b needs a.
    """
    ordered: list[str] = []
    placed: set[str] = set()
    waiting = list(needs)
    while waiting:
        # only the first, to keep the file's order wherever possible
        ready = next((name for name in waiting if all(n in placed or n not in needs for n in needs[name])), None)
        if ready is None:
            return ordered, _cycle(waiting, needs, placed)
        ordered.append(ready)
        placed.add(ready)
        waiting.remove(ready)
    return ordered, []


def _cycle(waiting: list[str], needs: Mapping[str, frozenset[str]], placed: set[str]) -> list[str]:
    path = [waiting[0]]
    while True:
        following = min(n for n in needs[path[-1]] if n in needs and n not in placed)
        if following in path:
            return path[path.index(following) :]
        path.append(following)
