"""write_study(): the directory of a simulated study is like any other, and is marked as simulated."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hposlurm.decisions import WarmStart
from hposlurm.errors import RequestError, StudyError
from hposlurm.planner import advance
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.report.simulated import read_figures
from hposlurm.simulation import cluster_of, simulate, write_study
from tests.planner.fake import FakeCluster
from tests.simulation.studies import study, train

NOTHING = WarmStart()
FAULTY = {"function": "f:train", "gpus": 4, "queue": 5, "start": 1, "planner": 2, "crashes": 60, "node_failures": 90}


def simulated(root, mode="barrier", simulation=FAULTY, **sections):
    spec = study(14, backend="simulated", simulation=simulation, trial={"retries": 2}, **sections)
    cluster = cluster_of(spec.simulation)
    return simulate(spec, train, cluster, mode=mode, layout=StudyLayout(root))


@pytest.mark.parametrize("mode", ["barrier", "overlap", "refill"])
@pytest.mark.parametrize("algorithm", ["tpe", "asha"])
def test_the_directory_reads_back_as_the_simulated_study(tmp_path, mode, algorithm):
    bounds = {} if algorithm == "tpe" else {"min_resource": 1, "max_resource": 9}
    found = simulated(tmp_path / "virtual", mode, search={"algorithm": algorithm, **bounds}, waves={"size": 4})
    write_study(found, NOTHING)
    for uses_database in (True, False):
        read = read_history(found.layout, use_database=uses_database)
        assert read.plans == found.history.plans
        assert [replace(t, attempts=()) for t in read.trials] == [replace(t, attempts=()) for t in found.history.trials]
        for trial, other in zip(read.trials, found.history.trials, strict=True):
            assert [replace(a, offset=0) for a in trial.attempts] == list(other.attempts)
    assert {path.name for path in tmp_path.iterdir()} == {"virtual"}


def test_the_same_study_is_the_same_to_the_byte(tmp_path):
    for place in "ab":
        (tmp_path / place).mkdir()
        write_study(simulated(tmp_path / "virtual"), NOTHING)
        (tmp_path / "virtual").rename(tmp_path / place / "virtual")
    one, other = (
        {path.relative_to(tmp_path / place): path.read_bytes() for path in (tmp_path / place).rglob("*.json*")}
        for place in "ab"
    )
    assert one == other and len(one) > 20


def test_the_figures_are_those_of_the_simulation(tmp_path):
    found = simulated(tmp_path / "virtual", simulation={"function": "f:train", "gpus": 4})
    figures = write_study(found, NOTHING)
    assert read_figures(found.layout) == figures
    assert figures.wall_s == found.wall_s
    assert figures.gpu_hours == pytest.approx(found.trained_s / 3600)
    assert figures.training_share == pytest.approx(found.trained_s / (4 * found.wall_s))
    found.layout.simulated.write_text(json.dumps({"gpus": 4}))
    with pytest.raises(StudyError, match=r"simulated\.json is damaged"):
        read_figures(found.layout)


def test_an_existing_directory_is_never_replaced(tmp_path):
    root = tmp_path / "virtual"
    found = simulated(root)
    root.mkdir()
    with pytest.raises(RequestError, match="exists already"):
        write_study(found, NOTHING)
    assert list(tmp_path.iterdir()) == [root] and not list(root.iterdir())


def test_the_planner_never_continues_it(tmp_path):
    from hposlurm.backend import choose

    found = simulated(tmp_path / "virtual")
    write_study(found, NOTHING)
    spec = found.spec.model_copy(update={"budget": found.spec.budget.model_copy(update={"n_trials": 20})})
    cluster = FakeCluster()
    assert advance(found.layout, spec, cluster).kind == "finished"
    assert not cluster.arrays
    with pytest.raises(RequestError, match="a simulated study has no jobs"):
        choose("simulated")
