"""The rules themselves: each says of a trial behind a report whether it goes on, and by what it was judged. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hposlurm.pruning.curve import Curve, Values, point_at
from hposlurm.pruning.rule import StopRule
from hposlurm.pruning.scoring import scoring
from hposlurm.pruning.wilcoxon import probability_of_greater
from hposlurm.trial import Direction


@dataclass(frozen=True, slots=True)
class Query:
    """A trial's `points` up to `step`, the newest of which is asked about, and the curves of those it is compared with.

    `broken` is what was wrong with the report of `step`, "" if nothing was.
    """

    rule: StopRule
    step: int
    level: int | None
    points: Sequence[tuple[int, Values]]
    broken: str
    rivals: Sequence[Curve]

    def scores(self, values: Sequence[Values]) -> list[float]:
        """One number for each of several trials' values, less is better."""
        return scoring(self.rule.objectives, self.rule.compare_by)(values)

    @property
    def own_scores(self) -> list[float]:
        """The trial's own, step by step."""
        return self.scores([values for _, values in self.points])

    def scores_at(self, level: int) -> list[float]:
        """The trial's at a step, then those of the others there."""
        found = (point_at(points, level) for points in (self.points, *(curve.points for curve in self.rivals)))
        return self.scores([point[1] for point in found if point is not None])

    def shown(self, score: float) -> float:
        """The score as a person knows it: of the first objective as it is reported."""
        is_negated = self.rule.objectives[0].direction is Direction.MAXIMIZE and self.rule.compare_by == "first"
        return -score if is_negated else score

    @property
    def measure(self) -> str:
        """What the numbers are."""
        words = {"weighted": "the weighted score", "domination": "the layer of domination"}
        return words.get(self.rule.compare_by, self.rule.objectives[0].metric)


@dataclass(frozen=True, slots=True)
class Reply:
    """`value` is what the trial was judged by, `threshold` what it had to reach, in the terms that people know."""

    stops: bool
    reason: str
    value: float | None = None
    threshold: float | None = None


def asha_stopping(asked: Query) -> Reply:
    """Against what the best 1/reduction_factor of those that got to the rung before it reach (Li et al. 2018)."""
    level, factor = asked.level or 0, asked.rule.reduction_factor
    own, *others = asked.scores_at(level)
    value = asked.shown(own)
    place = f"rung {level}: {asked.measure} {value:.6g}"
    if not others:
        return Reply(False, f"{place}, nobody got here before", value)
    limit = quantile(sorted(others), 1 / factor)
    threshold = asked.shown(limit)
    crowd = f"the best 1/{factor} of the {len(others)} here before" if len(others) > 1 else "the one here before"
    verb = "is worse than" if own > limit else "is not worse than"
    reach = "reach" if len(others) > 1 else "has"
    return Reply(own > limit, f"{place} {verb} {threshold:.6g}, which {crowd} {reach}", value, threshold)


def percentile(asked: Query) -> Reply:
    """Its best value so far against the completed trials' at the same step."""
    rule = asked.rule
    if len(asked.rivals) < max(1, rule.warmup_trials):
        return Reply(False, f"step {asked.step}: fewer than {rule.warmup_trials} completed trials got here")
    newest, *others = asked.scores_at(asked.step)
    # how a layer of domination was passed earlier says nothing about the layers of now
    own = newest if rule.compare_by == "domination" else min(asked.own_scores)
    limit = quantile(sorted(others), rule.percentile / 100)
    value, threshold = asked.shown(own), asked.shown(limit)
    crowd = f"{len(others)} completed trials"
    what = f"the median of {crowd}" if rule.percentile == 50 else f"what the best {rule.percentile:g} % of {crowd} have"
    verb = "is worse than" if own > limit else "is not worse than"
    place = f"step {asked.step}: the best {asked.measure} so far, {value:.6g}, {verb} {threshold:.6g}"
    return Reply(own > limit, f"{place}, {what}", value, threshold)


def wilcoxon(asked: Query) -> Reply:
    """Step by step against the best completed trial; spared where its mean is as good as that one's."""
    if not asked.rivals:
        return Reply(False, f"step {asked.step}: no trial has completed yet")
    finals = asked.scores([curve.points[-1][1] for curve in asked.rivals])
    best = asked.rivals[finals.index(min(finals))]
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
    """The first objective against fixed limits; what is no finite number lies nowhere."""
    name, place = asked.rule.objectives[0].metric, f"step {asked.step}"
    if asked.broken:
        return Reply(True, f"{place}: {asked.broken}, which is no number between lower and upper")
    value = asked.points[-1][1][0]
    for limit, is_crossed, side in (
        (asked.rule.lower, asked.rule.lower is not None and value < asked.rule.lower, "below lower"),
        (asked.rule.upper, asked.rule.upper is not None and value > asked.rule.upper, "above upper"),
    ):
        if is_crossed:
            return Reply(True, f"{place}: {name} {value:.6g} is {side}, {limit:g}", value, limit)
    return Reply(False, f"{place}: {name} {value:.6g} is within the limits", value)


def patient(asked: Query) -> Reply:
    """Its own last reports against the best one before them."""
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
    """The value below which `share` of the ordered ones lie, between two of them in proportion."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
