"""Reads the decisions of stopping rules at reports from the journals, and recomputes each of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hposlurm.pruning import DECISION, Curve, PruningDecision, StopRule, recomputed
from hposlurm.records import journal

if TYPE_CHECKING:
    from hposlurm.records.layout import StudyLayout
    from hposlurm.records.plan import WavePlan
    from hposlurm.trial import Trial


@dataclass(frozen=True, slots=True)
class PruningStory:
    """One decision of a stopping rule."""

    decision: PruningDecision
    #: True if the decision recomputed from the journals is the same; None if a journal is missing
    agrees: bool | None


def decisions(layout: StudyLayout, plans: Sequence[WavePlan], trial: Trial) -> tuple[PruningStory, ...]:
    """Returns all decisions about a trial, in the order in which they were made."""
    found = []
    curves: dict[tuple[int, StopRule], Curve] = {}
    for attempt in trial.attempts:
        rule = plans[attempt.wave].stop if 0 <= attempt.wave < len(plans) else None
        for record in _records(layout, trial.number, attempt.number) if rule is not None else ():
            if rule is None or record.get("kind") != DECISION:
                continue
            with contextlib.suppress(ValueError):
                decision = PruningDecision.from_record(record)
                for number in (trial.number, *decision.others):
                    if (number, rule) not in curves:
                        curves[number, rule] = _curve(layout, number, rule)
                others = {number: curves[number, rule] for number in decision.others}
                is_known = all(curve.points or curve.broken for curve in others.values())
                own = curves[trial.number, rule]
                found.append(PruningStory(decision, _agrees(rule, decision, own, others) if is_known else None))
    return tuple(found)


def _agrees(rule: StopRule, decision: PruningDecision, own: Curve, others: Mapping[int, Curve]) -> bool:
    """True if the recomputed decision is the recorded one; another version may have worded the reason differently."""
    return replace(recomputed(rule, decision, own, others), reason=decision.reason) == decision


def _curve(layout: StudyLayout, number: int, rule: StopRule) -> Curve:
    curve = Curve(rule.objectives, rule.kept_at)
    for attempt in layout.trial(number).attempts():
        for record in _records(layout, number, attempt):
            curve.take(record)
    return curve


def _records(layout: StudyLayout, number: int, attempt: int) -> Iterator[Mapping[str, Any]]:
    with contextlib.suppress(OSError):
        for block in journal.blocks(layout.trial(number).journal(attempt)):
            yield from journal.records_in(block)
