"""Which process may submit a wave, lost answers of sbatch, a queue with little room: SlurmBackend on fake commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import pytest

from hposlurm.backend import ElementState, slurm, start_time
from hposlurm.backend.executor import ScriptExecutor
from hposlurm.backend.slurm import SlurmBackend
from hposlurm.errors import BackendError, LimitError, NotNowError
from hposlurm.planner import advance, advance_patiently, claim, create, patience
from hposlurm.records.clock import Clock
from hposlurm.records.files import create_once, to_json
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.study import Study
from hposlurm.trial import JobState
from tests.planner import processes
from tests.planner.fake import FakeCluster, spec

SMALL = {
    "search": {"algorithm": "random", "seed": 7},
    "budget": {"n_trials": 8},
    "waves": {"size": 8, "mode": "barrier"},
}


def owned_by(layout: StudyLayout, cluster: FakeCluster, **changes: Any) -> str | None:
    """Returns what `claim` gives for a wave that another owner claimed: this process with these changes."""
    wave = layout.wave(0)
    wave.root.mkdir(parents=True)
    create_once(
        wave.intent, to_json({"token": "first", "backend": "fake", **asdict(claim.this_process(cluster)), **changes})
    )
    return claim.claim(wave, cluster)


class Knowing(FakeCluster):
    """Knows the states of jobs, as the queue does."""

    def __init__(self, **known: JobState) -> None:
        super().__init__()
        self.known = {f"{name.removeprefix('job')}": ElementState(state) for name, state in known.items()}

    def states(self, job_ids):
        return {j: self.known[j] for j in job_ids if j in self.known}


def test_a_claim_belongs_to_its_own_process_or_another_live_one(layout):
    assert owned_by(layout, FakeCluster()) == "first"
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    record = json.loads(layout.wave(0).intent.read_bytes())
    live = {**record, "pid": other.pid, "started": start_time(other.pid)}
    layout.wave(0).intent.write_text(json.dumps(live))
    assert claim.claim(layout.wave(0), FakeCluster()) is None
    other.kill()  # not waited for: a zombie does nothing any more
    while start_time(other.pid):
        pass
    assert claim.claim(layout.wave(0), FakeCluster()) == "first"
    other.communicate()
    assert layout.wave(0).takeover(layout.wave(0).intent).exists()


def test_a_reused_process_id_is_not_the_owner(layout):
    assert owned_by(layout, FakeCluster(), pid=os.getppid(), started="1") == "first"


def test_a_dead_planners_claim_is_taken_over_by_only_one_process(layout):
    assert owned_by(layout, FakeCluster(), pid=os.getppid(), started="1") == "first"
    wave = layout.wave(0)
    assert [path.name for path in wave.intents()] == ["intent.json", "intent.1.json"]
    record = json.loads(wave.intents()[-1].read_bytes())
    wave.intents()[-1].write_text(json.dumps({**record, "host": "elsewhere"}))
    assert claim.claim(wave, FakeCluster()) is None


@pytest.mark.parametrize(
    ("state", "token"),
    [
        ("RUNNING", None),
        ("FAILED", "first"),
        ("COMPLETED", "first"),
        ("PENDING", "first"),  # requeued: its process is gone
    ],
)
def test_a_planner_on_another_node_is_live_if_its_job_is(layout, state, token):
    assert owned_by(layout, Knowing(job77=JobState(state)), host="n7", job_id="77") == token


def test_a_requeued_planner_job_continues_with_its_own_claim(layout, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert owned_by(layout, FakeCluster(), host="n7", job_id="77", restart=0) == "first"


def test_a_claim_of_an_unknown_planner_elsewhere_expires_by_the_clock_of_the_files(layout):
    assert owned_by(layout, FakeCluster(), host="n7", job_id="77") is None
    os.utime(layout.wave(0).intent, (0, 0))
    assert claim.claim(layout.wave(0), FakeCluster()) == "first"


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(slurm, "LOOK_AFTER_S", 0)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_answer_of_sbatch_finds_the_job_by_its_token(layout, fake_slurm, lost):
    """The array's answer, or the array's and the planner's."""
    study = spec(**SMALL)
    create(layout, study)
    fake_slurm.set("lost", lost)
    step = advance(layout, study, SlurmBackend())
    assert step.kind == "submitted"
    assert [(job["released"], job["held"]) for job in fake_slurm.arrays()] == [(1, False)]
    assert len(fake_slurm.planners()) == 1
    recorded = json.loads(layout.wave(0).planner_job.read_bytes())["job_id"]
    assert recorded == fake_slurm.planners()[0]["id"]


