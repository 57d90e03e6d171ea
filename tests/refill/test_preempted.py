"""Trials whose GPUs were taken away come back while their refill wave goes on, where the cluster would not do that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hposlurm.backend.queries import job_state
from hposlurm.records.history import read_history
from hposlurm.records.plan import read_plan
from hposlurm.refill.batches import add_batch
from hposlurm.report.explain import explain_trial
from hposlurm.search.budget import spent
from hposlurm.trial import JobState, Outcome, TrialState
from hposlurm.worker.binding import find_assignment
from tests.refill.studies import Lab
from tests.report.played import replay

STOPPED = "SIGTERM (cancelled or preempted)"
BUDGET = {"gpu_hours": 100, "n_trials": 20}


class Cluster:
    """What squeue and sacct say, if they are asked for elements; `asked` has the words of each question."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.say()

    def say(self, squeue: str = "", sacct: str = "") -> None:
        for name, text in (("squeue", squeue), ("sacct", sacct)):
            command = self._folder / name
            command.write_text(f"#!/bin/sh\necho {name} \"$@\" >> {self._folder}/asked\ncat <<'END'\n{text}\nEND\n")
            command.chmod(0o700)

    @property
    def asked(self) -> list[str]:
        found = self._folder / "asked"
        return found.read_text().splitlines() if found.exists() else []


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return Cluster(folder)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return started(tmp_path, monkeypatch, BUDGET)


def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: dict[str, int]) -> Lab:
    """Four run, and the job of trial 1 was told to stop."""
    resources = {"gpus_per_node": 2, "time": "00:30:00"}
    lab = Lab(tmp_path, budget=budget, resources=resources, backend="slurm")
    (array,) = json.loads(lab.layout.wave(0).jobs.read_bytes())["arrays"]
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", array["job_id"])
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    for element in range(4):
        lab.start(element)
    lab.report(1, 5, 0.5)
    lab.end(1, STOPPED)
    return lab


def proposed(lab: Lab) -> list[int]:
    batch = add_batch(lab.layout, 0, 0.0)
    assert batch is not None
    return [a.trial for a in batch.assignments]


def job(element: int, state: str) -> str:
    """As squeue says it."""
    return f"100_{element}|{state}|None"


@pytest.mark.parametrize("state", ["PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "COMPLETED", "FAILED"])
def test_a_preempted_trial_is_somebody_elses_from_then_on(lab: Lab, cluster: Cluster, state: str) -> None:
    cluster.say(squeue=job(1, state))
    assert proposed(lab) == [1, 4]
    (settled,) = read_plan(lab.layout.wave(0)).settled
    assert (settled.trial, settled.attempt, settled.state, settled.outcome) == (
        1,
        0,
        job_state(state),
        Outcome.INTERRUPTED,
    )
    assert lab.start(4) == 1
    cluster.say()
    assert read_history(lab.layout).trial(1).state is TrialState.RUNNING
    assert find_assignment(lab.layout, 0, 1, patience_s=0) is None  # should its old job be made to run again
    lab.end(4, 0.1)
    assert proposed(lab) == [5] and len(cluster.asked) == 1
    lab.over()
    assert lab.step() == "submitted"
    trial = read_history(lab.layout).trial(1)
    assert trial.state is TrialState.COMPLETE and [a.outcome for a in trial.attempts] == ["interrupted", "complete"]
    assert {stage.agrees for stage in explain_trial(replay(lab.layout.root), 1).stages} <= {True, None}


@pytest.mark.parametrize(
    "state", ["CANCELLED", "CANCELLED by 1000", "RUNNING", "PENDING", "TIMEOUT", "OUT_OF_MEMORY", ""]
)
def test_what_a_person_ended_or_what_may_run_again_is_left_to_the_planner(
    lab: Lab, cluster: Cluster, state: str
) -> None:
    cluster.say(squeue=job(1, state))
    assert proposed(lab) == [4, 5]
    assert not read_plan(lab.layout.wave(0)).settled


def test_of_a_job_that_the_controller_has_forgotten_the_accounting_is_asked(lab: Lab, cluster: Cluster) -> None:
    cluster.say(sacct="100_1|PREEMPTED|60|gres/gpu=2|n1")
    assert proposed(lab) == [1, 4]
    assert [line.split()[0] for line in cluster.asked] == ["squeue", "sacct"]
    assert all("-j 100 " in f"{line} " for line in cluster.asked)  # one message, however many elements


def test_without_an_answer_it_stays_where_it_is(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert proposed(lab) == [4, 5]


def test_outside_of_the_waves_jobs_nobody_asks(lab: Lab, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.say(squeue=job(1, "PREEMPTED"))
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    assert proposed(lab) == [4, 5] and not cluster.asked


def test_where_the_cluster_starts_it_again_itself_nobody_asks(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.say(squeue=job(1, "PREEMPTED"))
    lab = started(tmp_path, monkeypatch, {"n_trials": 20})
    assert proposed(lab) == [4, 5] and not cluster.asked


def test_its_gpu_hours_are_reserved_again(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = started(tmp_path, monkeypatch, {"gpu_hours": 5, "n_trials": 20})  # of a GPU hour for each
    before = spent(read_history(lab.layout), lab.study.objectives, 0.0)
    cluster.say(squeue=job(1, JobState.PREEMPTED))
    assert proposed(lab) == [1]  # and no other: the budget pays for five at most
    after = spent(read_history(lab.layout), lab.study.objectives, 0.0)
    assert after.reserved_gpu_hours == pytest.approx(before.reserved_gpu_hours + 1)
    assert add_batch(lab.layout, 0, 0.0) is None
