"""Finds the lines of a journal that have to be decoded, where most of them are reports. Standard library only.

Decoding a line as JSON and folding it takes about 10 µs; matching it takes about 1 µs. A trial may have reported a
million times, and only some thousand of its reports are kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from operator import le, lt
from typing import Any

from hposlurm.records.thinning import Values

# As in JSON, so that a line that matches is a line that can be decoded
_NUMBER = rb"-?(?:0|[1-9]\d*)(?:\.\d++)?(?:[eE][-+]?\d++)?"
_STEP = rb"-?(?:0|[1-9]\d{0,18})"
# Sets of metrics that are reported together. A script has a few: of a step, of an epoch, of an evaluation.
_MOST_SETS, _LARGEST_SET = 8, 50
# Fewer lines are decoded one by one in less time
_FEWEST_LINES = 32
# The keys of the record itself; a metric of such a name could not be found in a line by its name
_RESERVED = frozenset({"kind", "t", "step", "metrics"})


@dataclass(frozen=True, slots=True)
class ReportLines:
    """Consecutive lines that are reports of finite numbers, none of them decoded. Their steps never descend."""

    lines: tuple[bytes, ...]
    steps: tuple[int, ...]
    #: The steps and values of the watched metrics.
    values: Mapping[str, Values]
    #: The position of the last line with each metric.
    last: Mapping[str, int]


class ReportFinder:
    """Separates the reports in a journal from its other lines. It learns the sets of metrics that are reported."""

    def __init__(self, watched: Iterable[str]) -> None:
        """`watched` are the metrics whose values are wanted without decoding."""
        self._watched = frozenset(watched)
        self._sets: list[tuple[str, ...]] = []
        self._line: re.Pattern[bytes] | None = None
        self._run: re.Pattern[bytes] | None = None
        self._columns: list[str] = []  # the metric of each group after the first one, which is the step

    def learn(self, metrics: Mapping[str, Any]) -> None:
        """Recognises reports of these metrics from now on."""
        names = tuple(metrics)
        if names in self._sets or len(self._sets) >= _MOST_SETS or not 0 < len(names) <= _LARGEST_SET:
            return
        if _RESERVED.isdisjoint(names) and not any("\\" in json.dumps(name) for name in names):
            self._sets.append(names)
            self._compile()

    def _compile(self) -> None:
        self._columns = [name for names in self._sets for name in names if name in self._watched]
        self._line = re.compile(b"^" + _line(self._sets, self._watched) + b"$", re.MULTILINE)
        self._run = re.compile(b"(?:" + _line(self._sets, None) + b"\n)*")

    def pieces(self, block: bytes) -> Iterator[ReportLines | bytes]:
        """Yields the lines of `block` in order, each of which ends with a newline; many reports at once."""
        found = self._reports(block)
        if found is not None:
            yield found
            return
        position = 0
        while position < len(block):
            end = self._end_of_run(block, position)
            run = block[position:end]
            found = self._reports(run) if run.count(b"\n") >= _FEWEST_LINES else None
            if found is not None:
                yield found
            else:
                yield from run.split(b"\n")[:-1]
            position = end
            if position < len(block):
                end = block.index(b"\n", position)
                yield block[position:end]
                position = end + 1

    def _end_of_run(self, block: bytes, position: int) -> int:
        found = self._run.match(block, position) if self._run is not None else None
        return found.end() if found is not None else position

    def _reports(self, lines: bytes) -> ReportLines | None:
        """Returns the reports in `lines`; None if they have to be decoded one by one."""
        rows = self._line.findall(lines) if self._line is not None else ()
        if not rows or len(rows) < lines.count(b"\n"):
            return None
        columns: list[tuple[bytes, ...]] = [*zip(*rows, strict=True)] if self._columns else [tuple(rows)]
        steps = tuple(map(int, columns[0]))
        if not all(map(le, steps, steps[1:])) or max(abs(steps[0]), abs(steps[-1])) >= 2**63:
            return None
        is_repeated = not all(map(lt, steps, steps[1:]))
        values: dict[str, Values] = {}
        for name in dict.fromkeys(self._columns):
            cells = _joined([column for own, column in zip(self._columns, columns[1:], strict=True) if own == name])
            found = _numbers(steps, cells)
            if not all(map(isfinite, found[1])):
                return None
            values[name] = _last_of_each_step(found) if is_repeated else found
        return ReportLines(tuple(lines.split(b"\n")[:-1]), steps, values, self._last(lines))

    def _last(self, run: bytes) -> dict[str, int]:
        everywhere = set.intersection(*map(set, self._sets))
        found = {name: run.rfind(_key(name)) for names in self._sets for name in names if name not in everywhere}
        return {name: run.count(b"\n", 0, place) for name, place in found.items() if place >= 0}


def _key(name: str) -> bytes:
    return json.dumps(name).encode() + b":"


def _line(sets: Iterable[tuple[str, ...]], watched: frozenset[str] | None) -> bytes:
    """Returns the regular expression of a report as `journal.append` writes it; spaces may follow colons and commas.

    The step and the metrics in `watched` are groups; None: nothing is.
    """
    step = _STEP if watched is None else b"(" + _STEP + b")"
    bodies = b"|".join(b", ?".join(_pair(name, watched or ()) for name in names) for names in sets)
    head = rb'\{"kind": ?"report", ?"t": ?' + _NUMBER + rb', ?"step": ?' + step
    return head + rb', ?"metrics": ?\{(?:' + bodies + rb")\}\}"


def _pair(name: str, watched: Container[str]) -> bytes:
    number = b"(" + _NUMBER + b")" if name in watched else _NUMBER
    return re.escape(_key(name)) + b" ?" + number


def _joined(columns: list[tuple[bytes, ...]]) -> tuple[bytes, ...]:
    """Returns the one cell of each row that is not empty: the same metric in several sets of metrics."""
    return columns[0] if len(columns) == 1 else tuple(map(b"".join, zip(*columns, strict=True)))


def _numbers(steps: tuple[int, ...], cells: tuple[bytes, ...]) -> Values:
    if all(cells):
        return steps, tuple(map(float, cells))
    known = [(step, float(cell)) for step, cell in zip(steps, cells, strict=True) if cell]
    return tuple(step for step, _ in known), tuple(value for _, value in known)


def _last_of_each_step(values: Values) -> Values:
    """Returns the values without those that were reported again for the same step."""
    latest = dict(zip(*values, strict=True))
    return tuple(latest), tuple(latest.values())
