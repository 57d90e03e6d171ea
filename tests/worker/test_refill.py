"""What an element of a refill wave runs: it takes what is next, once, and has more proposed where little is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hposlurm.errors import StudyError
from hposlurm.records import fail_points, refill_pool
from hposlurm.records.history import read_history
from hposlurm.records.plan import bound, read_plan
from hposlurm.refill.batches import add_batch
from hposlurm.worker import refill
from hposlurm.worker.run import run
from tests.planner import processes
from tests.refill.studies import Lab
from tests.studies import end, start, write_journal
from tests.worker.study import Study, until

TRIAL = {"command": "echo loss={{ x }}", "metric_pattern": r"loss=(?P<loss>\S+)"}
RETRIES = {"command": "x {{ x }}", "retries": 2, "workdir": "/"}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, budget={"n_trials": 9}, trial=RETRIES)


def test_elements_take_what_was_planned_in_the_order_in_which_they_start(lab: Lab) -> None:
    assert [lab.start(element) for element in (2, 0, 1)] == [0, 1, 2]
    wave = lab.layout.wave(0)
    assert {index: a.trial for index, a in bound(wave, read_plan(wave)).items()} == {2: 0, 0: 1, 1: 2}


def test_an_element_that_is_started_again_goes_on_with_its_own_trial(lab: Lab) -> None:
    assert [lab.start(element) for element in (0, 1)] == [0, 1]
    lab.end(0, "SIGTERM: preempted")
    assert [lab.start(element) for element in (2, 0, 1)] == [2, 0, 1]


def test_an_element_that_was_killed_before_it_took_anything_takes_what_is_next(lab: Lab) -> None:
    assert refill_pool.enter(lab.layout.wave(0), 3)
    assert [lab.start(element) for element in (0, 3)] == [0, 1]


@pytest.mark.parametrize("end", ["command exited with status 1", "SIGUSR2 (time limit ahead)", 1.0])
def test_an_element_that_left_its_trial_to_others_does_not_take_it_up_again(lab: Lab, end: float | str) -> None:
    assert lab.start(0) == 0
    lab.report(0, 1, 2.0)
    lab.end(0, end)
    assert lab.start(0) is None


def test_nor_where_the_one_it_left_it_to_was_interrupted(lab: Lab) -> None:
    assert lab.start(0) == 0
    lab.end(0, "command exited with status 1")
    write_journal(lab.layout, 0, [start(0, attempt=1, wave=1), end("interrupted", reason="SIGTERM")], 1)
    assert lab.start(0) is None


def test_an_element_whose_process_was_killed_may_have_used_too_much_memory_and_keeps_its_trial(lab: Lab) -> None:
    assert lab.start(0) == 0
    lab.end(0, "command was killed by signal 9", exit_code=-9)
    assert lab.start(0) == 0


def test_where_nothing_is_left_an_element_has_more_proposed_before_it_runs(lab: Lab) -> None:
    assert [lab.start(element) for element in range(5)] == [0, 1, 2, 3, 4]
    assert [batch.position for batch in refill_pool.batches(lab.layout.wave(0), 4)] == [4]


def test_where_proposing_fails_before_it_has_begun_nobody_waits_for_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [lab.start(element) for element in range(4)] == [0, 1, 2, 3]
    monkeypatch.setattr(refill, "_command", lambda *_: ["false"])
    with pytest.raises(StudyError, match="no further trial can be proposed"):
        lab.start(4)
    assert not list(lab.layout.root.rglob("*.lease"))


def test_an_element_that_finds_nothing_to_do_ends_at_once_and_is_no_trial(tmp_path: Path) -> None:
    search = {"algorithm": "asha", "seed": 1, "min_resource": 1, "max_resource": 9}
    lab = Lab(tmp_path, budget={"n_trials": 2}, search=search)
    assert read_plan(lab.layout.wave(0)).elements == 4  # room for promotions
    assert [lab.start(element) for element in (0, 1)] == [0, 1]
    assert run(lab.layout.root, 0, 2) == 0
    assert read_plan(lab.layout.wave(0)).over
    lab.end(0, 1.0)
    lab.end(1, 2.0)
    assert run(lab.layout.root, 0, 3) == 0  # the better one's promotion is for the next wave
    assert [len(trial.attempts) for trial in read_history(lab.layout).trials] == [1, 1]


def test_nothing_is_taken_of_a_study_that_was_cancelled(lab: Lab) -> None:
    lab.layout.stop.touch()
    assert run(lab.layout.root, 0, 0) == 0
    assert refill_pool.taken(lab.layout.wave(0)) == set()


def test_a_trial_that_failed_is_proposed_again_while_others_run(lab: Lab) -> None:
    assert [lab.start(element) for element in range(4)] == [0, 1, 2, 3]
    lab.end(1, "command exited with status 1")
    lab.end(2, "SIGTERM: cancelled, perhaps by a person")
    assert lab.start(4) == 1
    assert lab.start(5) == 4


def begin(lab: Lab, element: int, fail_point: str = "") -> int:
    """A worker as a process of its own; its id."""
    return processes.begin(lambda: os._exit(run(lab.layout.root, 0, element)), fail_point)


def real(tmp_path: Path, trials: int = 12, slots: int = 4) -> Lab:
    return Lab(
        tmp_path,
        budget={"n_trials": trials},
        waves={"mode": "refill", "max_concurrent": slots},
        trial={**TRIAL, "workdir": str(tmp_path)},
        search={"algorithm": "random", "seed": 3},
    )


def test_of_workers_that_start_at_once_each_runs_a_trial_of_its_own(tmp_path: Path) -> None:
    lab = real(tmp_path, trials=8)  # four are proposed: the others have to be while all of them ask
    workers = [begin(lab, element) for element in range(8)]
    assert [processes.end(pid) for pid in workers] == [0] * 8
    trials = read_history(lab.layout).trials
    assert [(t.state.value, len(t.attempts)) for t in trials] == [("COMPLETE", 1)] * 8
    assert sorted(t.attempts[0].index for t in trials) == list(range(8))


@pytest.mark.parametrize("name", fail_points.REFILL)
def test_whoever_is_killed_anywhere_each_trial_runs_once(tmp_path: Path, name: str) -> None:
    lab = real(tmp_path, trials=2, slots=1)
    died = []
    for element in range(2):
        died.append(processes.end(processes.begin(lambda: add_batch(lab.layout, 0, 0.0, is_needed=True), name)))
        died.append(processes.end(begin(lab, element, name)))
        for held in lab.layout.wave(0).root.glob("*.lease"):
            os.utime(held, (0, 0))  # of a dead one: it counts for a while
        assert processes.end(begin(lab, element)) == 0
    assert -signal.SIGKILL in died
    trials = read_history(lab.layout).trials
    assert [(t.state.value, len(t.attempts)) for t in trials] == [("COMPLETE", 1)] * 2


def test_behind_an_element_that_took_one_of_the_last_more_is_proposed_while_it_trains(tmp_path: Path) -> None:
    lab = Lab(
        tmp_path,
        waves={"mode": "refill", "max_concurrent": 1},
        trial={
            **TRIAL,
            "command": f"{TRIAL['command']}; while [ ! -e go ]; do sleep 0.05; done",
            "workdir": str(tmp_path),
        },
    )
    assert lab.assigned() == [0]
    os.utime(lab.layout.wave(0).plan, (0, 0))  # so that what is published has fallen behind
    process = begin(lab, 0)
    until(lambda: lab.layout.wave(0).batches())
    assert lab.assigned() == [0, 1, 2]
    until(lambda: "RUNNING" in lab.layout.results.read_text())
    assert [t.state.value for t in read_history(lab.layout).trials] == ["RUNNING", "WAITING", "WAITING"]
    (tmp_path / "go").touch()
    assert processes.end(process) == 0 and not list(lab.layout.wave(0).root.glob("*.lease"))


def test_an_element_says_why_nothing_can_be_proposed(study: Study) -> None:
    study.plan("true", elements=3, ahead=1)  # without a study.yaml
    assert run(study.root, 0, 0) == 1  # no metrics, but it ran
    process = subprocess.run(
        [sys.executable, "-P", "-m", "hposlurm.worker", str(study.root), "0", "1"],
        capture_output=True,
        text=True,
        timeout=60,
        env=study.environ(),
    )
    assert process.returncode == 2
    assert "no further trial can be proposed" in process.stderr
