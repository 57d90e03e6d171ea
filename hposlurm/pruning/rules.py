"""The rules: after a report, each returns whether the trial stops, and the numbers that it compared. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hposlurm.pruning.curve import Curve, Points, Values, counted_at, point_at
from hposlurm.pruning.rule import StopRule
from hposlurm.pruning.scoring import scoring
from hposlurm.pruning.wilcoxon import probability_of_greater
from hposlurm.trial import Direction


@dataclass(frozen=True, slots=True)
class Query:
    """The input of a rule: a trial's points up to the report to decide about, and the curves to compare it with."""

    rule: StopRule
    #: The step of the report to decide about.
    step: int
    #: The rung to decide at; None for a rule without rungs.
    level: int | None
    #: The trial's points up to and including `step`.
    points: Points
    #: The error in the report of `step`, such as "loss is nan"; "" if there is none.
    broken: str
    #: The curves of the trials to compare with.
    others: Sequence[Curve]

    def scores(self, values: Sequence[Values]) -> list[float]:
        """Returns one number for each trial's values; less is better."""
        return scoring(self.rule.objectives, self.rule.compare_by)(values)

    @property
    def own_scores(self) -> list[float]:
        """The trial's own scores, one per step."""
        return self.scores([values for _, values in self.points])

    def scores_at(self, level: int) -> list[float]:
        """Returns the trial's score at a step, then the scores of the other trials there."""
        found = (point_at(points, level) for points in self._curves)
        return self.scores([point[1] for point in found if point is not None])

    def shown(self, score: float) -> float:
        """Returns the score as shown to a person: with the sign of the reported first objective."""
        is_negated = self.rule.objectives[0].direction is Direction.MAXIMIZE and self.rule.compare_by == "first"
        return -score if is_negated else score

    def scores_at_rung(self, level: int) -> list[float]:
        """Returns what counts of the trial at a rung as its score, then the scores of the other trials there."""
        found = (counted_at(points, level, self.rule.objectives) for points in self._curves)
        return self.scores([point[1] for point in found if point is not None])

    @property
    def _curves(self) -> Sequence[Points]:
        return (self.points, *(curve.points for curve in self.others))

    @property
    def measure(self) -> str:
        """The name of the numbers that are compared."""
        names = {"weighted": "the weighted score", "domination": "the layer of domination"}
        return names.get(self.rule.compare_by, self.rule.objectives[0].metric)


@dataclass(frozen=True, slots=True)
class Reply:
    """The output of a rule: `value` is the trial's own number, `threshold` the number that it had to reach."""

    stops: bool
    reason: str
    value: float | None = None
    threshold: float | None = None


def asha_stopping(asked: Query) -> Reply:
    """Compares with the best 1/reduction_factor of the trials that reached the rung earlier (Li et al. 2018)."""
    level, factor = asked.level or 0, asked.rule.reduction_factor
    own, *others = asked.scores_at_rung(level)
    value = asked.shown(own)
    place = f"rung {level}: {asked.measure} {value:.6g}"
    if not others:
        return Reply(False, f"{place}, no trial got here before", value)
    limit = quantile(sorted(others), 1 / factor)
    threshold = asked.shown(limit)
    crowd = f"the best 1/{factor} of the {len(others)} here before" if len(others) > 1 else "the one here before"
    verb = "is worse than" if own > limit else "is not worse than"
    reach = "reach" if len(others) > 1 else "has"
    return Reply(own > limit, f"{place} {verb} {threshold:.6g}, which {crowd} {reach}", value, threshold)


def percentile(asked: Query) -> Reply:
    """Compares the trial's best value so far with the values of the completed trials at the same step."""
    rule = asked.rule
    if len(asked.others) < max(1, rule.warmup_trials):
        return Reply(False, f"step {asked.step}: fewer than {rule.warmup_trials} completed trials got here")
    newest, *others = asked.scores_at(asked.step)
    # layers of domination at different steps cannot be compared
    own = newest if rule.compare_by == "domination" else min(asked.own_scores)
    limit = quantile(sorted(others), rule.percentile / 100)
    value, threshold = asked.shown(own), asked.shown(limit)
    crowd = f"{len(others)} completed trials"
    what = f"the median of {crowd}" if rule.percentile == 50 else f"what the best {rule.percentile:g} % of {crowd} have"
    verb = "is worse than" if own > limit else "is not worse than"
    place = f"step {asked.step}: the best {asked.measure} so far, {value:.6g}, {verb} {threshold:.6g}"
    return Reply(own > limit, f"{place}, {what}", value, threshold)


def wilcoxon(asked: Query) -> Reply:
    """Compares step by step with the best completed trial; never stops a trial whose mean is as good."""
    if not asked.others:
        return Reply(False, f"step {asked.step}: no trial has completed yet")
    finals = asked.scores([curve.points[-1][1] for curve in asked.others])
    best = asked.others[finals.index(min(finals))]
    theirs = dict(zip((s for s, _ in best.points), asked.scores([v for _, v in best.points]), strict=True))
    own = dict(zip((s for s, _ in asked.points), asked.own_scores, strict=True))
    differences = [score - theirs[step] for step, score in own.items() if step in theirs]
    if len(differences) < 2:
        return Reply(False, f"step {asked.step}: fewer than two steps in common with the best completed trial")
    p = probability_of_greater(differences)
    is_better = sum(own.values()) / len(own) <= sum(theirs.values()) / len(theirs)
    stops = p < asked.rule.p_value and not is_better
    verb = "is worse" if stops else "is not known to be worse"
    what = f"step {asked.step}: {asked.measure} {verb} than the best completed trial's in {len(differences)} steps"
    return Reply(stops, f"{what} (p = {p:.3g}, threshold {asked.rule.p_value:g})", p, asked.rule.p_value)


def threshold(asked: Query) -> Reply:
    """Compares the first objective with fixed limits; stops if an objective is not a finite number."""
    name, place = asked.rule.objectives[0].metric, f"step {asked.step}"
    if asked.broken:
        return Reply(True, f"{place}: {asked.broken}, which is not a number between lower and upper")
    value = asked.points[-1][1][0]
    for limit, is_crossed, side in (
        (asked.rule.lower, asked.rule.lower is not None and value < asked.rule.lower, "below lower"),
        (asked.rule.upper, asked.rule.upper is not None and value > asked.rule.upper, "above upper"),
    ):
        if is_crossed:
            return Reply(True, f"{place}: {name} {value:.6g} is {side}, {limit:g}", value, limit)
    return Reply(False, f"{place}: {name} {value:.6g} is within the limits", value)


def patient(asked: Query) -> Reply:
    """Compares the best of the trial's last reports with the best one before them."""
    patience, scores = asked.rule.patience or 1, asked.own_scores
    if len(scores) <= patience:
        return Reply(False, f"step {asked.step}: it has reported {len(scores)} times")
    before, since = min(scores[:-patience]), min(scores[-patience:])
    verb = "has not improved on" if since >= before else "improved on"
    what = f"step {asked.step}: {asked.measure} {verb} {asked.shown(before):.6g} in the last {reports(patience)}"
    return Reply(since >= before, what, asked.shown(since), asked.shown(before))


RULES: Mapping[str, Callable[[Query], Reply]] = {
    "asha_stopping": asha_stopping,
    "median": percentile,
    "percentile": percentile,
    "wilcoxon": wilcoxon,
    "threshold": threshold,
    "patient": patient,
}


def reports(count: int) -> str:
    return "report" if count == 1 else f"{count} reports"


def quantile(ordered: Sequence[float], share: float) -> float:
    """Returns the quantile of the ascending values, interpolated linearly between two of them."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
