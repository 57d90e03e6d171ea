"""What an Optuna storage holds afterwards, as Optuna's own reader sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from hposlurm.records.layout import StudyLayout
from tests.publish.results import PARAMS, begun, grown, publish, reported

STORAGES = ["sqlite:///copy.db", "journal:copy.log"]


@pytest.fixture(params=STORAGES)
def url(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def setting(url: str, **options: str) -> str:
    more = "".join(f", {name}: {value}" for name, value in options.items())
    return f"[{{optuna: {{storage: '{url}'{more}}}}}]"


def theirs(layout: StudyLayout, url: str, name: str = "demo") -> optuna.Study:
    if url.startswith("journal:"):
        path = str(layout.root / "copy.log")
        storage: Any = JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
    else:
        storage = RDBStorage(f"sqlite:///{layout.root / 'copy.db'}" if url.startswith("sqlite") else url)
    return optuna.load_study(study_name=name, storage=storage)


def by_number(study: optuna.Study) -> dict[int, list[FrozenTrial]]:
    found: dict[int, list[FrozenTrial]] = {}
    for trial in study.trials:
        found.setdefault(trial.user_attrs["hposlurm.trial"], []).append(trial)
    return found


def test_every_value_that_went_in_comes_back(tmp_path: Path, url: str) -> None:
    layout = begun(tmp_path)
    assert publish(layout, setting(url)) == ()
    found = by_number(theirs(layout, url))
    assert {number: [t.state for t in trials] for number, trials in found.items()} == {
        0: [TrialState.COMPLETE],
        1: [TrialState.COMPLETE],
        2: [TrialState.RUNNING],
    }
    assert found[0][0].params == PARAMS[0]
    assert (found[0][0].value, found[0][0].intermediate_values) == (1.5, dict(reported(layout)[0]))
    assert found[1][0].intermediate_values == {1: 2.0, 2: 1.0}
    assert found[2][0].intermediate_values == {2: 3.0}
    assert theirs(layout, url).metric_names == ["eval_loss"]


def test_twice_is_as_once_and_what_is_new_is_added(tmp_path: Path, url: str) -> None:
    layout = begun(tmp_path)
    publish(layout, setting(url))
    publish(layout, setting(url))
    (layout.publication("optuna")).unlink()  # everything is sent again
    publish(layout, setting(url))
    assert len(theirs(layout, url).trials) == 3
    grown(layout)
    assert publish(layout, setting(url)) == ()
    layout.publication("optuna").unlink(missing_ok=True)
    assert publish(layout, setting(url)) == ()
    study = theirs(layout, url)
    assert {number: [t.state for t in trials] for number, trials in by_number(study).items()} == {
        number: [TrialState.COMPLETE] for number in range(5)
    }
    assert {n: t[0].intermediate_values for n, t in by_number(study).items()} == {
        number: dict(pairs) for number, pairs in reported(layout).items()
    }
    assert (study.best_trial.user_attrs["hposlurm.trial"], study.best_value) == (4, 0.25)


def test_importance_is_that_of_optuna_on_the_same_data(tmp_path: Path, url: str) -> None:
    layout = begun(tmp_path)
    grown(layout)
    publish(layout, setting(url))
    assert {*optuna.importance.get_param_importances(theirs(layout, url))} == {"bs", "lr"}


def test_another_study_of_that_name_is_not_written_into(tmp_path: Path) -> None:
    layout, other = begun(tmp_path / "a"), begun(tmp_path / "b")
    place = f"sqlite:///{tmp_path / 'shared.db'}"
    assert publish(layout, setting(place)) == ()
    plan = json.loads(other.wave(0).plan.read_bytes())
    other.wave(0).plan.write_text(json.dumps({**plan, "created_at": plan["created_at"] + 1}))
    (failure,) = publish(other, setting(place))
    assert "has another study named 'demo'; give study_name another name" in failure
    assert publish(other, setting(place, study_name="second")) == ()


def test_a_study_of_somebody_else_is_not_written_into(tmp_path: Path) -> None:
    layout = begun(tmp_path)
    theirs_own = optuna.create_study(study_name="demo", storage=f"sqlite:///{tmp_path / 'shared.db'}")
    theirs_own.enqueue_trial({})
    (failure,) = publish(layout, setting(f"sqlite:///{tmp_path / 'shared.db'}"))
    assert "a study named 'demo' that hposlurm did not write" in failure
    assert len(theirs_own.trials) == 1
