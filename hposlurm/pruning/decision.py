"""One decision about one trial: makes it, converts it to and from its record, and recomputes it from the records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hposlurm.pruning.curve import Curve
from hposlurm.pruning.rule import StopRule
from hposlurm.pruning.rules import RULES, Query, patient, reports

#: The kind of the journal records that hold decisions.
DECISION = "ruling"


@dataclass(frozen=True, slots=True)
class PruningDecision:
    """One decision about one trial.

    `value` and `threshold` are values of the first objective as reported, weighted scores, or with domination the
    numbers of layers.
    """

    #: The name of the rule, one of RULES.
    rule: str
    #: The step of the report after which the decision was made.
    step: int
    #: True if the trial ends here.
    stops: bool
    #: The explanation that a person reads.
    reason: str
    #: The rung; None for a rule without rungs.
    level: int | None = None
    #: The trial's own number that was compared; None if there was no comparison.
    value: float | None = None
    #: The number that the trial had to reach; None if there was no comparison.
    threshold: float | None = None
    #: The trials that it was compared with, ascending.
    others: tuple[int, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """Returns the fields of the decision's journal record."""
        return {
            "rule": self.rule,
            "step": self.step,
            "level": self.level,
            "value": self.value,
            "threshold": self.threshold,
            "rivals": to_ranges(self.others),
            "stops": self.stops,
            "reason": self.reason,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> PruningDecision:
        """Returns the decision in a journal record of kind "ruling". Raises ValueError if the record is damaged."""
        try:
            return cls(
                rule=str(record["rule"]),
                step=int(record["step"]),
                stops=record["stops"] is True,
                reason=str(record["reason"]),
                level=None if record["level"] is None else int(record["level"]),
                value=None if record["value"] is None else float(record["value"]),
                threshold=None if record["threshold"] is None else float(record["threshold"]),
                others=from_ranges(record["rivals"]),
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not a decision: {record!r:.200}") from error


def decide(
    rule: StopRule, own: Curve, others: Mapping[int, Curve], step: int, level: int | None = None
) -> PruningDecision:
    """Returns the decision after the report of `step`, at the rung `level` if the rule has rungs.

    `others` are the trials to compare with, see `compared_with`. Points that a curve gained after these trials were
    chosen do not change the decision.
    """
    chosen = tuple(sorted(others))
    asked = Query(rule, step, level, own.until(step), own.broken.get(step, ""), [others[n] for n in chosen])
    reply = RULES[rule.name](asked)
    stops, reason = reply.stops, reply.reason
    if stops and rule.patience is not None and rule.name != "patient" and asked.points and not patient(asked).stops:
        stops, reason = False, f"{reason}; it goes on while it improves within {reports(rule.patience)}"
    return PruningDecision(rule.name, step, stops, reason, level, reply.value, reply.threshold, chosen)


def compared_with(
    rule: StopRule, trial: int, curves: Mapping[int, Curve], step: int, level: int | None = None
) -> dict[int, Curve]:
    """Returns the curves that the rule compares `trial` with: those that reached the rung, or completed trials."""
    if rule.name in ("threshold", "patient"):
        return {}
    others = ((number, curve) for number, curve in curves.items() if number != trial)
    if level is not None:
        return {number: curve for number, curve in others if curve.last_step >= level}
    least = step if rule.name != "wilcoxon" else -math.inf
    return {number: c for number, c in others if c.is_complete and c.points and c.last_step >= least}


def recomputed(rule: StopRule, decision: PruningDecision, own: Curve, others: Mapping[int, Curve]) -> PruningDecision:
    """Returns the decision recomputed from the recorded curves of the trial and of those it was compared with.

    Raises KeyError if one of these is missing in `others`.
    """
    return decide(rule, own, {number: others[number] for number in decision.others}, decision.step, decision.level)


def to_ranges(numbers: Iterable[int]) -> str:
    """Returns ascending numbers as "0-4,7": the trials of a rung are mostly consecutive."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def from_ranges(text: str) -> tuple[int, ...]:
    """Returns the numbers in a text of `to_ranges`. Raises ValueError for any other text."""
    found: list[int] = []
    for run in text.split(",") if text else ():
        first, _, last = run.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)
