"""load_function(): finds the trial function of a simulated study, and reports one that is missing."""

from __future__ import annotations

import pytest

from hposlurm.errors import RequestError
from hposlurm.simulation import Cluster, load_function, simulate
from tests.simulation.studies import study, train


def test_a_function_of_a_module_is_the_trial():
    by_name = simulate(study(6), load_function("tests.simulation.studies:train"), Cluster(gpus=2), mode="refill")
    assert by_name.history == simulate(study(6), train, Cluster(gpus=2), mode="refill").history


def test_a_file_need_not_be_a_module(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def f(params, from_step, to_step):\n    return [(1, {'loss': params['x']}, 2.0)]\n")
    found = simulate(study(3), load_function(f"{path}:f"), Cluster(gpus=1), mode="refill")
    assert [t.values for t in found.history.trials] == [(t.params["x"],) for t in found.history.trials]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("train", "MODULE:FUNCTION or FILE.py:FUNCTION"),
        ("no_such_module_here:f", "no module 'no_such_module_here'"),
        ("nowhere.py:f", r"no file /.*/nowhere\.py$"),
        ("tests.simulation.studies:tain", "has no 'tain'; functions there: parse, study, train"),
        ("tests.simulation.studies:STEPS", "cannot be called"),
    ],
)
def test_a_missing_function_is_named(place, said):
    with pytest.raises(RequestError, match=said):
        load_function(place)


def test_a_module_that_fails_is_reported_with_its_error(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("raise ValueError('no data')\n")
    with pytest.raises(RequestError, match=r"broken\.py failed: ValueError: no data"):
        load_function(f"{path}:f")
