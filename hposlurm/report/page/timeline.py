"""Lays out on which GPUs each attempt ran, how long it had waited in the queue, and when GPUs were idle."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from hposlurm.report.breaks import break_s
from hposlurm.report.page.shortening import Indexed, indexed
from hposlurm.report.printable import printable
from hposlurm.report.records import StudyRecords
from hposlurm.report.waits import started_attempts
from hposlurm.trial import Attempt

_RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Timeline:
    """The attempts that started, a tuple per column; times are seconds since the study's first plan."""

    #: the node of each lane, in the order in which lanes are drawn
    lanes: tuple[str, ...]
    #: the GPUs of one attempt; 0: the study asks for none, and attempts are counted instead
    gpus: int
    #: the row of the trial
    rows: tuple[int, ...]
    #: the number of the attempt; a trial that was requeued or continued has several
    attempt: tuple[int, ...]
    lane: tuple[int, ...]
    #: since when it had waited in the queue; its own start if it did not
    queued: tuple[float, ...]
    started: tuple[float, ...]
    ended: tuple[float, ...]
    outcome: Indexed
    gpu_ids: Indexed
    #: the end of the axis
    end: float
    #: seconds of all attempts together between `queued` and `started`
    waited_s: float
    #: the most GPUs (or attempts) at work at a time
    most: int
    #: the share of their time, from the first start to the last end without breaks, in which these GPUs were idle
    idle_share: float


def timeline(study: StudyRecords, begin: float, now: float) -> Timeline | None:
    """Returns the timeline; None before the first start. Running attempts reach up to `now` (epoch seconds)."""
    waits = started_attempts(study)
    found = [(each.row, each.trial, each.attempt) for each in waits]
    if not found:
        return None
    lanes, places = _lanes([(printable(each.host) or "?", each.started_at, _end(each, now)) for _, _, each in found])
    last = max(_end(each, now) for _, _, each in found)
    weight = max((each.gpus for _, _, each in found), default=0)
    most = _most_at_once([(each.started_at, _end(each, now), each.gpus or 1) for _, _, each in found], weight)
    work = sum((_end(each, now) - each.started_at) * ((each.gpus or 1) if weight else 1) for _, _, each in found)
    first = found[0][2].started_at
    span = max(last - first - break_s(study.history, first, last), 1e-9)
    queued = [each.queued_at for each in waits]
    return Timeline(
        lanes=lanes,
        gpus=weight,
        rows=tuple(row for row, _, _ in found),
        attempt=tuple(each.number for _, _, each in found),
        lane=places,
        queued=tuple(round(time - begin, 1) for time in queued),
        started=tuple(round(each.started_at - begin, 1) for _, _, each in found),
        ended=tuple(round(_end(each, now) - begin, 1) for _, _, each in found),
        outcome=indexed(str(each.outcome) if each.outcome else _RUNNING for _, _, each in found),
        gpu_ids=indexed(printable(each.gpu_ids) or None for _, _, each in found),
        end=round(last - begin, 1),
        waited_s=round(sum(a.started_at - time for time, (_, _, a) in zip(queued, found, strict=True)), 1),
        most=most,
        idle_share=round(max(0.0, 1 - work / (most * span)), 4),
    )


def _end(attempt: Attempt, now: float) -> float:
    ended = attempt.ended_at
    if ended is None:
        ended = now if attempt.outcome is None else attempt.started_at + (attempt.elapsed_s or 0.0)
    return max(attempt.started_at, ended)


def _lanes(spans: Sequence[tuple[str, float, float]]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Returns the node of each lane and the lane of each span; spans of a node that overlap have different lanes."""
    free: dict[str, list[tuple[int, int]]] = {}  # of each node: lanes that are free, by number
    busy: dict[str, list[tuple[float, int]]] = {}
    made: list[tuple[str, int]] = []
    lane_of: list[tuple[str, int]] = []
    for host, start, end in spans:
        own, idle = busy.setdefault(host, []), free.setdefault(host, [])
        while own and own[0][0] <= start:
            lane = heapq.heappop(own)[1]
            heapq.heappush(idle, (lane, lane))
        if idle:
            lane = heapq.heappop(idle)[0]
        else:
            lane = len(own)
            made.append((host, lane))
        heapq.heappush(own, (end, lane))
        lane_of.append((host, lane))
    order = {key: place for place, key in enumerate(sorted(made, key=lambda key: (_natural(key[0]), key[1])))}
    return tuple(host for host, _ in order), tuple(order[key] for key in lane_of)


def _natural(name: str) -> tuple[object, ...]:
    """Returns a sort key by which n2 comes before n10."""
    digits = "".join(c for c in name if c.isdecimal() and c.isascii())
    letters = "".join(c for c in name if not c.isdecimal())
    return letters, int(digits[:18] or 0), name


def _most_at_once(spans: Sequence[tuple[float, float, int]], weight: int) -> int:
    events = sorted(
        event
        for start, end, gpus in spans
        for event in ((start, 1, gpus if weight else 1), (end, 0, -(gpus if weight else 1)))
    )
    most = running = 0
    for _, _, change in events:
        running += change
        most = max(most, running)
    return max(most, 1)
