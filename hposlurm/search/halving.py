"""Successive halving and Hyperband: brackets of trials that are compared rung by rung, all of them at once.

A rung is decided when all trials in it have reached it: the best are promoted, the others end. The attribute "bracket"
of a trial has the number of its bracket, counted up from 0; the shape of a bracket follows from its number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, repeat

from hposlurm.pruning.scoring import Score, scoring
from hposlurm.search.fresh import Fresh, fresh, room
from hposlurm.search.observation import Answer, Observation, SearchProblem, TrainingRequest, Verdict
from hposlurm.search.rungs import Placing, is_sent_to, levels_of, placing_text, placings, standings, value_at
from hposlurm.space.metric_constraints import Limits
from hposlurm.spec.bounds import MOST_IN_WAVE
from hposlurm.trial import TrialState


@dataclass(frozen=True, slots=True)
class BracketShape:
    """`size` trials start at rung `first`, counted from the lowest."""

    first: int
    size: int

    def sizes(self, rungs: int, reduction_factor: int) -> list[int]:
        """Returns how many trials are in each rung from the first one on."""
        return [goers(self.size, k, reduction_factor) for k in range(rungs - self.first)]


def goers(size: int, steps: int, reduction_factor: int) -> int:
    """Returns how many of `size` trials are left after `steps` rungs, at least one."""
    for _ in range(steps):
        size //= reduction_factor
    return max(1, size)


def shapes(rungs: int, reduction_factor: int, brackets: int | None) -> tuple[BracketShape, ...]:
    """Returns Hyperband's first `brackets` brackets (None: all), beginning with the one with the most trials.

    With R brackets in total, bracket s (from R - 1 down to 0) starts ceil(R · reduction_factor^s / (s + 1)) trials
    (Li et al., JMLR 2018). The bracket with the most trials has the lowest first rung.
    """
    found = []
    for s in range(rungs - 1, -1, -1):
        found.append(BracketShape(rungs - 1 - s, -(-rungs * reduction_factor**s // (s + 1))))
    return tuple(found[:brackets])


def shapes_of(problem: SearchProblem) -> tuple[BracketShape, ...]:
    """Returns the shapes that brackets 0, 1, 2, … have in turn.

    Successive halving has one shape, of which one trial survives.
    """
    search = problem.search
    rungs = len(levels_of(search))
    if "brackets" not in search.pruner_traits.keys:
        return (BracketShape(0, search.reduction_factor ** (rungs - 1)),)
    return shapes(rungs, search.reduction_factor, search.brackets)


def halving(problem: SearchProblem, observations: Sequence[Observation], n: int) -> Answer:
    """Returns up to `n` requests: survivors of decided rungs first, then trials that fill brackets, then new brackets.

    The verdicts are on all trials that lost in a decided rung.
    """
    brackets = _brackets(problem, observations)
    is_closed = room(problem, observations, 1) == 0
    going, lost = _decided(problem, brackets, is_closed=is_closed)
    new = _new(problem, observations, brackets, n - len(going))
    if (
        new.finished and not new.requests and not is_closed
    ):  # no further trial ever comes: what waits for more goes ahead
        going, lost = _decided(problem, brackets, is_closed=True)
    return Answer((*going[:n], *new.requests[: max(0, n - len(going))]), tuple(lost), finished=new.finished)


def rung_size(problem: SearchProblem, observations: Sequence[Observation]) -> int:
    """Returns how many requests make one rung: all survivors of decided rungs, else all that first rungs lack."""
    brackets = _brackets(problem, observations)
    going, _ = _decided(problem, brackets, is_closed=room(problem, observations, 1) == 0)
    if going:
        return len(going)
    places = _places(problem, brackets)
    count = len(shapes_of(problem))
    first = next(places)
    last = first - first % count + count  # to the end of this round of brackets
    wanted = 1
    # a bracket of many rungs has more places than any study has trials
    for bracket in islice(places, max(0, room(problem, observations, MOST_IN_WAVE) - 1)):
        if bracket >= last:
            break
        wanted += 1
    return wanted


def placing_of(problem: SearchProblem, observations: Sequence[Observation], waiting: Observation) -> Placing | None:
    """Returns the placing of a trial that waits at a rung among its bracket's trials there; None without a bracket.

    If the bracket is still being filled, as many trials count as promoted as when it is full.
    """
    number, levels = waiting.attrs.get("bracket"), levels_of(problem.search)
    if not isinstance(number, int) or waiting.to_step not in levels:
        return None
    bracket = _brackets(problem, observations)[number]
    is_filled = bracket.is_joinable and room(problem, observations, 1) > 0
    size = bracket.shape.size if is_filled else len(bracket.members)
    return bracket.places(problem, levels.index(waiting.to_step), size).get(waiting.number)


class _Bracket:
    """One bracket at one moment; `members` by number."""

    def __init__(
        self, shape: BracketShape, members: Sequence[Observation], levels: Sequence[int], score: Score, limits: Limits
    ) -> None:
        self.shape = shape
        self.members = members
        self.levels = levels
        self.rungs = standings(members, levels, score, limits)

    @property
    def is_joinable(self) -> bool:
        """True if it has room, and nothing in it was decided yet."""
        return len(self.members) < self.shape.size and not any(map(self._was_judged, self.members))

    def _was_judged(self, o: Observation) -> bool:
        first = self.shape.first
        was_sent_on = first + 1 < len(self.levels) and is_sent_to(o, self.levels[first + 1])
        return was_sent_on or (o.state is TrialState.PRUNED and value_at(o, self.levels[first]) is not None)

    def decided(self, problem: SearchProblem, *, is_closed: bool) -> Iterator[TrainingRequest | Verdict]:
        """Yields promotions and verdicts rung by rung; a rung waits until the rung below has no promotion left."""
        if self.is_joinable and not is_closed:
            return
        for k in range(self.shape.first, len(self.levels) - 1):
            if any(o.is_open and is_sent_to(o, self.levels[k]) and not self._is_past(o, k) for o in self.members):
                return
            decisions = list(self._judged(problem, k))
            yield from decisions
            if any(isinstance(decision, TrainingRequest) for decision in decisions):
                return

    def places(self, problem: SearchProblem, k: int, size: int) -> dict[int, Placing]:
        """Returns the placing of each trial in rung `k`, by number, if `size` trials are in the bracket."""
        level, by_number = self.levels[k], {o.number: o for o in self.members}
        count = goers(size, k + 1 - self.shape.first, problem.search.reduction_factor)
        return placings(self.rungs[k], level, count, lambda number: value_at(by_number[number], level))

    def _is_past(self, o: Observation, k: int) -> bool:
        return is_sent_to(o, self.levels[k + 1])

    def _judged(self, problem: SearchProblem, k: int) -> Iterator[TrainingRequest | Verdict]:
        """Yields what is decided about the trials that wait at rung `k`."""
        level, by_number = self.levels[k], {o.number: o for o in self.members}
        for number, placing in self.places(problem, k, len(self.members)).items():
            o = by_number[number]
            if o.state is not TrialState.PAUSED or self._is_past(o, k):
                continue
            text = placing_text(placing, problem, o)
            if placing.goes_on:
                is_final = k + 2 == len(self.levels)
                yield TrainingRequest(o.params, number, o.to_step or level, self.levels[k + 1], is_final, why=text)
            else:
                yield Verdict(number, text)


def _brackets(problem: SearchProblem, observations: Sequence[Observation]) -> dict[int, _Bracket]:
    members: dict[int, list[Observation]] = defaultdict(list)
    for o in observations:
        number = o.attrs.get("bracket")
        if isinstance(number, int):
            members[number].append(o)
    found, levels = shapes_of(problem), levels_of(problem.search)
    score = scoring(problem.objectives, problem.search.compare_by)
    limits = problem.space.limits
    return {b: _Bracket(found[b % len(found)], members[b], levels, score, limits) for b in sorted(members)}


def _decided(
    problem: SearchProblem, brackets: dict[int, _Bracket], *, is_closed: bool
) -> tuple[list[TrainingRequest], list[Verdict]]:
    """Returns what all brackets decide: promotions, those with the longest training first, and verdicts."""
    found = [d for bracket in brackets.values() for d in bracket.decided(problem, is_closed=is_closed)]
    requests = sorted((d for d in found if isinstance(d, TrainingRequest)), key=lambda request: -(request.to_step or 0))
    return requests, [d for d in found if isinstance(d, Verdict)]


def _places(problem: SearchProblem, brackets: dict[int, _Bracket]) -> Iterator[int]:
    """Yields the bracket of each further new trial, endlessly: open places of old brackets, then new brackets."""
    found = shapes_of(problem)
    for b, bracket in brackets.items():
        if bracket.is_joinable:
            yield from repeat(b, bracket.shape.size - len(bracket.members))
    b = max(brackets, default=-1) + 1
    while True:
        yield from repeat(b, found[b % len(found)].size)
        b += 1


def _new(problem: SearchProblem, observations: Sequence[Observation], brackets: dict[int, _Bracket], n: int) -> Fresh:
    """Returns requests for up to `n` new trials, each to its bracket's first rung."""
    levels, found = levels_of(problem.search), shapes_of(problem)
    places = _places(problem, brackets)
    chosen = [next(places) for _ in range(max(0, room(problem, observations, n)))]
    new = fresh(problem, observations, len(chosen), levels=levels, attrs=[{"bracket": b} for b in chosen])
    requests = []
    for request, b in zip(new.requests, chosen, strict=False):
        first = found[b % len(found)].first
        requests.append(
            TrainingRequest(
                request.params, to_step=levels[first], is_final=first == len(levels) - 1, attrs=request.attrs
            )
        )
    return Fresh(tuple(requests), new.finished)
