"""Nothing is decided by a sentence: with other words for every cause, the same studies go the same way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hposlurm.backend import Usage
from hposlurm.planner import advance, create, ends
from hposlurm.records import cause_text, retries
from hposlurm.records.assignment import Settlement
from hposlurm.records.history import History, read_history
from hposlurm.records.journal import end_fields
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import read_plan
from hposlurm.simulation import Cluster, simulate
from hposlurm.trial import Attempt, Cause, EndCause, JobState, Outcome
from tests.planner.fake import FakeCluster, new_layout, spec, write_attempt
from tests.simulation.studies import study, train

BEGINNINGS = ("command", "time limit:", "the job", "lost:", "SIGUSR2", "SIGTERM", "out of memory:", "cancelled", "ok")
TOLD = EndCause(Cause.TOLD_TO_STOP, signal=15)
NEARLY_OVER = EndCause(Cause.TIME_LIMIT_AHEAD, signal=12)


def failed(code: int, said: str = "") -> tuple[Outcome, EndCause]:
    return Outcome.FAIL, EndCause(Cause.COMMAND_FAILED, exit_code=code, detail=said)


def bad(value: str) -> tuple[Outcome, EndCause]:
    return Outcome.FAIL, EndCause(Cause.METRIC_NOT_FINITE, metric="loss", step=1, value=value)


#: What an attempt's journal says of its end, a job without a worker's record (None), or without a worker ("").
Record = tuple[Outcome, EndCause] | None | str
#: How the attempts of a trial end, and their jobs; the last one comes again.
STATES = [state for state in JobState if state.is_terminal or state is JobState.UNKNOWN]
ENDS: list[list[tuple[Record, JobState]]] = [
    *([(None, state)] for state in STATES),
    *([("", state)] for state in STATES),
    *([((Outcome.INTERRUPTED, TOLD), state)] for state in STATES),
    *([((Outcome.INTERRUPTED, NEARLY_OVER), state)] for state in (JobState.TIMEOUT, JobState.FAILED)),
    *([(failed(-9), state)] for state in (JobState.FAILED, JobState.OUT_OF_MEMORY)),
    [(failed(1, "ValueError: x"), JobState.FAILED), (failed(1, "ValueError: y"), JobState.FAILED)],
    [(failed(1, "ValueError: x"), JobState.FAILED)],
    [(failed(2), JobState.FAILED), (failed(3), JobState.FAILED)],
    [(bad("nan"), JobState.FAILED)],
    [(bad("nan"), JobState.FAILED), (bad("inf"), JobState.FAILED), (bad("no"), JobState.FAILED)],
    [((Outcome.FAIL, EndCause(Cause.NO_METRICS)), JobState.FAILED)],
    [((Outcome.FAIL, EndCause(Cause.METRIC_MISSING, metric="loss", detail="f1")), JobState.FAILED)],
    [((Outcome.FAIL, EndCause(Cause.TRIAL_TIMEOUT, limit_s=9.0)), JobState.FAILED)],
    [((Outcome.FAIL, EndCause(Cause.MEMORY_GUARD, exit_code=-9, detail="spike")), JobState.FAILED)],
    [((Outcome.FAIL, EndCause(Cause.COMMAND_NOT_STARTED, detail="E2BIG")), JobState.FAILED)],
    [((Outcome.FAIL, EndCause(Cause.NOT_BEGUN, detail="no checkpoint")), JobState.FAILED)],
    [((Outcome.FAIL, EndCause(Cause.WRONG_ARGUMENT, exit_code=2, detail="no such option: --lr")), JobState.FAILED)],
    [((Outcome.INFEASIBLE, EndCause(Cause.OUT_OF_GPU_MEMORY, detail="no room")), JobState.FAILED)],
]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOST_AFTER_S", "SETTLE_S", "_ASK_AGAIN_S"):
        monkeypatch.setattr(ends, name, 0.01)
    monkeypatch.setattr(retries, "INTERRUPTIONS", 3)


def reword(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Makes every cause's sentence random, different each time; some begin like sentences that once decided things."""
    random = Random(seed)

    def say(_cause: EndCause) -> str:
        return f"{random.choice(BEGINNINGS)} {random.getrandbits(64):x}"

    monkeypatch.setattr(cause_text, "SENTENCES", dict.fromkeys(Cause, say))


def play(root: Path) -> History:
    """Plays a study by rungs on the cluster in memory; its trials end in all ways, and fail on two of four nodes."""
    layout, cluster = new_layout(root), FakeCluster()
    changes: dict[str, Any] = {
        "search": {"algorithm": "asha", "seed": 7, "max_resource": 3, "reduction_factor": 3},
        "budget": {"n_trials": 2 * len(ENDS)},
        "waves": {"size": 40, "mode": "barrier"},
        "trial": {"command": "train --x {{ x }}", "workdir": "/", "retries": 2},
    }
    settings = spec(**changes)
    create(layout, settings)
    while advance(layout, settings, cluster).kind != "finished":
        for job_id, job in cluster.arrays.items():
            if not job["held"] and job["state"] is JobState.PENDING:
                run(layout, cluster, job_id, job["request"].wave)
                job["state"] = JobState.COMPLETED
    return read_history(layout)


