"""Population-based training (Jaderberg et al., 2017) in generations: copies of the best members replace the worst.

A generation ends at the same step for all members. A member that is not replaced keeps its trial, which trains on. The
trial of a replaced member ends, and a new trial begins with the checkpoint of its parent and with other values. The
trials' attributes have their members and generations, so every decision can be made again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from hposlurm.pruning.scoring import scoring
from hposlurm.search.fresh import fresh
from hposlurm.search.mutation import mutate
from hposlurm.search.observation import (
    Answer,
    Observation,
    SearchProblem,
    TrainingRequest,
    Verdict,
    complaints,
    violations,
)
from hposlurm.search.points import draw_point
from hposlurm.search.rungs import value_at
from hposlurm.search.seeds import derive_seed
from hposlurm.trial import TrialState

if TYPE_CHECKING:
    from hposlurm.spec import SearchSpec

_DRAWS = 1000  # at most, until a point meets the constraints


@dataclass(frozen=True, slots=True)
class Copy:
    """A replacement of a member by a copy of another member's trial."""

    member: int
    #: the trial that is replaced
    loser: Observation
    #: the trial that is copied
    parent: Observation
    #: for people
    reason: str


def generation_ends(interval: int, max_resource: int) -> tuple[int, ...]:
    """Returns the step at which each generation ends; the last one ends with the training and may be shorter."""
    return (*range(interval, max_resource, interval), max_resource)


