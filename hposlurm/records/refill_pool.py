"""The pool of a refill wave: the proposed assignments, and the element that took each. Standard library only.

Each assignment has a position. The first ones are in wave.json, the next ones in batches. A batch is created once,
under its first position, so if two processes propose the next batch, only one of them is recorded. A batch without
assignments ends the pool: no batch can follow it. An element takes a position by creating a hard link to its own file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hposlurm.errors import StudyError
from hposlurm.records.assignment import Assignment, Settlement
from hposlurm.records.decode import structure
from hposlurm.records.fail_points import fail_point
from hposlurm.records.files import age_s, create_once, from_json, link_once, publish, to_json
from hposlurm.records.layout import WaveLayout, number_of
from hposlurm.records.old_causes import with_causes
from hposlurm.records.permissions import make_directory
from hposlurm.records.reading import read_whole

#: The written format, and the readable ones. In format 1 the cause of a settlement is only a sentence.
FORMAT = 2
FORMATS = (1, 2)
#: Seconds after which a lease expires. If the owner is still alive, two processes do the same work without harm.
LEASE_S = 30.0
#: Seconds that an element waits for a proposal: longer than it takes to wait for two expired leases.
PATIENCE_S = 300.0
_CLOSED_CLAIM = "nobody.json"


@dataclass(frozen=True, slots=True)
class Batch:
    """Additional assignments of a refill wave."""

    wave: int
    #: The position of the first assignment.
    position: int
    #: Epoch seconds.
    created_at: float
    assignments: tuple[Assignment, ...] = ()
    #: Trials that the search ends.
    settled: tuple[Settlement, ...] = ()
    #: Remarks of the search.
    notes: tuple[str, ...] = ()
    #: Why the pool ends here; such a batch has no assignments. "" in all other batches.
    over: str = ""

    @property
    def end(self) -> int:
        return self.position + len(self.assignments)

    def to_json(self) -> dict[str, Any]:
        settled = [settlement.to_json() for settlement in self.settled]
        return {"format": FORMAT, **asdict(replace(self, settled=())), "settled": settled}


def read_batch(wave: WaveLayout, position: int) -> Batch | None:
    """Returns the batch that begins at `position`; None if there is none (yet). Raises StudyError if it is damaged."""
    path = wave.batch(position)
    try:
        data = from_json(read_whole(path))
        if not isinstance(data, dict) or data.get("format") not in FORMATS:
            raise ValueError("it is not a batch")
        batch = structure(Batch, {key: value for key, value in data.items() if key != "format"})
        if data["format"] == 1:
            batch = replace(batch, settled=with_causes(batch.settled))
        if (batch.wave, batch.position) != (wave.index, position):
            raise ValueError(f"it is the batch of wave {batch.wave} at {batch.position}")
        if bool(batch.over) == bool(batch.assignments):
            raise ValueError("it neither adds assignments nor ends the pool")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} is damaged: {error}; restore it from a backup (nothing was changed)") from error
    return batch


def batches(wave: WaveLayout, position: int) -> Iterator[Batch]:
    """Yields the batches in order, from the one that begins at `position`."""
    while (batch := read_batch(wave, position)) is not None:
        yield batch
        if batch.over:
            return
        position = batch.end


def record_batch(wave: WaveLayout, batch: Batch) -> bool:
    """Creates the batch. Returns False if its position already has one, which then remains."""
    fail_point("batch decided")
    is_mine = create_once(wave.batch(batch.position), to_json(batch.to_json()))
    fail_point("batch recorded")
    return is_mine


def acquire_batch(wave: WaveLayout, position: int) -> bool:
    """Acquires the lease on the batch at `position`; False if a live process has it."""
    if not acquire(partial(wave.lease, position), LEASE_S):
        return False
    fail_point("lease taken")
    return True


def release_batch(wave: WaveLayout, position: int) -> None:
    """Releases the lease on the batch at `position`, so that other processes can propose it."""
    release(partial(wave.lease, position))


def acquire(name: Callable[[int], Path], seconds: float) -> bool:
    """Acquires a lease; False if another process has it and acquired it less than `seconds` ago.

    `name` returns the lease's file by number: the next number takes over an expired lease.
    """
    number = 0
    while (taken_lease := name(number)).exists():
        number += 1
        if name(number).exists():
            continue
        try:
            if age_s(taken_lease) <= seconds:
                return False
        except FileNotFoundError:
            return False  # released a moment ago
    return create_once(name(number), to_json({"pid": os.getpid()}))


def release(name: Callable[[int], Path]) -> None:
    """Releases a lease."""
    number = 0
    while name(number).exists():
        number += 1
    for last in reversed(range(number)):  # last first: a gap in the numbers would let two processes acquire it
        name(last).unlink(missing_ok=True)


def enter(wave: WaveLayout, element: int) -> bool:
    """Records that the element has started. Returns False if it had started before."""
    make_directory(wave.claims)
    if wave.element(element).exists():
        return False
    publish(wave.element(element), to_json({"element": element}), is_durable=False)  # the claim makes it durable
    fail_point("element entered")
    return True


def take(wave: WaveLayout, element: int, position: int) -> bool:
    """Takes the assignment at `position` for the element. Returns False if another element has it."""
    is_mine = link_once(wave.element(element), wave.claim(position))
    fail_point("assignment taken")
    return is_mine


def taken(wave: WaveLayout) -> set[int]:
    """Returns the positions that are taken or closed."""
    try:
        with os.scandir(wave.claims) as entries:
            found = {number_of(entry.name, 5) for entry in entries}
    except FileNotFoundError:
        return set()
    return {position for position in found if position is not None}


def entered(wave: WaveLayout) -> set[int]:
    """Returns the elements that have started, as far as a directory listing shows them."""
    numbers = (number_of(path.stem.removeprefix("element-"), 5) for path in wave.claims.glob("element-*.json"))
    return {element for element in numbers if element is not None}


def waiting(wave: WaveLayout) -> int:
    """Returns about how many elements have started, have taken nothing yet, and are still waiting.

    Uses the ages of files; a claim is a link to its element's file, so it has the element's age. An element that
    started more than PATIENCE_S ago has given up or is dead.
    """
    try:
        with os.scandir(wave.claims) as entries:
            times = {entry.name: entry.stat().st_mtime for entry in entries if not entry.name.startswith(".")}
    except FileNotFoundError:
        return 0
    started = {name: at for name, at in times.items() if name.startswith("element-")}
    if not started:
        return 0
    newest = max(started, key=started.__getitem__)
    since = started[newest] + age_s(wave.claims / newest) - PATIENCE_S
    young = sum(at >= since for at in started.values())
    took = sum(at >= since for name, at in times.items() if number_of(name, 5) is not None)
    return max(0, young - took)


def takers(wave: WaveLayout) -> dict[int, int]:
    """Returns the element that took each position, without closed positions. Raises StudyError for damaged claims."""
    found = ((position, _taker(wave, position)) for position in sorted(taken(wave)))
    return {position: element for position, element in found if element is not None}


def position_of(wave: WaveLayout, element: int) -> int | None:
    """Returns the position that the element took; None if it took none."""
    return next((p for p in sorted(taken(wave), reverse=True) if _taker(wave, p) == element), None)


def _taker(wave: WaveLayout, position: int) -> int | None:
    path = wave.claim(position)
    try:
        element = from_json(read_whole(path))["element"]
        if element is not None and type(element) is not int:
            raise ValueError(f"{element!r:.60} is not an element")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StudyError(f"{path} is damaged: {error}") from error
    return None if element is None else int(element)


def close(wave: WaveLayout, position: int, now: float) -> None:
    """Ends the pool: nothing can be added to it from now on, and no remaining assignment can be taken.

    `position` is the first one after the assignments of wave.json; `now` is in epoch seconds.
    """
    end = _close_end(wave, position, now)
    left = {*range(end)} - taken(wave)
    if not left:
        return
    make_directory(wave.claims)
    closed = wave.claims / _CLOSED_CLAIM
    create_once(closed, to_json({"element": None}))
    for untaken in sorted(left):
        link_once(closed, wave.claim(untaken))
        fail_point("rest closed")


def _close_end(wave: WaveLayout, position: int, now: float) -> int:
    while True:
        for batch in batches(wave, position):
            position = batch.end
            if batch.over:
                return position
        record_batch(wave, Batch(wave.index, position, now, over="all of its elements have ended"))
