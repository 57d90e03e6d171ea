"""The pool of a refill wave: assignments that were proposed ahead, and which element took which. Standard library only.

Each assignment has a position. The first ones are in wave.json; behind them come batches, each created once under the
position at which it begins, so that of two processes that think of the next one only one is heard. A batch without
assignments ends the pool: none can follow it. An element takes a position by giving its own file that further name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hposlurm.errors import StudyError
from hposlurm.records.decode import structure
from hposlurm.records.fail_points import fail_point
from hposlurm.records.files import age_s, create_once, from_json, link_once, publish, to_json
from hposlurm.records.layout import WaveLayout, number_of
from hposlurm.records.old_causes import with_causes
from hposlurm.trial import Assignment, Settlement

#: What is written, and what is read. In format 1 a settlement tells its cause by a sentence only.
FORMAT = 2
FORMATS = (1, 2)
#: Seconds after which whoever was at a batch counts as dead. Being wrong costs the time of two, and nothing else.
LEASE_S = 30.0
#: Seconds that an element waits for something to be proposed: longer than anyone takes over from two dead ones.
PATIENCE_S = 300.0
_NOBODY = "nobody.json"


@dataclass(frozen=True, slots=True)
class Batch:
    """Further assignments of a refill wave, from `position` on, and the search's verdicts on trials that it ends.

    `over` is why nothing follows in this wave, "" if something may; such a batch has no assignments.
    """

    wave: int
    position: int
    created_at: float
    assignments: tuple[Assignment, ...] = ()
    settled: tuple[Settlement, ...] = ()
    notes: tuple[str, ...] = ()
    over: str = ""

    @property
    def end(self) -> int:
        return self.position + len(self.assignments)

    def to_json(self) -> dict[str, Any]:
        settled = [settlement.to_json() for settlement in self.settled]
        return {"format": FORMAT, **asdict(replace(self, settled=())), "settled": settled}


def read_batch(wave: WaveLayout, position: int) -> Batch | None:
    """The batch that begins at `position`, None if there is none (yet). Raises StudyError if it is damaged."""
    path = wave.batch(position)
    try:
        data = from_json(path.read_bytes())
        if not isinstance(data, dict) or data.get("format") not in FORMATS:
            raise ValueError("it holds no batch")
        batch = structure(Batch, {key: value for key, value in data.items() if key != "format"})
        if data["format"] == 1:
            batch = replace(batch, settled=with_causes(batch.settled))
        if (batch.wave, batch.position) != (wave.index, position):
            raise ValueError(f"it is the one of wave {batch.wave} at {batch.position}")
        if bool(batch.over) == bool(batch.assignments):
            raise ValueError("it neither adds assignments nor ends the pool")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} is damaged: {error}; restore it from a backup (nothing was changed)") from error
    return batch


def batches(wave: WaveLayout, position: int) -> Iterator[Batch]:
    """The batches from the one that begins at `position` on, in order."""
    while (batch := read_batch(wave, position)) is not None:
        yield batch
        if batch.over:
            return
        position = batch.end


def record_batch(wave: WaveLayout, batch: Batch) -> bool:
    """Creates the batch; False if there is one at its position already (which then holds)."""
    fail_point("batch decided")
    is_mine = create_once(wave.batch(batch.position), to_json(batch.to_json()))
    fail_point("batch recorded")
    return is_mine


def lease(wave: WaveLayout, position: int) -> bool:
    """Whether this process is the one to think of the batch at `position`: nobody is at it, or who was is dead."""
    if not hold(partial(wave.lease, position), LEASE_S):
        return False
    fail_point("lease taken")
    return True


def give_back(wave: WaveLayout, position: int) -> None:
    """Lets others think of the batch at `position`: nothing came of it."""
    let_go(partial(wave.lease, position))


def hold(name: Callable[[int], Path], seconds: float) -> bool:
    """Whether this process is the one at something: nobody is, or who was has not let go in so many `seconds`.

    `name` is of the file that says so, by number: the next one is for whoever takes over.
    """
    number = 0
    while (held := name(number)).exists():
        number += 1
        if name(number).exists():
            continue
        try:
            if age_s(held) <= seconds:
                return False
        except FileNotFoundError:
            return False  # let go a moment ago
    return create_once(name(number), to_json({"pid": os.getpid()}))


def let_go(name: Callable[[int], Path]) -> None:
    """Lets others at it."""
    number = 0
    while name(number).exists():
        number += 1
    for last in reversed(range(number)):  # a later one without those before it would let two at it
        name(last).unlink(missing_ok=True)


def enter(wave: WaveLayout, element: int) -> bool:
    """Writes down that the element has started; False if it had before."""
    wave.claims.mkdir(mode=0o700, exist_ok=True)
    if wave.element(element).exists():
        return False
    publish(wave.element(element), to_json({"element": element}), is_durable=False)  # the claim makes it so
    fail_point("element entered")
    return True


def take(wave: WaveLayout, element: int, position: int) -> bool:
    """Takes the assignment at `position` for the element; False if it is another one's already."""
    is_mine = link_once(wave.element(element), wave.claim(position))
    fail_point("assignment taken")
    return is_mine


def taken(wave: WaveLayout) -> set[int]:
    """The positions that are nobody else's to take any more."""
    try:
        with os.scandir(wave.claims) as entries:
            found = {number_of(entry.name, 5) for entry in entries}
    except FileNotFoundError:
        return set()
    return {position for position in found if position is not None}


def entered(wave: WaveLayout) -> set[int]:
    """The elements that have started, as far as a listing shows them."""
    numbers = (number_of(path.stem.removeprefix("element-"), 5) for path in wave.claims.glob("element-*.json"))
    return {element for element in numbers if element is not None}


def waiting(wave: WaveLayout) -> int:
    """About how many elements have started and taken nothing so far, and have not lost patience.

    By the ages of files, a claim being a link to its element's: who started longer ago has given up, or is dead.
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
    """The element that took each position; what was closed untaken is left out. Raises StudyError for damage."""
    found = ((position, _taker(wave, position)) for position in sorted(taken(wave)))
    return {position: element for position, element in found if element is not None}


def position_of(wave: WaveLayout, element: int) -> int | None:
    """What the element took; None if nothing."""
    return next((p for p in sorted(taken(wave), reverse=True) if _taker(wave, p) == element), None)


def _taker(wave: WaveLayout, position: int) -> int | None:
    path = wave.claim(position)
    try:
        element = from_json(path.read_bytes())["element"]
        if element is not None and type(element) is not int:
            raise ValueError(f"{element!r:.60} is no element")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StudyError(f"{path} is damaged: {error}") from error
    return None if element is None else int(element)


def close(wave: WaveLayout, position: int, now: float) -> None:
    """Ends the pool for good: nothing is added to it from now on, and nothing that is left can be taken any more.

    `position` is behind the assignments of wave.json, `now` in epoch seconds.
    """
    end = _close_end(wave, position, now)
    left = {*range(end)} - taken(wave)
    if not left:
        return
    wave.claims.mkdir(mode=0o700, exist_ok=True)
    nobody = wave.claims / _NOBODY
    create_once(nobody, to_json({"element": None}))
    for untaken in sorted(left):
        link_once(nobody, wave.claim(untaken))
        fail_point("rest closed")


def _close_end(wave: WaveLayout, position: int, now: float) -> int:
    while True:
        for batch in batches(wave, position):
            position = batch.end
            if batch.over:
                return position
        record_batch(wave, Batch(wave.index, position, now, over="all of its elements have ended"))
