"""A study in which everything fails pauses by itself, says why, and can go on."""

from __future__ import annotations

from typing import Any

import pytest

from hposlurm.backend.slurm import SlurmBackend
from hposlurm.planner import Step, advance, create, order_retry, set_going
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import read_plan
from hposlurm.refill.batches import add_batch
from hposlurm.trial import Cause, JobState, Outcome, TrialState
from hposlurm.worker.binding import find_assignment
from tests.fake_slurm import FakeSlurm
from tests.planner.fake import BROKEN, TRIAL, FakeCluster, launched, spec, write_attempt
from tests.refill.studies import Lab

pytestmark = pytest.mark.usefixtures("impatient")
GRID = {
    "search": {"algorithm": "grid"},
    "parameters": {"x": {"choices": list(range(24))}},
    "waves": {"max_concurrent": 4},
    "budget": {},
}


def run_elements(layout: StudyLayout, cluster: FakeCluster, wave: int, loss: Any = BROKEN, first: int = 0) -> list[int]:
    """Starts a wave's elements one after the other, as workers do; which ran a trial."""
    (job_id,) = (j for j, job in cluster.arrays.items() if job["request"].wave == wave)
    ran = []
    for index in range(first, read_plan(layout.wave(wave)).size):
        if (found := find_assignment(layout, wave, index, patience_s=0)) is not None:
            write_attempt(layout, wave, index, found[1].trial, f"{job_id}_{index}", loss)
            ran.append(index)
    cluster.arrays[job_id]["state"] = JobState.COMPLETED
    return ran


def assert_paused(step: Step) -> None:
    assert (step.kind, step.message) == (
        "finished",
        f"paused: the first trials all failed, and none completed: {BROKEN}",
    )


def counts(layout: StudyLayout) -> dict[str, int]:
    return {str(state): count for state, count in read_history(layout).counts().items() if count}


def test_a_first_wave_that_fails_alike_pauses_the_study(layout):
    cluster, study = launched(layout)
    run_elements(layout, cluster, 0)
    assert_paused(advance(layout, study, cluster))
    assert counts(layout) == {"FAIL": 4}
    assert_paused(advance(layout, study, cluster))  # it stays so


def test_a_wave_of_all_trials_ends_after_the_first_of_them(layout):
    cluster, study = launched(layout, **GRID)
    assert read_plan(layout.wave(0)).size == 24
    assert run_elements(layout, cluster, 0) == [0, 1, 2, 3]
    assert_paused(advance(layout, study, cluster))
    assert counts(layout) == {"FAIL": 4, "WAITING": 20}
    (idle,) = {t.attempts[0].cause.kind for t in read_history(layout).trials if t.state is TrialState.WAITING}
    assert idle is Cause.STUDY_PAUSED

    # resume goes on with the others; the four that failed stay failed, until they are retried
    assert advance(layout, study, cluster, again=True).kind == "submitted"
    assert run_elements(layout, cluster, 2, 0.5) == list(range(20))
    assert advance(layout, study, cluster).kind == "finished"
    assert counts(layout) == {"COMPLETE": 20, "FAIL": 4}
    assert order_retry(layout, read_history(layout), 1e12) == (0, 1, 2, 3)
    assert advance(layout, study, cluster, again=True).kind == "submitted"


def test_after_resume_it_takes_as_many_failures_again(layout):
    cluster, study = launched(layout, **GRID)
    run_elements(layout, cluster, 0)
    advance(layout, study, cluster)
    advance(layout, study, cluster, again=True)
    assert run_elements(layout, cluster, 2) == [0, 1, 2, 3]
    assert_paused(advance(layout, study, cluster))
    assert counts(layout) == {"FAIL": 8, "WAITING": 16}


def test_what_runs_meanwhile_and_completes_keeps_the_study_going(layout):
    cluster, study = launched(layout, **GRID)
    for index in range(4):
        write_attempt(layout, 0, index, index, f"100_{index}", BROKEN)
    write_attempt(layout, 0, 4, 4, "100_4", 0.5)  # on another node, and begun before the others had failed
    assert run_elements(layout, cluster, 0, first=5) == []
    assert advance(layout, study, cluster).kind == "submitted"
    assert [a.trial for a in read_plan(layout.wave(1)).assignments] == list(range(5, 24))
    assert run_elements(layout, cluster, 1) == list(range(19))  # one has completed: failures no longer pause it


@pytest.mark.parametrize(
    ("ends", "is_paused"),
    [
        ([BROKEN, BROKEN, BROKEN, "another reason"], False),
        ([BROKEN, 0.5, BROKEN, BROKEN], False),
        ([BROKEN, "SIGTERM (cancelled or preempted)", BROKEN, BROKEN], False),
        (["out of GPU memory: torch.OutOfMemoryError: a", *["out of GPU memory: torch.OutOfMemoryError: b"] * 3], True),
    ],
)
def test_only_failures_of_one_kind_pause_it(layout, ends, is_paused):
    cluster, study = launched(layout)
    for index, end in enumerate(ends):
        write_attempt(layout, 0, index, index, f"100_{index}", end)
    cluster.arrays["100"]["state"] = JobState.COMPLETED
    assert (advance(layout, study, cluster).kind == "finished") is is_paused


@pytest.mark.parametrize(("size", "waves"), [(1, 3), (2, 2)])
def test_it_takes_three_trials_at_least(layout, size, waves):
    cluster, study = launched(layout, waves={"size": size, "max_concurrent": size, "mode": "barrier"})
    for wave in range(waves):
        run_elements(layout, cluster, wave)
        step = advance(layout, study, cluster)
        assert (step.kind == "finished") is (wave == waves - 1)
    assert_paused(step)


