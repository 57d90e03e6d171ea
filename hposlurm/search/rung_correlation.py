"""Measures how well early values predict late ones: the rank correlation of each rung with the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hposlurm.search.observation import Observation, SearchProblem
from hposlurm.search.rungs import is_sent_to, levels_of, value_at
from hposlurm.trial import TrialState

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# With fewer pairs a rank correlation means nothing: of four pairs in random order one in 24 has a correlation of 1.
LEAST_PAIRS = 5

# Selection by the early value narrows its range (Pearson 1903: restriction of range)
_SELECTED = (
    "such a selection lowers it: over all trials it is usually higher, so a low one is no reason to give up rungs"
)


@dataclass(frozen=True, slots=True)
class RungCorrelation:
    """A step at which trials are compared."""

    step: int
    #: how many trials have a value there
    reached: int
    #: how many of them were trained further
    sent_on: int
    #: the rank correlation of these values with those at the end; None with fewer than LEAST_PAIRS
    correlation: float | None
    #: how many trials it is computed from
    pairs: int


@dataclass(frozen=True, slots=True)
class RungCorrelations:
    """The rungs below the end, as the records show them."""

    rungs: tuple[RungCorrelation, ...]
    #: True if the pairs are trials that were trained to the end whatever their early values. Otherwise they were
    #: promoted because they were good, and among those early values predict less than among all.
    is_fair: bool
    #: the step below which no trial is stopped any more; None if no trial is stopped
    lowest: int | None
    notes: tuple[str, ...] = ()
    #: True if trials are compared at every report: the steps are then examples
    at_reports: bool = False

    @property
    def judged(self) -> str:
        """Says what made a trial one of the pairs."""
        if self.is_fair:
            return "were let through"
        return "were not stopped" if self.at_reports else "were promoted because they were good"

    @property
    def text(self) -> str:
        """All of it in one line."""
        known = [
            f"{rung.correlation:.2f} at step {rung.step} ({rung.pairs} trials)"
            for rung in self.rungs
            if rung.correlation is not None
        ]
        if not known:
            most = max((rung.pairs for rung in self.rungs), default=0)
            return f"too few trials were trained to the end to say what rungs are worth ({most} of {LEAST_PAIRS})"
        among = "" if self.is_fair else f", among those that {self.judged}; {_SELECTED}"
        found = f"rank correlation with the end: {', '.join(known)}{among}"
        return "; ".join([found, *(note.rpartition("; ")[2] for note in self.notes)])


def rung_correlations(problem: SearchProblem, observations: Sequence[Observation]) -> RungCorrelations | None:
    """Returns what is known of the study's rungs; None if trials are not compared before their end."""
    pruner = problem.search.pruner_traits
    if pruner.rungs == "with max_resource":
        if len(problem.objectives) > 1:
            return None
        return _of_auto(problem, observations)
    if pruner.rungs == "never" and not pruner.at_reports:
        return None
    levels = levels_of(problem.search)
    rungs = tuple(_rung(observations, level) for level in levels[:-1])
    at_reports = pruner.at_reports and pruner.rungs == "never"
    return RungCorrelations(rungs, False, levels[0], at_reports=at_reports) if rungs else None


def rank_correlation(early: Sequence[float], final: Sequence[float]) -> float:
    """Returns Spearman's rank correlation; 0 where one side is constant.

    scipy.stats has it too, but takes 0.6 s of CPU to import on top of what auto needs (scipy 1.17, two cores), and
    every planner step and refill process would pay that.
    """
    x, y = _centred_ranks(early), _centred_ranks(final)
    norm = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / norm if norm else 0.0


def _centred_ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Returns places in ascending order, minus their mean; equal values share theirs."""
    import numpy as np

    _, place, count = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return np.asarray(ranks - ranks.mean())


def _of_auto(problem: SearchProblem, observations: Sequence[Observation]) -> RungCorrelations | None:
    from hposlurm.search.auto import trusted_rungs_of  # SciPy takes 0.2 s to import

    found = trusted_rungs_of(problem, observations)
    steps = [level for level in found.levels[:-1] if level is not None]
    rungs = tuple(
        RungCorrelation(step, *_census(observations, step), None if math.isnan(correlation) else correlation, pairs)
        for step, correlation, pairs in zip(steps, found.correlations, found.pairs, strict=True)
    )
    lowest = None if found.is_full else found.levels[found.lowest]
    return RungCorrelations(rungs, True, lowest, found.notes()) if rungs else None


def _rung(observations: Sequence[Observation], step: int) -> RungCorrelation:
    pairs = [
        (early[0], o.values[0])
        for o in observations
        if o.state is TrialState.COMPLETE and o.values and (early := value_at(o, step)) is not None
    ]
    correlation = rank_correlation(*zip(*pairs, strict=True)) if len(pairs) >= LEAST_PAIRS else None
    return RungCorrelation(step, *_census(observations, step), correlation, len(pairs))


def _census(observations: Sequence[Observation], step: int) -> tuple[int, int]:
    """Returns how many trials have a value at a rung, and how many of them were trained further."""
    reached = [o for o in observations if value_at(o, step) is not None]
    return len(reached), sum(is_sent_to(o, step + 1) and not _ended_at(o, step) for o in reached)


def _ended_at(o: Observation, step: int) -> bool:
    """True if a stopping rule ended the trial at this step or before."""
    return o.state is TrialState.PRUNED and bool(o.curve) and o.curve[-1][0] <= step
