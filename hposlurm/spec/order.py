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
        ready = [name for name in waiting if all(n in placed or n not in needs for n in needs[name])]
        if not ready:
            return ordered, _cycle(waiting, needs, placed)
        # only the first, to keep the file's order wherever possible
        ordered.append(ready[0])
        placed.add(ready[0])
        waiting.remove(ready[0])
    return ordered, []


def _cycle(waiting: list[str], needs: Mapping[str, frozenset[str]], placed: set[str]) -> list[str]:
    path = [waiting[0]]
    while True:
        following = min(n for n in needs[path[-1]] if n in needs and n not in placed)
        if following in path:
            return path[path.index(following) :]
        path.append(following)
