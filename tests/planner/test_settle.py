"""The meaning of a job's end: one table, the result record first, and unknown is never a failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from hposlurm.backend import DRIVER_ENDED, ElementState, Usage
from hposlurm.planner.settle import END_STATES, settle, settle_late, unfinished, unsettled
from hposlurm.records.assignment import Settlement
from hposlurm.records.fold import fold, unread
from hposlurm.records.history import History
from hposlurm.records.plan import WavePlan
from hposlurm.records.trial_state import fold_trial
from hposlurm.trial import JobState, Outcome, TrialState
from tests.studies import assignment, completed, end, report, start

ID = "100_0"
SAVED = {"kind": "checkpoint", "t": 1.0, "step": 3, "path": "trials/00000/checkpoints/checkpoint-3"}


def plan() -> WavePlan:
    return WavePlan(0, "s", 1.0, "study.yaml", 1, ("eval_loss",), "/", gpus=2, assignments=(assignment(0),))


def history(*journals: Sequence[Mapping[str, Any]], retries: int = 0) -> History:
    attempts = tuple(fold(unread(n), records) for n, records in enumerate(journals))
    trial = fold_trial([(0, assignment(0))], attempts, [], ("eval_loss",), retries)
    return History((plan(),), (trial,), {0: attempts})


def settled(
    *journals: Sequence[Mapping[str, Any]],
    state: JobState | None = None,
    runs: Sequence[Usage] = (),
    **more: Any,
) -> tuple[Settlement, ...]:
    states = {} if state is None else {ID: ElementState(state)}
    return settle(plan(), history(*journals), [ID], states, {ID: list(runs)} if runs else {}, **more)


def verdict(found: Sequence[Settlement]) -> tuple[Outcome | None, str]:
    return found[-1].outcome, found[-1].reason


TABLE = {
    JobState.COMPLETED: (Outcome.FAIL, "without a result record"),
    JobState.FAILED: (Outcome.FAIL, "without a result record"),
    JobState.OUT_OF_MEMORY: (Outcome.INFEASIBLE, "out of memory"),
    JobState.TIMEOUT: (Outcome.FAIL, "time limit: the job used up resources.time, without a checkpoint to go on from"),
    JobState.PREEMPTED: (Outcome.INTERRUPTED, "preempted"),
    JobState.NODE_FAIL: (Outcome.INTERRUPTED, "its node failed"),
    JobState.CANCELLED: (Outcome.DROPPED, "cancelled"),
    JobState.UNKNOWN: (Outcome.INTERRUPTED, "lost"),
}


def test_every_state_in_which_a_job_can_have_ended_is_in_the_table() -> None:
    assert set(END_STATES) == set(TABLE) == {s for s in JobState if s.is_terminal or s is JobState.UNKNOWN}


@pytest.mark.parametrize("state", TABLE)
def test_an_attempt_without_an_end_record_ended_as_its_job_did(state: JobState) -> None:
    outcome, reason = verdict(settled([start(0)], state=state))
    assert outcome is TABLE[state][0]
    assert TABLE[state][1] in reason


@pytest.mark.parametrize("state", TABLE)
def test_the_accounting_is_used_if_the_queue_has_forgotten_the_job(state: JobState) -> None:
    (found,) = settled([start(0)], runs=[Usage(state, 60.0, 2)])
    assert (found.outcome, found.state, found.elapsed_s) == (TABLE[state][0], state, 60.0)


@pytest.mark.parametrize("state", sorted(set(TABLE) - {JobState.OUT_OF_MEMORY}))
@pytest.mark.parametrize("outcome", ["complete", "fail", "infeasible"])
def test_the_result_record_comes_first(state: JobState, outcome: str) -> None:
    records = [*completed(0, 1.0)[:-1], end(outcome, exit_code=0 if outcome == "complete" else 1)]
    assert settled(records, state=state) == ()
    (found,) = settled(records, state=state, runs=[Usage(state, 60.0, 2)])
    assert (found.outcome, found.elapsed_s) == (None, 60.0)


@pytest.mark.parametrize(
    ("exit_code", "outcome"),
    [(-9, Outcome.INFEASIBLE), (137, Outcome.INFEASIBLE), (1, Outcome.INFEASIBLE), (0, None)],
)
def test_a_command_that_failed_in_a_job_that_ran_out_of_memory_does_not_fit(exit_code, outcome) -> None:
    """Not a command that ended well: its helper may have been killed, but the missing metric is its own fault."""
    records = [start(0), end("fail", reason="killed by signal 9", exit_code=exit_code)]
    (found,) = settled(records, runs=[Usage(JobState.OUT_OF_MEMORY, 60.0, 2)])
    assert found.outcome is outcome
    assert outcome is None or found.reason == (
        "out of memory: the job used more than resources.mem_gb (killed by signal 9)"
    )


def test_a_kill_without_other_evidence_is_a_failure_and_not_a_lack_of_memory() -> None:
    (found,) = settled([start(0), end("fail", exit_code=-9)], runs=[Usage(JobState.FAILED, 60.0, 2)])
    assert found.outcome is None


@pytest.mark.parametrize(
    ("reason", "state", "outcome"),
    [
        ("SIGTERM (cancelled or preempted)", JobState.PREEMPTED, None),
        ("SIGTERM (cancelled or preempted)", JobState.FAILED, None),  # the worker's exit status says so
        ("SIGTERM (cancelled or preempted)", JobState.UNKNOWN, None),
        ("SIGTERM (cancelled or preempted)", JobState.NODE_FAIL, None),
        ("SIGTERM (cancelled or preempted)", JobState.CANCELLED, Outcome.DROPPED),
        ("SIGTERM (cancelled or preempted)", JobState.TIMEOUT, Outcome.FAIL),
        ("SIGUSR2 (time limit ahead)", JobState.FAILED, Outcome.FAIL),
        ("SIGUSR2 (time limit ahead)", JobState.UNKNOWN, Outcome.FAIL),
        ("SIGUSR2 (time limit ahead)", JobState.CANCELLED, Outcome.DROPPED),
    ],
)
def test_an_interruption_is_free_unless_it_was_the_time_limit(reason, state, outcome) -> None:
    found = settled([start(0), end("interrupted", reason=reason, exit_code=0)], state=state)
    assert (found[-1].outcome if found else None) is outcome


def test_a_record_that_comes_after_the_verdict_is_the_one_that_counts() -> None:
    late = Settlement(0, 0, 0, ID, JobState.NODE_FAIL, outcome=Outcome.INTERRUPTED, reason="its node failed")
    attempt = fold(unread(0), completed(0, 0.5))
    trial = fold_trial([(0, assignment(0))], (attempt,), [[late]], ("eval_loss",), 0)
    assert (trial.state, trial.values) == (TrialState.COMPLETE, (0.5,))
    again = replace(plan(), wave=1)
    known = History((plan(), again), (trial,), {0: (attempt,)})
    found = settle(again, known, ["101_0"], {"101_0": ElementState(JobState.COMPLETED)}, {})
    assert verdict(found) == (Outcome.INTERRUPTED, "an earlier attempt had ended the trial by then")


def test_the_time_limit_of_a_part_is_free_since_the_next_attempt_has_all_of_the_time() -> None:
    short = replace(assignment(0), time_limit_s=780.0)
    for records in ([start(0)], [start(0), end("interrupted", reason="SIGUSR2 (the time limit is near)")]):
        found = settle(
            replace(plan(), assignments=(short,)), history(records), [ID], {ID: ElementState(JobState.TIMEOUT)}, {}
        )
        assert verdict(found) == (Outcome.INTERRUPTED, "time limit: the job used up the 13 minutes of its part")


def test_the_time_limit_is_free_for_an_attempt_that_can_be_continued() -> None:
    asked = end("interrupted", reason="SIGUSR2 (time limit ahead)")
    assert verdict(settled([start(0), SAVED, asked], state=JobState.FAILED)) == (
        Outcome.INTERRUPTED,
        "time limit: the job used up resources.time",
    )
    assert verdict(settled([start(0), SAVED], state=JobState.TIMEOUT))[0] is Outcome.INTERRUPTED
    # the second one must get further than the first
    again = settled(
        [start(0), SAVED, end("interrupted")], [start(0, 1), report(3, eval_loss=1.0)], state=JobState.TIMEOUT
    )
    assert verdict(again) == (
        Outcome.FAIL,
        "time limit: the job used up resources.time at step 3, without new progress",
    )
    on = settled([start(0), SAVED, end("interrupted")], [start(0, 1), report(4, eval_loss=1.0)], state=JobState.TIMEOUT)
    assert verdict(on)[0] is Outcome.INTERRUPTED


def test_no_node_counts_as_bad_if_the_driver_of_a_local_study_ended() -> None:
    gone = {ID: ElementState(JobState.NODE_FAIL, DRIVER_ENDED)}
    for journals in ([], [[start(0)]]):
        found = settle(plan(), history(*journals), [ID], gone, {})
        assert verdict(found) == (Outcome.INTERRUPTED, "the process that drove it has ended")


def test_trials_cancelled_with_the_study_continue_when_it_is_resumed() -> None:
    assert verdict(settled([start(0)], state=JobState.CANCELLED, after_cancel=True)) == (
        Outcome.INTERRUPTED,
        "the study was cancelled",
    )


@pytest.mark.parametrize("state", TABLE)
def test_an_element_whose_worker_never_started(state: JobState) -> None:
    (found,) = settled(state=state, log_tail=lambda _: "python: not found")
    expected = {JobState.OUT_OF_MEMORY: Outcome.FAIL}.get(state, TABLE[state][0])  # no configuration can do that
    assert (found.attempt, found.outcome) == (None, expected)
    if expected is Outcome.FAIL:
        assert found.reason == f"the job ended {state} before its worker started: python: not found"


def test_every_run_of_a_requeued_element_is_settled_even_without_records() -> None:
    runs = [
        Usage(JobState.NODE_FAIL, 5.0, 2, "n3"),
        Usage(JobState.PREEMPTED, 50.0, 2),
        Usage(JobState.COMPLETED, 70.0, 2),
    ]
    journals = [
        [start(0, 0, restart=1), end("interrupted", reason="SIGTERM")],
        [start(0, 1, restart=2), report(1, eval_loss=1.0), end("complete", metrics={"eval_loss": 1.0})],
    ]
    found = settled(*journals, runs=runs)
    assert [(s.attempt, s.state, s.elapsed_s, s.node) for s in found] == [
        (None, JobState.NODE_FAIL, 5.0, "n3"),
        (0, JobState.PREEMPTED, 50.0, ""),
        (1, JobState.COMPLETED, 70.0, ""),
    ]
    attempts = tuple(fold(unread(n), records) for n, records in enumerate(journals))
    trial = fold_trial([(0, assignment(0))], attempts, [found], ("eval_loss",), 0)
    assert (trial.state, len(trial.attempts)) == (TrialState.COMPLETE, 3)
    assert trial.gpu_hours == pytest.approx(2 * 125 / 3600)


def test_every_run_of_an_element_that_never_started_is_an_attempt() -> None:
    runs = [Usage(JobState.NODE_FAIL, 5.0, 2, "n3"), Usage(JobState.FAILED, 3.0, 2, "n2")]
    found = settled(state=JobState.FAILED, runs=runs)
    assert [(s.state, s.elapsed_s, s.outcome, s.node) for s in found] == [
        (JobState.NODE_FAIL, 5.0, Outcome.INTERRUPTED, "n3"),
        (JobState.FAILED, 3.0, Outcome.FAIL, "n2"),
    ]


def test_late_accounting_of_an_element_that_never_started_has_the_time_of_all_its_runs() -> None:
    silent = settled(state=JobState.FAILED)
    trial = fold_trial([(0, assignment(0))], [], [silent], ("eval_loss",), 1)
    late = unsettled(History((plan(),), (trial,), {}), ())
    (found,) = settle_late(late, {ID: [Usage(JobState.NODE_FAIL, 5.0, 2), Usage(JobState.FAILED, 3.0, 2)]})
    assert (found.attempt, found.elapsed_s, found.outcome) == (-1, 8.0, None)


def test_an_element_that_was_never_submitted_had_no_attempt() -> None:
    assert settle(plan(), history(), [""], {}, {}) == ()


def test_an_infeasible_trial_has_ended_for_good() -> None:
    runs = dict(enumerate(plan().assignments))
    assert unfinished(plan(), history([start(0), end("infeasible")]), runs) == []
    assert unfinished(plan(), history([start(0), end("pruned")]), runs) == []
    assert unfinished(plan(), history([start(0), end("interrupted")]), runs) == [0]
