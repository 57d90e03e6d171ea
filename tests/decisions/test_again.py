"""Decisions that are made again from the records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hposlurm.records.assignment import Settlement
from hposlurm.records.files import to_json
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan
from hposlurm.report.explain import explain_trial
from tests.report.played import RUNGS, played, replay


def test_a_decision_whose_reason_another_version_worded_differently_is_the_same(tmp_path: Path) -> None:
    directory, found = played(tmp_path, {"algorithm": "bohb", **RUNGS}, 25)
    for plan in found.history.plans:
        StudyLayout(directory).wave(plan.wave).plan.write_bytes(to_json(_reworded(plan).to_json()))
    records = replay(directory)
    trials = [explain_trial(records, trial.number) for trial in records.history.trials]
    assert {stage.agrees for trial in trials for stage in trial.stages} == {True}
    assert {stage.why for trial in trials for stage in trial.stages[1:]} == {"older words"}
    assert {trial.verdict_agrees for trial in trials if trial.verdict} == {True}
    assert {trial.verdict for trial in trials if trial.verdict} == {"older words"}


def _reworded(plan: WavePlan) -> WavePlan:
    """Returns the plan as a version with other sentences would have written it."""
    assignments = tuple(replace(a, why="older words") if a.why else a for a in plan.assignments)
    return replace(plan, assignments=assignments, settled=tuple(map(_other_reason, plan.settled)))


def _other_reason(settlement: Settlement) -> Settlement:
    cause = settlement.cause
    if cause is None or not cause.detail:
        return settlement
    return replace(settlement, reason="older words", cause=replace(cause, detail="older words"))
