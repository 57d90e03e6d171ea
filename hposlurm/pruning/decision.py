"""One decision about one trial: how it is made, what is recorded of it, and how it is made again from the records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hposlurm.pruning.curve import Curve
from hposlurm.pruning.rule import StopRule
from hposlurm.pruning.rules import RULES, Query, patient, reports

#: The kind of a journal record that holds one.
DECISION = "ruling"


@dataclass(frozen=True, slots=True)
class PruningDecision:
    """One decision about one trial.

    It was made when the trial had reported `step`, at the rung `level` (None for a rule without rungs). `value` is what
    the trial was judged by and `threshold` what it had to reach, None where it was compared with nobody; both are
    values of the first objective as reported, a weighted score, or with domination the number of a layer. `rivals` are
    the trials that it was compared with.
    """

    rule: str
    step: int
    stops: bool
    reason: str
    level: int | None = None
    value: float | None = None
    threshold: float | None = None
    rivals: tuple[int, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """The decision as its journal keeps it."""
        return {
            "rule": self.rule,
            "step": self.step,
            "level": self.level,
            "value": self.value,
            "threshold": self.threshold,
            "rivals": to_ranges(self.rivals),
            "stops": self.stops,
            "reason": self.reason,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> PruningDecision:
        """The decision in a journal's record of kind "ruling"; raises ValueError if it is damaged."""
        try:
            return cls(
                rule=str(record["rule"]),
                step=int(record["step"]),
                stops=record["stops"] is True,
                reason=str(record["reason"]),
                level=None if record["level"] is None else int(record["level"]),
                value=None if record["value"] is None else float(record["value"]),
                threshold=None if record["threshold"] is None else float(record["threshold"]),
                rivals=from_ranges(record["rivals"]),
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"no decision: {record!r:.200}") from error


def decide(
    rule: StopRule, own: Curve, rivals: Mapping[int, Curve], step: int, level: int | None = None
) -> PruningDecision:
    """The decision behind the report of `step`, at the rung `level` if the rule has rungs.

    `rivals` are those that the trial is compared with, see `rivals_of`. What any curve knows beyond what it knew when
    they were chosen changes nothing.
    """
    chosen = tuple(sorted(rivals))
    asked = Query(rule, step, level, own.until(step), own.broken.get(step, ""), [rivals[n] for n in chosen])
    reply = RULES[rule.name](asked)
    stops, reason = reply.stops, reply.reason
    if stops and rule.patience is not None and rule.name != "patient" and asked.points and not patient(asked).stops:
        stops, reason = False, f"{reason}; it is spared while it improves within {reports(rule.patience)}"
    return PruningDecision(rule.name, step, stops, reason, level, reply.value, reply.threshold, chosen)


def rivals_of(
    rule: StopRule, trial: int, curves: Mapping[int, Curve], step: int, level: int | None = None
) -> dict[int, Curve]:
    """Those of `curves` that the rule compares `trial` with: who got to the rung, or who completed."""
    if rule.name in ("threshold", "patient"):
        return {}
    others = ((number, curve) for number, curve in curves.items() if number != trial)
    if level is not None:
        return {number: curve for number, curve in others if curve.last_step >= level}
    least = step if rule.name != "wilcoxon" else -math.inf
    return {number: c for number, c in others if c.is_complete and c.points and c.last_step >= least}


def recomputed(rule: StopRule, decision: PruningDecision, own: Curve, rivals: Mapping[int, Curve]) -> PruningDecision:
    """The decision anew, from what is recorded of the trial and of those that it was compared with.

    Raises KeyError where one of these is missing in `rivals`.
    """
    return decide(rule, own, {number: rivals[number] for number in decision.rivals}, decision.step, decision.level)


def to_ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers as "0-4,7": a rung's trials mostly follow each other."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def from_ranges(text: str) -> tuple[int, ...]:
    """The numbers in what `to_ranges` wrote; raises ValueError if that is something else."""
    found: list[int] = []
    for run in text.split(",") if text else ():
        first, _, last = run.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)