def test_a_second_planner_is_not_submitted_while_the_first_waits(layout, fake_slurm):
    study = spec(**SMALL)
    create(layout, study)
    advance(layout, study, SlurmBackend())
    layout.wave(0).planner_job.unlink()  # as if the process had died before it wrote it
    advance(layout, study, SlurmBackend())
    assert len(fake_slurm.planners()) == 1
    fake_slurm.change(fake_slurm.planners()[0]["id"], reason="DependencyNeverSatisfied")
    advance(layout, study, SlurmBackend())
    assert [job["states"] for job in fake_slurm.planners()] == [["CANCELLED"], ["PENDING"]]


def test_an_overtaken_planner_does_not_stop_the_later_ones(layout, fake_slurm):
    """They run one at a time, so all later planners would wait for one that Slurm keeps on hold."""
    study = spec(**{**SMALL, "waves": {"size": 2, "mode": "barrier"}})
    create(layout, study)
    advance(layout, study, SlurmBackend())
    fake_slurm.run_released(layout)
    held = fake_slurm.planners()[0]["id"]
    fake_slurm.change(held, states=["PENDING"])  # requeued, and held
    assert advance(layout, study, SlurmBackend()).kind == "submitted"  # a user runs it
    assert [job["states"] for job in fake_slurm.planners()] == [["CANCELLED"], ["PENDING"]]
    for _ in range(4):
        fake_slurm.run_released(layout)
        fake_slurm.change(fake_slurm.planners()[-1]["id"], states=["PENDING"])
        if advance(layout, study, SlurmBackend()).kind == "finished":
            break
    assert read_history(layout).finished
    assert "PENDING" not in {state for job in fake_slurm.planners() for state in job["states"]}


def test_a_job_that_appears_late_is_cancelled(layout, fake_slurm):
    study = spec(**{**SMALL, "waves": {"size": 4, "mode": "barrier"}})
    create(layout, study)
    advance(layout, study, SlurmBackend())
    mine = fake_slurm.arrays()[0]
    late = {**mine, "id": "1900", "held": True, "released": 0}
    (fake_slurm.home / "job-1900.json").write_text(json.dumps(late))
    fake_slurm.run_released(layout)
    advance(layout, study, SlurmBackend())
    assert {job["id"]: set(job["states"]) for job in fake_slurm.arrays()}["1900"] == {"CANCELLED"}
    assert [len(trial.attempts) for trial in read_history(layout).trials] == [1] * 4 + [0] * 4


@pytest.mark.parametrize(("limit", "sizes"), [(5, [4, 4]), (3, [2, 2, 2, 2]), (2, [1] * 8), (9, [8])])
def test_elements_that_the_queue_has_no_room_for_are_submitted_by_the_next_step(layout, fake_slurm, limit, sizes):
    study = spec(**SMALL)
    create(layout, study)
    fake_slurm.set("limit", limit)
    for _ in sizes:
        assert advance(layout, study, SlurmBackend()).kind == "submitted"
        fake_slurm.run_released(layout)
    assert advance(layout, study, SlurmBackend()).kind == "finished"
    assert [len(job["states"]) for job in fake_slurm.arrays() if job["released"]] == sizes
    assert all(set(job["states"]) == {"CANCELLED"} for job in fake_slurm.arrays() if not job["released"])
    trials = read_history(layout).trials
    assert [(trial.state.value, len(trial.attempts)) for trial in trials] == [("COMPLETE", 1)] * 8


def test_a_full_queue_refuses_the_step_and_leaves_the_study_as_it_is(layout, fake_slurm):
    study = spec(**SMALL)
    create(layout, study)
    fake_slurm.set("limit", 1)
    with pytest.raises(LimitError, match="AssocMaxSubmitJobLimit"):
        advance(layout, study, SlurmBackend())
    assert all(set(job["states"]) == {"CANCELLED"} for job in fake_slurm.jobs())
    fake_slurm.set("limit", 100)
    assert advance(layout, study, SlurmBackend()).kind == "submitted"


