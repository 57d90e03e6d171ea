"""Whether early values predict late ones in this study: what every rung is worth, for whoever wants to know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hposlurm.pruning import AT_REPORTS
from hposlurm.search.observation import Observation, SearchProblem
from hposlurm.search.rungs import is_sent_to, levels_of, value_at
from hposlurm.trial import TrialState

_FEW = 5  # pairs; with fewer a rank correlation says nothing


@dataclass(frozen=True, slots=True)
class Rung:
    """A step at which trials are compared: how many have a value there, and how many were sent on.

    `correlation` is the rank correlation of these values with those at the end over the `pairs` trials that are judged
    by; None where they are too few.
    """

    step: int
    reached: int
    sent_on: int
    correlation: float | None
    pairs: int


@dataclass(frozen=True, slots=True)
class Premise:
    """What the records say about the rungs below the end.

    `is_fair`: the pairs are trials that went to the end whatever they showed before. Else they are those that were sent
    on for being good, among which early values say less than among all. `lowest` is the step below which no trial is
    stopped any more, None where none is stopped at all. `at_reports`: trials are compared at every report, and these
    steps are examples.
    """

    rungs: tuple[Rung, ...]
    is_fair: bool
    lowest: int | None
    notes: tuple[str, ...] = ()
    at_reports: bool = False

    @property
    def judged(self) -> str:
        """What makes a trial one of the pairs."""
        if self.is_fair:
            return "were let through"
        return "were not stopped" if self.at_reports else "were sent on for being good"

    @property
    def text(self) -> str:
        """All of it in one line."""
        told = [
            f"{rung.correlation:.2f} at step {rung.step} ({rung.pairs} trials)"
            for rung in self.rungs
            if rung.correlation is not None
        ]
        if not told:
            most = max((rung.pairs for rung in self.rungs), default=0)
            return f"too few trials were trained to the end to say what rungs are worth ({most} of {_FEW})"
        among = "" if self.is_fair else f", among those that {self.judged}"
        known = f"rank correlation with the end: {', '.join(told)}{among}"
        return "; ".join([known, *(note.rpartition("; ")[2] for note in self.notes)])


def premise(problem: SearchProblem, observations: Sequence[Observation]) -> Premise | None:
    """What is known of the study's rungs; None where trials are not compared before their end."""
    pruner = problem.search.pair[1]
    if pruner in ("none", "pbt") or (pruner == "auto" and len(problem.objectives) > 1):
        return None
    if pruner == "auto":
        return _of_auto(problem, observations)
    levels = levels_of(problem.search)
    rungs = tuple(_rung(observations, level) for level in levels[:-1])
    at_reports = pruner in AT_REPORTS - {"asha_stopping"}  # which looks at rungs alone
    return Premise(rungs, False, levels[0], at_reports=at_reports) if rungs else None


def _of_auto(problem: SearchProblem, observations: Sequence[Observation]) -> Premise | None:
    from hposlurm.search.auto import premise_of  # scipy takes 0.2 s to import

    found = premise_of(problem, observations)
    steps = [level for level in found.levels[:-1] if level is not None]
    rungs = tuple(
        Rung(step, *_census(observations, step), None if math.isnan(correlation) else correlation, pairs)
        for step, correlation, pairs in zip(steps, found.correlations, found.pairs, strict=True)
    )
    lowest = None if found.is_full else found.levels[found.lowest]
    return Premise(rungs, True, lowest, found.notes()) if rungs else None


def _rung(observations: Sequence[Observation], step: int) -> Rung:
    from hposlurm.search.auto import rank_correlation

    pairs = [
        (early[0], o.values[0])
        for o in observations
        if o.state is TrialState.COMPLETE and o.values and (early := value_at(o, step)) is not None
    ]
    correlation = rank_correlation(*zip(*pairs, strict=True)) if len(pairs) >= _FEW else None
    return Rung(step, *_census(observations, step), correlation, len(pairs))


def _census(observations: Sequence[Observation], step: int) -> tuple[int, int]:
    """How many have a value at a rung, and how many of them were sent further."""
    reached = [o for o in observations if value_at(o, step) is not None]
    return len(reached), sum(is_sent_to(o, step + 1) and not _ended_at(o, step) for o in reached)


def _ended_at(o: Observation, step: int) -> bool:
    """Whether the trial was stopped there, by a rule that lets it run until then."""
    return o.state is TrialState.PRUNED and bool(o.curve) and o.curve[-1][0] <= step
