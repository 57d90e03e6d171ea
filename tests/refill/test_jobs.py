"""What the refill process does about jobs: trials that lost their GPUs come back, elements without a trial go."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from hposlurm.backend import queries
from hposlurm.backend.queries import job_state
from hposlurm.planner import create
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import bound, read_plan
from hposlurm.records.spent import spent
from hposlurm.refill.__main__ import main
from hposlurm.refill.batches import add_batch
from hposlurm.report.explain import explain_trial
from hposlurm.trial import JobState, Outcome, TrialState
from hposlurm.worker.binding import find_assignment
from tests.fake_slurm import FakeSlurm
from tests.planner import processes
from tests.planner.fake import new_layout, spec, write_attempt
from tests.refill.studies import Lab
from tests.report.played import replay

STOPPED = "SIGTERM (cancelled or preempted)"
RUNGS = {"algorithm": "asha", "seed": 1, "min_resource": 1, "max_resource": 9}
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


@pytest.fixture
def layout(tmp_path: Path, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> StudyLayout:
    """A wave of 8 elements, of which 0, 1, 2 and 4 have taken all there is; 3 waits again."""
    layout = new_layout(tmp_path)
    study = spec(backend="slurm", waves={"mode": "refill", "max_concurrent": 4}, budget={"n_trials": 4}, search=RUNGS)
    create(layout, study)
    assert processes.step(layout, study) == 0
    (array,) = fake_slurm.arrays()
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", array["id"])
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    for element in (0, 1, 2, 4):
        assert find_assignment(layout, 0, element, patience_s=0)
    fake_slurm.change(array["id"], states=["RUNNING"] * 3 + ["PENDING"] + ["RUNNING"] + ["PENDING"] * 3)
    return layout


def end_pool(layout: StudyLayout) -> None:
    assert main([str(layout.root), "0", "needed"]) == 0
    assert read_plan(layout.wave(0)).over


def states(fake_slurm: FakeSlurm) -> Counter[str]:
    return Counter(fake_slurm.arrays()[0]["states"])


def test_those_behind_all_that_have_started_are_cancelled(layout: StudyLayout, fake_slurm: FakeSlurm) -> None:
    end_pool(layout)
    before = ["RUNNING"] * 3 + ["PENDING"] + ["RUNNING"]
    assert fake_slurm.arrays()[0]["states"] == before + ["CANCELLED"] * 3


def test_in_each_of_several_arrays_those_behind_its_own_started_ones(
    layout: StudyLayout, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave, mine = layout.wave(0), fake_slurm.arrays()[0]["id"]
    jobs = json.loads(wave.jobs.read_text())
    halves = [{"job_id": mine, "offset": 0, "count": 4}, {"job_id": "999", "offset": 4, "count": 4}]
    wave.jobs.write_text(json.dumps({**jobs, "arrays": halves}))
    asked: list[list[object]] = []
    token = json.loads(wave.intent.read_text())["token"]

    def answer(*command: str, timeout_s: float) -> str:
        asked.append([*command, timeout_s])
        return "".join(f"{job_id}|fake-w0000-{token}-0-4|\n" for job_id in (mine, "999"))

    monkeypatch.setattr(queries, "ask", answer)
    end_pool(layout)
    assert [command for command in asked if command[0] != "squeue"] == [
        ["scancel", "--quiet", f"{mine}_3", "999_[1-3]", 20.0]
    ]


def test_no_trial_is_taken_out_with_them(layout: StudyLayout, fake_slurm: FakeSlurm) -> None:
    end_pool(layout)
    (array,) = fake_slurm.arrays()
    for element, assignment in bound(layout.wave(0), read_plan(layout.wave(0))).items():
        write_attempt(layout, 0, element, assignment.trial, f"{array['id']}_{element}", float(element))
    fake_slurm.change(array["id"], states=["COMPLETED"] * 5 + ["CANCELLED"] * 3)
    study = spec(backend="slurm", waves={"mode": "refill", "max_concurrent": 4}, budget={"n_trials": 4}, search=RUNGS)
    assert processes.step(layout, study) == 0
    history = read_history(layout)
    assert len(history.plans) == 2 and not history.finished
    assert TrialState.FAIL not in {trial.state for trial in history.trials}


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 1\n", "no program", None])
def test_it_does_not_matter_if_that_fails(
    layout: StudyLayout, fake_slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    if text is not None:
        (folder / "scancel").write_text(text)
        (folder / "scancel").chmod(0o700)
    monkeypatch.setenv("PATH", str(folder))
    end_pool(layout)
    assert states(fake_slurm) == {"RUNNING": 4, "PENDING": 4}


@pytest.mark.parametrize("name", ["", "7"])
def test_only_jobs_of_the_wave_do_that(
    layout: StudyLayout, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", name)
    end_pool(layout)
    assert states(fake_slurm) == {"RUNNING": 4, "PENDING": 4}