def test_trials_that_may_be_retried_have_failed_after_two_attempts_each(layout):
    cluster, study = launched(layout, trial={**TRIAL, "retries": 3})
    run_elements(layout, cluster, 0)
    assert advance(layout, study, cluster).kind == "submitted"
    run_elements(layout, cluster, 1)
    assert_paused(advance(layout, study, cluster))
    assert counts(layout) == {"WAITING": 4}


def test_the_only_trial_may_use_all_its_retries(layout):
    cluster, study = launched(layout, trial={**TRIAL, "retries": 8}, budget={"n_trials": 1}, waves={"size": 1})
    for wave in range(8):
        assert run_elements(layout, cluster, wave) == [0]
        assert advance(layout, study, cluster).kind == "submitted"


def test_a_later_wave_counts_what_failed_in_earlier_ones(layout):
    cluster, study = launched(layout, waves={"size": 2, "max_concurrent": 2, "mode": "barrier"})
    assert run_elements(layout, cluster, 0) == [0, 1]
    assert advance(layout, study, cluster).kind == "submitted"
    assert run_elements(layout, cluster, 1) == [0]  # the third of three
    assert_paused(advance(layout, study, cluster))
    assert counts(layout) == {"FAIL": 3, "WAITING": 1}


def test_waves_that_overlap_look_at_the_ones_before_them(layout):
    cluster, study = launched(layout, waves={"size": 4, "mode": "overlap"}, budget={"n_trials": 40})
    assert run_elements(layout, cluster, 0) == [0, 1, 2, 3]
    assert run_elements(layout, cluster, 1) == run_elements(layout, cluster, 2) == []
    assert_paused(advance(layout, study, cluster))
    assert counts(layout) == {"FAIL": 4, "WAITING": 8}


def test_a_refill_wave_hands_out_nothing_more(tmp_path):
    lab = Lab(tmp_path, budget={"n_trials": 24})
    for element in range(4):
        lab.start(element)
        lab.end(element, BROKEN)
    batch = add_batch(lab.layout, 0, 0.0)
    assert batch is not None and batch.over.startswith("paused: ") and not batch.assignments
    assert [lab.start(element) for element in range(4, 24)] == [None] * 20
    lab.over()
    step = advance(lab.layout, lab.study, lab.cluster)
    assert_paused(step)
    assert counts(lab.layout) == {"FAIL": 4}


def test_a_refill_worker_does_not_wait_for_the_process_beside_it(tmp_path):
    lab = Lab(tmp_path, budget={"n_trials": 24})
    for element in range(4):
        lab.start(element)
    add_batch(lab.layout, 0, 0.0)
    for element in range(4):
        lab.end(element, BROKEN)
    assert lab.start(4) is None
    assert read_plan(lab.layout.wave(0)).over == ""
    lab.over()
    assert_paused(advance(lab.layout, lab.study, lab.cluster))


def test_a_chain_cancels_its_other_pairs(layout: StudyLayout, fake_slurm: FakeSlurm) -> None:
    study = spec(slurm={"driver": "chain"}, waves={"size": 4}, budget={"n_trials": 40}, search={"algorithm": "random"})
    create(layout, study)
    set_going(layout, study, SlurmBackend())
    fake_slurm.run_released(layout, loss=lambda _: BROKEN)
    assert_paused(advance(layout, study, SlurmBackend()))
    assert not [job for job in fake_slurm.arrays() if "PENDING" in job["states"]]


@pytest.mark.parametrize(
    ("limit", "n", "message"),
    [
        (5, 5, "paused: 5 trials failed, budget.max_failures is 5"),
        (0.25, 3, "paused: 3 of 12 trials failed, budget.max_failures is 0.25"),
    ],
)
def test_later_on_a_number_or_a_share_of_failures_pauses_it(layout, limit, n, message):
    cluster, study = launched(layout, budget={"n_trials": 40, "max_failures": limit})
    failures = 0
    for wave in range(10):
        for index, a in enumerate(read_plan(layout.wave(wave)).assignments):
            fails = index == 3 or (limit == 5 and index == 2)
            failures += fails
            write_attempt(
                layout, wave, index, a.trial, f"{100 + wave}_{index}", f"reason {wave}{index}" if fails else 0.5
            )
        cluster.arrays[str(100 + wave)]["state"] = JobState.COMPLETED
        step = advance(layout, study, cluster)
        if step.kind == "finished":
            break
    assert step.message.startswith(message.replace("5 trials", "6 trials") if limit == 5 else message)
    assert counts(layout)["FAIL"] == failures >= n
    assert advance(layout, study, cluster, again=True).kind == "submitted"  # resume: only what follows counts


def test_trials_that_a_person_cancelled_are_no_failures(layout):
    cluster, study = launched(layout, budget={"n_trials": 40, "max_failures": 1})
    cluster.cancelled = {"100_0", "100_1"}
    cluster.run(loss=lambda _: 0.5)
    assert advance(layout, study, cluster).kind == "submitted"
    outcomes = [a.outcome for t in read_history(layout).trials[:2] for a in t.attempts]
    assert outcomes == [Outcome.DROPPED] * 2


def test_with_max_failures_not_all_trials_are_one_wave(layout):
    launched(layout, **{**GRID, "waves": {"max_concurrent": 4, "mode": "barrier"}, "budget": {"max_failures": 3}})
    assert read_plan(layout.wave(0)).size == 4