def copies_each(search: SearchSpec) -> int:
    """Returns how many members are replaced at the end of a generation in which none failed."""
    size = search.population_size or 0
    return min(math.ceil(size * search.quantile), size // 2)


def population(problem: SearchProblem, observations: Sequence[Observation], n: int) -> Answer:
    """Returns up to `n` requests of the current generation; the next one begins when all members have ended it.

    Copies come before their parents: a parent trains on, and may then delete the checkpoint.
    """
    search = problem.search
    size = search.population_size or 0
    ends = generation_ends(search.perturbation_interval or 1, search.max_resource or 1)
    members = _members(observations, size)
    missing = [m for m in range(size) if not members[m]]
    if missing:
        return Answer(_founders(problem, observations, missing[: max(n, 0)], ends))
    for generation, end in enumerate(ends):
        roster = [_at(trials, generation) for trials in members]
        if generation:
            answer = _generation(problem, observations, members, generation, ends, max(n, 0))
            if answer is not None:
                return answer
        if any(o.is_open and o.to_step == end for o in roster):
            return Answer()
    return Answer(finished=f"the population of {size} has ended its {len(ends)} generations")


def _members(observations: Sequence[Observation], size: int) -> list[list[Observation]]:
    """Returns each member's trials, in the order of their generations."""
    members: list[list[Observation]] = [[] for _ in range(size)]
    for observation in observations:
        member = observation.attrs.get("member")
        if isinstance(member, int) and member < size:
            members[member].append(observation)
    return members


def _at(trials: Sequence[Observation], generation: int) -> Observation:
    """Returns the trial of a member in a generation."""
    return next(o for o in reversed(trials) if _begun(o) <= generation)


def _begun(observation: Observation) -> int:
    generation = observation.attrs.get("generation")
    return generation if isinstance(generation, int) else 0


def _is_sent(observation: Observation, end: int) -> bool:
    return observation.to_step is not None and observation.to_step >= end


def _founders(
    problem: SearchProblem, observations: Sequence[Observation], members: Sequence[int], ends: Sequence[int]
) -> tuple[TrainingRequest, ...]:
    is_final = len(ends) == 1
    attrs: list[Mapping[str, object]] = [{"member": m, "generation": 0} for m in members]
    requests = list(
        fresh(problem, observations, len(members), to_step=ends[0], is_final=is_final, attrs=attrs).requests
    )
    for own in attrs[len(requests) :]:  # the space has fewer points than members: some begin with the same point
        rng = Random(derive_seed(problem.search.seed, "member", str(own["member"])))
        draws = (draw_point(problem.space, rng) for _ in range(_DRAWS))
        point = next((p for p in draws if problem.space.is_feasible(p)), None)
        if point is not None:
            requests.append(
                TrainingRequest(point, to_step=ends[0], is_final=is_final, attrs={"origin": "random", **own})
            )
    return tuple(requests)


def _generation(
    problem: SearchProblem,
    observations: Sequence[Observation],
    members: Sequence[Sequence[Observation]],
    generation: int,
    ends: Sequence[int],
    n: int,
) -> Answer | None:
    """Returns the requests of a generation that were not made yet; None if all were."""
    begin, end, is_final = ends[generation - 1], ends[generation], generation == len(ends) - 1
    before = [_at(trials, generation - 1) for trials in members]
    copies = select(problem, before, begin, generation)
    if copies is None:
        return Answer(finished=f"every member of the population failed before step {begin}")
    if any(_is_sent(trials[-1], end) for trials in members):  # decided before, and metrics were measured since then
        copies = [c for c in copies if c.loser.state is not TrialState.PAUSED and not _is_sent(c.loser, end)]
    room = len(copies) if problem.n_trials is None else problem.n_trials - len(observations)
    requests: list[TrainingRequest] = []
    verdicts: list[Verdict] = []
    replaced = set()
    for copy in copies:
        if any(_begun(o) == generation for o in members[copy.member]):
            replaced.add(copy.member)
        elif room > len(requests):  # else no trial is left for a copy, and the member trains on
            replaced.add(copy.member)
            requests.append(_copied(problem, copy, generation, begin, end, is_final))
            if copy.loser.state is TrialState.PAUSED:
                verdicts.append(Verdict(copy.loser.number, copy.reason))
    ranking = _Ranking.at(problem, before, begin)
    ending = f"{len(replaced)} of {len(before)} members {'is' if len(replaced) == 1 else 'are'} replaced"
    for member, o in enumerate(before):
        if member not in replaced and o.state is TrialState.PAUSED and o.to_step == begin:
            why = f"{_when(generation, begin)}: {ranking.place_text(o)}, {ending}"
            requests.append(TrainingRequest(o.params, o.number, begin, end, is_final, why=why))
    return Answer(tuple(requests[:n]), tuple(verdicts)) if requests else None


def _copied(
    problem: SearchProblem, copy: Copy, generation: int, begin: int, end: int, is_final: bool
) -> TrainingRequest:
    search = problem.search
    rng = Random(derive_seed(search.seed, "copy", generation, copy.member))
    params = mutate(
        problem.space, copy.parent.params, problem.mutable, rng, search.resample_probability, search.perturb_factors
    )
    attrs: dict[str, object] = {
        "origin": "copy",
        "member": copy.member,
        "generation": generation,
        "parent": copy.parent.number,
        "parent_step": begin,
        "replaces": copy.loser.number,
    }
    return TrainingRequest(params, None, begin, end, is_final, copy.parent.number, attrs, copy.reason)


@dataclass(frozen=True, slots=True)
class _Ranking:
    """The members ranked at a step."""

    problem: SearchProblem
    #: those with a value there, best first
    ranked: Sequence[Observation]
    #: by trial, None without a value
    values: Mapping[int, tuple[float, ...] | None]

    @classmethod
    def at(cls, problem: SearchProblem, members: Sequence[Observation], step: int) -> _Ranking:
        values = {o.number: value_at(o, step) for o in members}
        known = [o for o in members if values[o.number] is not None]
        scores = scoring(problem.objectives, problem.search.compare_by)([values[o.number] or () for o in known])
        broken = [sum(violations(o, problem.space.limits)) for o in known]
        order = sorted((b, s, o.number, o) for b, s, o in zip(broken, scores, known, strict=True))
        return cls(problem, [o for *_, o in order], values)

    def values_text(self, o: Observation) -> str:
        pairs = zip(self.problem.objectives, self.values[o.number] or (), strict=False)
        return ", ".join(f"{objective.metric} {value:.6g}" for objective, value in pairs)

    def place_text(self, o: Observation) -> str:
        if o in self.ranked:
            limits = complaints(o, self.problem.space.limits)
            shown = "; ".join((self.values_text(o), *(f"breaks {limit}" for limit in limits)))
            return f"place {self.ranked.index(o) + 1} of {len(self.ranked)} ({shown})"
        if o.state is TrialState.FAIL:
            return "failed because of its configuration" if o.infeasible else "failed"
        return "ended before"


def select(problem: SearchProblem, members: Sequence[Observation], step: int, generation: int) -> list[Copy] | None:
    """Selects the members to replace at a step, and their parents; None if no member is left to copy.

    Truncation selection: the worst `quantile` and all members without a value are replaced, each by one of the best
    `quantile`, drawn at random. A member that breaks a limit on a measured metric ranks below all that do not; ties go
    to the lower number.
    """
    ranking = _Ranking.at(problem, members, step)
    ranked = ranking.ranked
    if not ranked:
        return None
    count = copies_each(problem.search)
    failed = [o for o in members if o not in ranked]
    best = ranked[: max(count, 1)]
    worst = [o for o in ranked[len(ranked) - max(0, count - len(failed)) :] if o not in best]
    replaced = {o.number for o in (*failed, *worst)}
    found = []
    for member, o in enumerate(members):
        if o.number in replaced:
            parent = Random(derive_seed(problem.search.seed, "parent", generation, member)).choice(best)
            result = f"replaced by a copy of trial {parent.number} ({ranking.values_text(parent)})"
            reason = f"{_when(generation, step)}: {ranking.place_text(o)}; {result}"
            found.append(Copy(member, o, parent, reason))
    return found


def _when(generation: int, step: int) -> str:
    return f"generation {generation - 1}, step {step}"
