"""A person's orders to run failed trials again (`retry.1.json`, …), each created once. Standard library only.

The worker imports this: it does not end a trial for attempts that an order excuses.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from hposlurm.errors import StudyError
from hposlurm.records.decode import structure
from hposlurm.records.files import create_once, from_json, to_json
from hposlurm.records.layout import StudyLayout
from hposlurm.records.reading import read_whole

#: The format that is written and read.
FORMAT = 1

#: By trial, the numbers of the attempts that no longer count, unless they are complete.
Excused = Mapping[int, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Retried:
    """A failed trial that is to run again."""

    trial: int
    #: The numbers of its attempts at that time; those without a journal have negative ones.
    attempts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RetryOrder:
    """The trials of one `hposlurm retry` or `hposlurm resume --retry-failed`."""

    #: Seconds since the epoch.
    created_at: float
    trials: tuple[Retried, ...]


def record_order(layout: StudyLayout, order: RetryOrder) -> None:
    """Creates the order's file, after those of all earlier orders."""
    data = to_json({"format": FORMAT, **asdict(order)})
    number = max(layout.retry_orders(), default=0) + 1
    while not create_once(layout.retry_order(number), data):
        number += 1


def read_orders(layout: StudyLayout) -> tuple[RetryOrder, ...]:
    """Returns all orders, oldest first. Raises StudyError if one is damaged."""
    return tuple(_read(layout, number) for number in layout.retry_orders())


def _read(layout: StudyLayout, number: int) -> RetryOrder:
    path = layout.retry_order(number)
    try:
        data = from_json(read_whole(path))
        if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
            raise ValueError("it has another format")
        return structure(RetryOrder, data)
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} is damaged: {error}; restore it from a backup (nothing was changed)") from error


def excused(orders: Sequence[RetryOrder]) -> Excused:
    """Returns the attempts that the orders excuse, by trial."""
    found: dict[int, frozenset[int]] = {}
    for order in orders:
        for retried in order.trials:
            found[retried.trial] = found.get(retried.trial, frozenset()) | {*retried.attempts}
    return found


def until(orders: Sequence[RetryOrder], time: float) -> tuple[RetryOrder, ...]:
    """Returns the orders that were given by `time`, in epoch seconds."""
    return tuple(order for order in orders if order.created_at <= time)


#: No attempt is excused.
NO_ATTEMPTS: Collection[int] = frozenset()
