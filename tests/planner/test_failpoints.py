"""A planner killed between any two of its effects, and two planners at once: real processes, real SlurmBackend."""

from __future__ import annotations

import re
import signal

import pytest

from hposlurm.backend.slurm import SlurmBackend
from hposlurm.planner import advance, cancel, create
from hposlurm.planner.study import lift_stop
from hposlurm.records import fail_points
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from tests.conftest import REPOSITORY
from tests.fake_slurm import FakeSlurm
from tests.planner import processes
from tests.planner.fake import spec

WAVES = 2
STUDY = {
    "search": {"algorithm": "random", "seed": 7},
    "budget": {"n_trials": 4},
    "waves": {"size": 2, "mode": "barrier"},
}


def check_once(layout: StudyLayout, slurm: FakeSlurm, waves: int) -> None:
    """Asserts that one array per wave was ever released, none remains on hold, and every trial was run once."""
    for wave in range(waves):
        arrays = [job for job in slurm.arrays() if f"-w{wave:04d}-" in job["name"]]
        assert [job["released"] for job in arrays if job["released"]] == [1], arrays
        assert all(set(job["states"]) == {"CANCELLED"} for job in arrays if job["held"]), arrays
    assert all(len(trial.attempts) == 1 for trial in read_history(layout).trials)


def test_every_fail_point_is_named_in_the_list_and_in_the_source_once():
    called = []
    for path in sorted((REPOSITORY / "hposlurm").rglob("*.py")):
        called += re.findall(r'\bfail_point\("([^"]+)"\)', path.read_text())
    points = fail_points
    places = (points.CREATE, points.ADVANCE, points.CHAIN, points.REFILL, points.CLOSE, points.CANCEL)
    assert set(called) == {name for names in places for name in names}


@pytest.mark.parametrize(
    ("mode", "wave"), [("barrier", 0), ("barrier", 1), ("overlap", 0)]
)  # overlap submits both at once
@pytest.mark.parametrize("name", fail_points.ADVANCE)
def test_a_planner_killed_anywhere_leaves_one_array_per_wave_and_each_trial_once(layout, fake_slurm, name, wave, mode):
    study = spec(**{**STUDY, "waves": {"size": 2, "mode": mode}})
    create(layout, study)
    died = False
    for _ in range(2 * WAVES + 4):
        is_armed = not died and len(fake_slurm.arrays()) >= wave
        status = processes.step(layout, study, name if is_armed else "")
        assert status in (0, -signal.SIGKILL)
        died = died or status != 0
        if status == 0 and not fake_slurm.run_released(layout) and read_history(layout).finished:
            break
    history = read_history(layout)
    assert died and history.finished == "4 of 4 trials are done"
    check_once(layout, fake_slurm, WAVES)
    assert len({job["comment"] for job in fake_slurm.planners()}) == len(fake_slurm.planners()) == WAVES
    assert layout.database.exists() and layout.results.exists()


def test_of_two_planners_at_once_one_acquires_the_wave_and_the_other_does_nothing(layout, fake_slurm):
    rounds = 50
    study = spec(
        search={"algorithm": "random", "seed": 7},
        budget={"n_trials": rounds},
        waves={"size": 1, "mode": "barrier"},
        publish=["csv"],
    )
    create(layout, study)
    for _ in range(rounds):
        both = [processes.begin(lambda: advance(layout, study, SlurmBackend())) for _ in range(2)]
        assert [processes.end(pid) for pid in both] == [0, 0]
        assert fake_slurm.run_released(layout) == 1
    check_once(layout, fake_slurm, rounds)
    assert len(fake_slurm.arrays()) == len(fake_slurm.planners()) == rounds


def test_two_planners_at_once_submit_each_of_the_waves_in_flight_once(layout, fake_slurm):
    waves = 20
    study = spec(
        search={"algorithm": "random", "seed": 7},
        budget={"n_trials": 2 * waves},
        waves={"size": 2, "mode": "overlap"},
        publish=["csv"],
    )
    create(layout, study)
    for _ in range(waves):
        both = [processes.begin(lambda: advance(layout, study, SlurmBackend())) for _ in range(2)]
        assert [processes.end(pid) for pid in both] == [0, 0]
        if not fake_slurm.run_released(layout):
            break
    assert read_history(layout).finished == f"{2 * waves} of {2 * waves} trials are done"
    check_once(layout, fake_slurm, waves)
    assert any(plan.in_flight for plan in read_history(layout).plans)


@pytest.mark.parametrize("name", fail_points.CANCEL)
def test_a_cancel_killed_anywhere_is_finished_by_the_next_one(layout, fake_slurm, name):
    study = spec(**STUDY)
    create(layout, study)
    assert processes.step(layout, study) == 0

    def stop_and_go_on():
        cancel(layout, SlurmBackend())
        lift_stop(layout)

    assert processes.end(processes.begin(stop_and_go_on, name)) == -signal.SIGKILL
    assert layout.stop.exists()
    cancel(layout, SlurmBackend())
    assert {state for job in fake_slurm.jobs() for state in job["states"]} == {"CANCELLED"}
    assert processes.step(layout, study) == 0
    assert len(fake_slurm.jobs()) == 2
    lift_stop(layout)
    for _ in range(WAVES + 2):
        assert processes.step(layout, study) == 0
        fake_slurm.run_released(layout)
    trials = read_history(layout).trials
    assert [trial.state.value for trial in trials] == ["COMPLETE"] * 4
