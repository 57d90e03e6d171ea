"""Reads metrics from the files that training libraries write by themselves: `trial.metrics` of the study file.

What a file had when the attempt began is not read: an earlier attempt wrote it, and has reported it.
"""

from __future__ import annotations

import csv
import glob
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hposlurm.records.metric_source import FORMATS, MetricSource
from hposlurm.records.reading import open_regular, read_whole
from hposlurm.worker import tfevents

_MOST_BYTES, _MOST_FILES = 64 * 2**20, 1000
_NEAR = 1e-6  # libraries add up epochs as floats

#: One entry of a file: keys and values, which may be nested.
Entry = Mapping[str, Any]


@dataclass(slots=True)
class _Seen:
    """How much of one file was read."""

    #: Its time of change and its size, when it was last looked at.
    state: tuple[int, int]
    #: The bytes (jsonl, tensorboard) or the entries (csv) that were read.
    count: int = 0
    #: The entries of a file that is written anew each time.
    known: set[str] = field(default_factory=set)


class MetricFiles:
    """The files of one entry of `trial.metrics`; their names may have wildcards."""

    def __init__(self, source: MetricSource, files: str, workdir: Path) -> None:
        self._source, self._pattern = source, os.path.join(workdir, files)  # noqa: PTH118 - wildcards, no path
        self._seen: dict[Path, _Seen] = {}
        #: The first step that was not a whole number, "" while there is none.
        self.uneven_step = ""
        for path, state in self._files():
            self._seen[path] = _Seen(state, count=self._length(path, state))

    def new(self, *, is_over: bool = False) -> Iterator[dict[str, Any]]:
        """Yields the reports that are new since the last call: metrics, and the step where the file says it.

        `is_over`: the command has ended, and a last line without its end is whole.
        """
        for path, state in self._files():
            seen = self._seen.setdefault(path, _Seen((0, 0)))
            if seen.state == state and not is_over:
                continue
            seen.state = state
            for entry in self._entries(path, seen, is_over=is_over):
                if report := self._report(entry):
                    yield report

    def _files(self) -> list[tuple[Path, tuple[int, int]]]:
        """Returns the files, the one that was changed last at the end."""
        found = []
        for name in glob.glob(self._pattern, recursive=True)[:_MOST_FILES]:
            try:
                status = Path(name).stat()
            except OSError:
                continue
            found.append((Path(name), (status.st_mtime_ns, status.st_size)))
        return sorted(found, key=lambda each: each[1][0])

    def _length(self, path: Path, state: tuple[int, int]) -> int:
        if self._source.format == "csv":
            return len(_csv(_read(path)))
        return state[1]

    def _entries(self, path: Path, seen: _Seen, *, is_over: bool) -> list[Entry]:
        if self._source.format in ("jsonl", "tensorboard"):
            return self._appended(path, seen, is_over=is_over)
        if self._source.format == "csv":
            rows = _csv(_read(path), is_whole=is_over)
            begin = seen.count if len(rows) >= seen.count else 0  # fewer: it was begun again
            seen.count = len(rows)
            return rows[begin:]
        entries = _WHOLE[self._source.format](_json(_read(path)))
        texts = [json.dumps(entry, sort_keys=True) for entry in entries]
        new = [entry for entry, text in zip(entries, texts, strict=True) if text not in seen.known]
        seen.known.update(texts)
        return new

    def _appended(self, path: Path, seen: _Seen, *, is_over: bool) -> list[Entry]:
        if seen.state[1] < seen.count:
            seen.count = 0  # it was begun again, as verl does at each start
        data = _read(path, seen.count)
        if self._source.format == "tensorboard":
            found, length = tfevents.records(data)
            entries: list[Any] = [tfevents.scalars(record) for record in found]
        else:
            length = len(data) if is_over else data.rfind(b"\n") + 1
            entries = [_json(line) for line in data[:length].splitlines()]
        seen.count += length
        return [entry for entry in entries if isinstance(entry, dict) and entry]

    def _report(self, entry: Entry) -> dict[str, Any] | None:
        source = self._source
        key = source.step or FORMATS[source.format]
        step = None if key is None else _number(value_at(entry, key))
        if step is None and source.step is not None:
            return None
        if step is not None:
            if abs(step - round(step)) > _NEAR:
                self.uneven_step = self.uneven_step or f"{step:g}"
                return None
            step = round(step) + source.offset
        found = {name: value_at(entry, path) for name, path in source.map.items()} if source.map else entry
        metrics = {name: number for name, v in found.items() if name != key and (number := _number(v)) is not None}
        return {"step": step, "metrics": metrics} if metrics else None


def value_at(entry: Any, path: str) -> Any:
    """Returns the value at a path of keys with dots between them; None if there is none. Keys may have dots, too."""
    if isinstance(entry, list) and path.lstrip("-").partition(".")[0].isdecimal():
        index, _, rest = path.partition(".")
        inside = entry[int(index)] if -len(entry) <= int(index) < len(entry) else None
        return value_at(inside, rest) if rest else inside
    if not isinstance(entry, Mapping):
        return None
    if path in entry:
        return entry[path]
    parts = path.split(".")
    for length in range(len(parts) - 1, 0, -1):
        head = ".".join(parts[:length])
        if head in entry:
            return value_at(entry[head], ".".join(parts[length:]))
    return None


def _number(value: object) -> float | None:
    """Returns a number, also one that a CSV file has as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _read(path: Path, begin: int = 0) -> bytes:
    try:
        if not begin:
            return read_whole(path, _MOST_BYTES)
        with open_regular(path) as file:
            file.seek(begin)
            return file.read(_MOST_BYTES)
    except OSError:
        return b""


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _csv(data: bytes, *, is_whole: bool = False) -> list[Entry]:
    """Returns the rows, without cells that are empty: Lightning writes one row per log call. The last may be half."""
    text = data.decode("utf-8-sig", errors="replace")
    text = text if is_whole else text[: text.rfind("\n") + 1]
    rows = csv.DictReader(io.StringIO(text, newline=""))
    try:
        return [{name: cell for name, cell in row.items() if name and isinstance(cell, str) and cell} for row in rows]
    except csv.Error:
        return []


def _history(state: Any) -> list[Entry]:
    history = state.get("log_history") if isinstance(state, dict) else None
    return [entry for entry in history if isinstance(entry, dict)] if isinstance(history, list) else []


def _single(found: Any) -> list[Entry]:
    return [found] if isinstance(found, dict) else []


_WHOLE: Mapping[str, Callable[[Any], list[Entry]]] = {"json": _single, "trainer_state": _history}


def sources_of(sources: Sequence[MetricSource], files: Sequence[str], workdir: Path) -> tuple[MetricFiles, ...]:
    """Returns the sources of one trial, whose files are in the same order."""
    return tuple(MetricFiles(source, name, workdir) for source, name in zip(sources, files, strict=False))
