"""What will happen is said before it happens: random beginnings, and stopping that cannot pay."""

from __future__ import annotations

from typing import Any

import pytest

from hposlurm.decisions.forecast import Startup, forecast_notes, startup
from hposlurm.spec import StudySpec, dump, parse
from hposlurm.spec.document import parse_text
from hposlurm.spec.search import default_startup


def study(search: dict[str, Any], n_trials: int | None = 12, **keys: Any) -> StudySpec:
    data = {
        "name": "some",
        "backend": "local",
        "objectives": [{"name": "loss"}],
        "parameters": {"x": {"type": "float", "min": 0.0, "max": 1.0}},
        "search": search,
        "budget": {"n_trials": n_trials} if n_trials else {"wall_time": "1:00:00"},
        "trial": {"command": "train {{ x }}"},
        **keys,
    }
    return parse(data, "some")


@pytest.mark.parametrize(
    ("n_trials", "count"), [(1, 3), (8, 3), (12, 3), (20, 5), (39, 9), (40, 10), (1000, 10), (None, 10)]
)
def test_a_quarter_of_the_trials_is_random_by_default(n_trials: int | None, count: int) -> None:
    assert default_startup(n_trials) == count
    assert study({"algorithm": "tpe"}, n_trials).search.startup_trials == count


def test_a_number_in_the_file_and_that_of_a_frozen_study_stay() -> None:
    assert study({"algorithm": "tpe", "startup_trials": 10}).search.startup_trials == 10
    frozen, _ = parse_text(dump(study({"algorithm": "tpe"})))
    assert parse({**frozen, "budget": {"n_trials": 400}}, "x", frozen=True).search.startup_trials == 3


@pytest.mark.parametrize(
    ("search", "waves", "expected"),
    [
        ({"algorithm": "random"}, {}, Startup()),
        ({"algorithm": "tpe"}, {"size": 4, "max_concurrent": 4, "mode": "barrier"}, Startup(4, 12)),
        ({"algorithm": "tpe"}, {"max_concurrent": 4, "mode": "refill"}, Startup(6, 12)),
        (
            {"algorithm": "tpe", "startup_trials": 10},
            {"size": 4, "max_concurrent": 4, "mode": "barrier"},
            Startup(12, 12),
        ),
        ({"algorithm": "tpe"}, {"max_concurrent": 64, "mode": "refill"}, Startup(12, 12)),
    ],
)
def test_what_starts_before_a_model_proposes_is_random(
    search: dict[str, Any], waves: dict[str, Any], expected: Startup
) -> None:
    spec = study(search, waves=waves)
    assert startup(spec, waves.get("max_concurrent", 4)) == expected
    is_noted = any("is random search here" in note for note in forecast_notes(spec, waves.get("max_concurrent", 4)))
    assert is_noted is expected.is_all


def test_enough_trials_of_other_studies_leave_nothing_to_chance() -> None:
    assert startup(study({"algorithm": "tpe"}), 4, known=3) == Startup()
    assert startup(study({"algorithm": "tpe"}), 4, known=2) != Startup()


@pytest.mark.parametrize(("n_trials", "is_noted"), [(8, True), (12, True), (40, False)])
def test_stopping_that_saves_little_is_noted_with_the_number_from_which_it_pays(n_trials: int, is_noted: bool) -> None:
    notes = forecast_notes(study({"algorithm": "auto", "max_resource": 9}, n_trials), 1)
    found = [note for note in notes if "can save at most" in note]
    assert bool(found) is is_noted
    assert all("it can save a third from about 14 trials on" in note for note in found)


@pytest.mark.parametrize(("n_trials", "is_noted"), [(3, True), (40, False)])
def test_stopping_at_rungs_is_noted_where_it_saves_little(n_trials: int, is_noted: bool) -> None:
    notes = forecast_notes(study({"algorithm": "asha_stopping", "max_resource": 9}, n_trials), 1)
    found = [note for note in notes if "asha_stopping can save about" in note]
    assert bool(found) is is_noted
    assert all("it can save a third from about 4 trials on" in note for note in found)
