"""The decisions of stopping rules at reports, as the journals keep them, and each made again from the journals."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hposlurm import journal
from hposlurm.stopping import RULING, Curve, Ruling, recomputed

if TYPE_CHECKING:
    from hposlurm.layout import StudyLayout
    from hposlurm.plan import WavePlan
    from hposlurm.trial import Objective, Trial


@dataclass(frozen=True, slots=True)
class RulingStory:
    """One decision. `agrees`: made again from the journals it is the same; None where one of these is gone."""

    ruling: Ruling
    agrees: bool | None


def rulings(layout: StudyLayout, plans: Sequence[WavePlan], trial: Trial) -> tuple[RulingStory, ...]:
    """All decisions about a trial, in the order in which they were made."""
    found = []
    curves: dict[tuple[int, tuple[Objective, ...]], Curve] = {}
    for attempt in trial.attempts:
        rule = plans[attempt.wave].stop if 0 <= attempt.wave < len(plans) else None
        for record in _records(layout, trial.number, attempt.number) if rule is not None else ():
            if rule is None or record.get("kind") != RULING:
                continue
            with contextlib.suppress(ValueError):
                ruling = Ruling.from_record(record)
                for number in (trial.number, *ruling.rivals):
                    key = number, rule.objectives
                    if key not in curves:
                        curves[key] = _curve(layout, number, rule.objectives)
                rivals = {number: curves[number, rule.objectives] for number in ruling.rivals}
                is_known = all(curve.points or curve.broken for curve in rivals.values())
                own = curves[trial.number, rule.objectives]
                found.append(RulingStory(ruling, recomputed(rule, ruling, own, rivals) == ruling if is_known else None))
    return tuple(found)


def _curve(layout: StudyLayout, number: int, objectives: tuple[Objective, ...]) -> Curve:
    curve = Curve(objectives)
    for attempt in layout.trial(number).attempts():
        for record in _records(layout, number, attempt):
            curve.take(record)
    return curve


def _records(layout: StudyLayout, number: int, attempt: int) -> tuple[Mapping[str, Any], ...]:
    try:
        return journal.read(layout.trial(number).journal(attempt)).records
    except OSError:
        return ()