def test_a_patient_planner_waits_for_room(layout, fake_slurm):
    study = spec(**SMALL)
    create(layout, study)
    fake_slurm.set("limit", 0)
    lines, clock = [], Clock(sleep=lambda _: fake_slurm.set("limit", 100))
    step = advance_patiently(layout, study, SlurmBackend(), log=lines.append, clock=clock)
    assert step.kind == "submitted"
    assert [line.partition(":")[0] for line in lines] == ["not now"]


@pytest.mark.usefixtures("fake_slurm", "impatient")
def test_a_planner_job_that_finds_no_room_starts_again_later(layout, fake_slurm, monkeypatch):
    study = spec(**SMALL)
    create(layout, study)
    fake_slurm.set("limit", 0)
    monkeypatch.setattr(patience, "_SHARE", 0)
    with pytest.raises(NotNowError):
        advance_patiently(layout, study, SlurmBackend())
    asked = []
    monkeypatch.setattr(slurm.queries, "ask", lambda *words, ask=slurm.queries.ask, **limits: asked.append(words) or (
        "" if words[1] == "requeue" else ask(*words, **limits)))  # fmt: skip
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    step = advance_patiently(layout, study, SlurmBackend())
    assert step.kind == "busy" and ("scontrol", "requeue", "77") in asked


# Stands in front of sbatch as a site's wrapper does: notes its process, and waits.
SLOW_SBATCH = """#!/bin/sh
echo $$ > {home}/begun.new && mv {home}/begun.new {home}/begun
while [ ! -e {home}/go ]; do sleep 0.05; done
exec {real} "$@"
"""


def test_a_delayed_sbatch_of_a_killed_launch_submits_nothing(layout, fake_slurm, tmp_path, monkeypatch, wait_until):
    slow = tmp_path / "bin" / "sbatch"
    slow.parent.mkdir()
    slow.write_text(SLOW_SBATCH.format(home=fake_slurm.home, real=shutil.which("sbatch")))
    slow.chmod(0o700)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    study = spec(**SMALL)
    create(layout, study)
    launch = processes.begin(lambda: advance(layout, study, SlurmBackend()))
    wait_until((fake_slurm.home / "begun").exists, 60)
    os.kill(launch, signal.SIGKILL)
    assert processes.end(launch) == -signal.SIGKILL
    (fake_slurm.home / "go").touch()
    sbatch = int((fake_slurm.home / "begun").read_text())
    wait_until(lambda: not start_time(sbatch), 60)
    assert fake_slurm.jobs() == []
    assert advance(layout, study, SlurmBackend()).kind == "submitted"
    assert [job["held"] for job in fake_slurm.arrays()] == [False]


def test_an_sbatch_that_is_not_there_is_named(tmp_path, monkeypatch):
    (tmp_path / "srun").touch(mode=0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError, match="sbatch refused: No such file or directory"):
        ScriptExecutor(tmp_path).submit_script("#!/bin/sh")


def test_what_a_killed_launch_left_in_the_queue_is_named_until_it_is_used_or_ended(layout, fake_slurm, monkeypatch):
    study = spec(**SMALL, backend="slurm")
    create(layout, study)
    assert processes.step(layout, study, "array submitted") == -signal.SIGKILL

    def notes() -> list[str]:
        said: list[str] = []
        Study.open(layout.root).status(log=said.append)
        of_all: list[str] = []
        Study.overview(layout.root.parent, log=of_all.append)
        monkeypatch.setenv("HPOSLURM_RUNS", str(layout.root.parent))
        assert [n.replace(str(layout.root), layout.root.name) for n in said] == of_all
        return of_all

    assert notes() == []  # a launch may be at it
    os.utime(layout.wave(0).intent, (1, 1))
    name, array = layout.root.name, fake_slurm.arrays()[0]["id"]
    assert notes() == [
        f"note: a launch or planner of {name} was killed while it submitted: array {array} is held in the queue; "
        f"`hposlurm resume {name}` uses it, `scancel {array}` ends it"
    ]
    SlurmBackend().cancel([array])
    assert notes() == []
