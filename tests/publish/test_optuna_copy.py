"""Copies of studies in memory: the same numbers and values, brought up to date, and never written back."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from hposlurm.publish import Published
from hposlurm.publish.optuna_copy import CopiedStudies
from hposlurm.records.layout import StudyLayout
from hposlurm.report.records import read_records
from tests.publish.results import PARAMS, begun, grown
from tests.studies import add_wave, completed, failed, make_study, write_journal


def bring(storage: CopiedStudies, layout: StudyLayout) -> bool:
    records = read_records(layout)
    return storage.bring(Published(layout, records.spec, records.history))


def study_of(storage: CopiedStudies, name: str = "demo") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=storage)


def states(storage: CopiedStudies) -> list[str]:
    return [trial.state.name for trial in study_of(storage).trials]


def test_a_trial_has_its_own_number_and_all_that_is_known_of_it(tmp_path: Path) -> None:
    storage = CopiedStudies()
    assert bring(storage, begun(tmp_path))
    trials = study_of(storage).trials
    assert [trial.number for trial in trials] == [trial.user_attrs["hposlurm.trial"] for trial in trials]
    assert [trial.params for trial in trials] == PARAMS
    assert states(storage) == ["COMPLETE", "COMPLETE", "RUNNING", "WAITING", "WAITING"]
    assert (trials[0].value, trials[2].intermediate_values) == (1.5, {2: 3.0})
    assert study_of(storage).metric_names == ["eval_loss"]


def test_what_is_new_is_brought_and_nothing_twice(tmp_path: Path) -> None:
    storage, layout = CopiedStudies(), begun(tmp_path)
    bring(storage, layout)
    assert not bring(storage, layout)
    grown(layout)
    assert bring(storage, layout)
    assert states(storage) == ["COMPLETE"] * 5
    assert study_of(storage).best_trial.number == 4
    assert not bring(storage, layout)


def test_times_are_those_of_the_trial(tmp_path: Path) -> None:
    storage, layout = CopiedStudies(), begun(tmp_path)
    bring(storage, layout)
    grown(layout)
    bring(storage, layout)
    trial = study_of(storage).trials[2]
    assert trial.datetime_complete is not None and trial.datetime_start is not None
    assert (trial.datetime_complete - trial.datetime_start).total_seconds() == 40 - 2
    assert trial.datetime_start.timestamp() == 1_700_000_002


def test_a_failed_trial_that_runs_again_is_the_same_trial(tmp_path: Path) -> None:
    storage, layout = CopiedStudies(), make_study(tmp_path)
    add_wave(layout, range(2), retries=0)
    write_journal(layout, 0, failed(0))
    bring(storage, layout)
    assert states(storage) == ["FAIL", "WAITING"]
    add_wave(layout, [0], retries=1)
    write_journal(layout, 0, completed(0, 1.0, 1, 1), 1)
    bring(storage, layout)
    assert states(storage) == ["COMPLETE", "WAITING"]


def test_trials_that_paused_are_pruned_once_the_study_is_over(tmp_path: Path) -> None:
    from tests.report.played import RUNGS, played

    layout = StudyLayout(played(tmp_path, {"algorithm": "asha", **RUNGS}, 20)[0])
    storage = CopiedStudies()
    bring(storage, layout)
    (found,) = storage.get_all_studies()
    over = {trial.state.name for trial in storage.get_all_trials(found._study_id)}
    assert "PRUNED" in over and "RUNNING" not in over


def test_notes_names_and_ends_that_somebody_writes_stay_in_the_copy(tmp_path: Path) -> None:
    storage, layout = CopiedStudies(), begun(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in layout.root.rglob("*")}
    bring(storage, layout)
    study = study_of(storage)
    study.set_user_attr("note", "mine")
    study.tell(2, 9.0)
    again = optuna.create_study(study_name="renamed", storage=storage)  # as optuna-dashboard renames
    again.add_trials(study.get_trials(deepcopy=False))
    for key, value in study.user_attrs.items():
        again.set_user_attr(key, value)
    storage.delete_study(study._study_id)
    assert {path: path.stat().st_mtime_ns for path in layout.root.rglob("*")} == before
    grown(layout)
    bring(storage, layout)
    assert [found.study_name for found in storage.get_all_studies()] == ["renamed"]
    renamed = study_of(storage, "renamed")
    assert [trial.state for trial in renamed.trials] == [TrialState.COMPLETE] * 5
    assert (renamed.user_attrs["note"], renamed.trials[2].value) == ("mine", 0.75)


def test_a_study_that_is_deleted_there_stays_deleted_there(tmp_path: Path) -> None:
    storage, layout = CopiedStudies(), begun(tmp_path)
    bring(storage, layout)
    storage.delete_study(study_of(storage)._study_id)
    grown(layout)
    assert not bring(storage, layout)
    assert storage.get_all_studies() == [] and layout.spec().is_file()


def test_studies_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    storage = CopiedStudies()
    first, second = begun(tmp_path / "a"), make_study(tmp_path / "b")
    add_wave(second, range(1), created_at=1.0)
    bring(storage, first)
    bring(storage, second)
    assert [found.study_name for found in storage.get_all_studies()] == ["demo", str(second.root)]


@pytest.mark.parametrize("waves", [0, 1])
def test_a_study_is_there_from_its_first_plan_on(tmp_path: Path, waves: int) -> None:
    storage, layout = CopiedStudies(), make_study(tmp_path)
    if waves:
        add_wave(layout, range(1))
    assert bring(storage, layout) == bool(waves)
    assert len(storage.get_all_studies()) == waves