def run(layout: StudyLayout, cluster: FakeCluster, job_id: str, wave: int) -> None:
    accounting = cluster.accounting = cluster.accounting or {}
    tried = {trial.number: len(trial.attempts) for trial in read_history(layout).trials}
    for index, assignment in enumerate(read_plan(layout.wave(wave)).assignments):
        element, trial = f"{job_id}_{index}", assignment.trial
        attempts = tried[trial]
        own = ENDS[trial // 2] if trial % 2 else []
        record, state = own[min(attempts, len(own) - 1)] if own else (None, JobState.COMPLETED)
        host = f"n{trial // 2 % 2 + (0 if own else 2)}"
        cluster.forced[element] = state
        if state is not JobState.UNKNOWN:
            accounting[element] = [Usage(state, 60.0, 2, host)]
        if not own:
            there = {"stage": assignment.stage, "step": assignment.to_step or 1}
            write_attempt(layout, wave, index, trial, element, trial / 100, host, saved=assignment.to_step, **there)
        elif record != "":
            number = len(layout.trial(trial).attempts())
            write_attempt(layout, wave, index, trial, element, None, host, saved=1, stage=assignment.stage)
            if record is not None and not isinstance(record, str):
                outcome, cause = record
                fields = end_fields(outcome, cause, exit_code=1, tail=["last words"])
                with layout.trial(trial).journal(number).open("a") as journal:
                    journal.write(json.dumps({"kind": "end", "t": time.time(), **fields}) + "\n")


def decisions(history: History) -> dict[str, Any]:
    """Returns all decisions and their consequences, without sentences and times."""
    plans = [
        {
            "wave": plan.wave,
            "assignments": plan.assignments,
            "excluded": plan.exclude,
            "settled": [silent(settlement) for settlement in plan.settled],
            "over": (bool(plan.finished), bool(plan.over)),
        }
        for plan in history.plans
    ]
    trials = [
        (t.number, t.state, t.infeasible, t.values, bool(t.reason), [ending(a) for a in t.attempts])
        for t in history.trials
    ]
    return {"plans": plans, "trials": trials}


def silent(settlement: Settlement) -> Settlement:
    return replace(settlement, reason="")


def ending(attempt: Attempt) -> tuple[Any, ...]:
    return attempt.number, attempt.stage, attempt.outcome, attempt.cause, attempt.job_state, bool(attempt.reason)


def played_on_the_cluster(root: Path) -> Sequence[History]:
    return [play(root)]


def simulated(_root: Path) -> Sequence[History]:
    """Studies by rungs, with faults and with jobs too short for a whole training."""

    def moody(params: dict[str, Any], from_step: int, to_step: int | None) -> Any:
        if params["x"] > 0.9:
            raise MemoryError("the batch is too large")
        if params["x"] > 0.8:
            raise ValueError("no such column")
        return ((step, metrics, 12 * seconds) for step, metrics, seconds in train(params, from_step, to_step))

    faults = Cluster(gpus=4, queue_s=5, crashes=30, node_failures=30, preemptions=30, seed=5)
    by_rungs = {"algorithm": "asha", "max_resource": 9, "reduction_factor": 3}
    found = []
    for mode, search in (("barrier", {}), ("overlap", by_rungs), ("refill", by_rungs)):
        settings = study(20, search=search, trial={"retries": 2}, resources={"time": 1}, waves={"size": 5})
        found.append(simulate(settings, moody, faults, mode=mode).history)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("play_all", [played_on_the_cluster, simulated])
def test_other_words_change_no_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, play_all: Callable[[Path], Sequence[History]]
) -> None:
    before = play_all(tmp_path / "before")
    for seed in (1, 2):
        reword(monkeypatch, seed)
        after = play_all(tmp_path / f"after-{seed}")
        for one, other in zip(before, after, strict=True):
            assert decisions(one) == decisions(other)
            said, reworded = ({t.number: t.reason for t in history.trials if t.reason} for history in (one, other))
            assert said.keys() == reworded.keys() and not {*said.values()} & {*reworded.values()}


def test_the_study_on_the_cluster_ends_in_all_ways(tmp_path: Path) -> None:
    history = play(tmp_path)
    seen = {a.cause.kind for t in history.trials for a in t.attempts if a.cause}
    elsewhere = {
        *(Cause.PRUNED, Cause.OTHER_STEP, Cause.COMMAND_NOT_KILLABLE),  # only a worker ends so
        *(Cause.STUDY_CANCELLED, Cause.STUDY_PAUSED, Cause.DRIVER_ENDED, Cause.TOO_EARLY, Cause.ALREADY_ENDED),
        Cause.NOTHING_TO_DO,
        *(Cause.JOB_ENDED, Cause.REPLACED, Cause.NO_PROGRESS, Cause.UNKNOWN),
        Cause.TIME_LIMIT_AHEAD,  # its settlement says TIME_LIMIT
    }
    assert seen == {*Cause} - elsewhere
    assert any(plan.exclude for plan in history.plans)
    assert any("no progress" in trial.reason for trial in history.trials)
