"""Folding is pure, incremental and never trusts a record."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hposlurm.records.assignment import Settlement
from hposlurm.records.fold import fold, unread
from hposlurm.records.trial_state import fold_trial, with_settled
from hposlurm.trial import Attempt, Cause, JobState, Outcome, Trial, TrialState, latest_metrics
from tests.studies import BEGIN, assignment, completed, end, failed, report, start


def attempt_of(records: list[dict[str, Any]], number: int = 0) -> Attempt:
    return fold(unread(number), records)


def trial_of(
    *journals: list[dict[str, Any]],
    settled: list[list[Settlement]] | None = None,
    retries: int = 0,
    objectives: tuple[str, ...] = ("eval_loss",),
) -> Trial:
    attempts = [attempt_of(records, number) for number, records in enumerate(journals)]
    return fold_trial([(0, assignment(0))], attempts, settled or [], objectives, retries)


def settlement(attempt: int | None = 0, outcome: Outcome | None = None, **changes: Any) -> Settlement:
    values: dict[str, Any] = {"wave": 0, "job_id": "100_0", "state": JobState.NODE_FAIL, "gpus": 2, **changes}
    return Settlement(trial=0, attempt=attempt, outcome=outcome, **values)


def test_an_attempt_holds_what_its_journal_says() -> None:
    records = [
        start(0, git_commit="abc", restart=1),
        report(1, BEGIN + 5, eval_loss=2.5),
        {"kind": "checkpoint", "t": BEGIN, "step": 1, "path": "c/1"},
        {"kind": "memory", "t": BEGIN, "peak_host_gb": 1.5, "peak_gpu_gb": None},
        end("fail", BEGIN + 60, reason="no", exit_code=3, metrics={"eval_loss": 2.5}, tail=["a", "b"]),
    ]
    attempt = attempt_of(records)
    assert (attempt.host, attempt.job_id, attempt.gpus, attempt.restart, attempt.git_commit) == (
        *("n0", "100_0", 2, 1),
        "abc",
    )
    assert attempt.reports[0].metrics == {"eval_loss": 2.5}
    assert attempt.reports[0].time == BEGIN + 5
    assert attempt.checkpoints == ((1, "c/1"),)
    assert (attempt.peak_host_gb, attempt.peak_gpu_gb) == (1.5, None)
    assert (attempt.outcome, attempt.reason, attempt.exit_code) == (Outcome.FAIL, "no", 3)
    assert (attempt.ended_at, attempt.tail) == (BEGIN + 60, ("a", "b"))
    assert attempt.gpu_hours == pytest.approx(2 * 60 / 3600)


def test_pieces_of_one_step_are_one_report() -> None:
    attempt = attempt_of([start(0), report(1, eval_loss=2.0), report(1, BEGIN + 9, f1=0.5), report(1, eval_loss=1.0)])
    assert [dict(r.metrics) for r in attempt.reports] == [{"eval_loss": 1.0, "f1": 0.5}]


def test_values_that_are_no_finite_number_are_kept_as_text() -> None:
    metrics = {"a": "nan", "b": float("inf"), "c": 3, "d": "fp16", "e": None, "f": "\ud800"}
    attempt = attempt_of([start(0), report(1, **metrics)])
    assert attempt.reports[0].metrics == {"a": "nan", "b": "inf", "c": 3.0, "d": "fp16", "e": "null", "f": "?"}


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"kind": ["report"]},
        {"kind": "report", "t": BEGIN, "step": "one", "metrics": {"a": 1}},
        {"kind": "report", "t": BEGIN, "step": 1, "metrics": [1]},
        {"kind": "report", "t": BEGIN, "step": 2**70, "metrics": {"a": 1}},
        {"kind": "report", "step": 1, "metrics": {"a": 1}},
        {"kind": "end", "t": BEGIN, "outcome": "exploded"},
        {"kind": "start", "t": BEGIN},
    ],
)
def test_a_malformed_record_is_counted_and_changes_nothing_else(record: dict[str, Any]) -> None:
    before = attempt_of([start(0), report(1, eval_loss=1.0)])
    after = fold(before, [record])
    assert after.corrupt_lines == 1
    assert (after.reports, after.outcome, after.wave) == (before.reports, before.outcome, before.wave)


def test_a_record_of_an_unknown_kind_is_left_to_newer_versions() -> None:
    assert attempt_of([start(0), {"kind": "weather", "t": BEGIN}]) == attempt_of([start(0)])


RECORDS = st.one_of(
    st.builds(start, st.just(0)),
    st.builds(
        lambda step, t, metrics: report(step, t, **metrics),
        st.integers(0, 3),
        st.floats(1, 100),
        st.dictionaries(st.sampled_from(["eval_loss", "f1"]), st.one_of(st.floats(), st.text(max_size=3)), max_size=2),
    ),
    st.builds(end, st.sampled_from(["complete", "fail", "interrupted"]), st.floats(1, 100)),
    st.just({"kind": "memory", "t": 1.0, "peak_host_gb": 2.0}),
    st.just({"kind": "checkpoint", "t": 1.0, "step": 1, "path": "x"}),
    st.just({"kind": "report"}),
)


@given(st.lists(RECORDS, max_size=8), st.integers(0, 8))
def test_folding_in_two_steps_is_folding_in_one(records: list[dict[str, Any]], cut: int) -> None:
    assert fold(fold(unread(0), records[:cut]), records[cut:]) == fold(unread(0), records)


def test_a_trial_nobody_started_is_waiting() -> None:
    trial = trial_of()
    assert (trial.state, trial.attempts, trial.values, trial.reason) == (TrialState.WAITING, (), None, "")


def test_an_attempt_without_an_end_is_running() -> None:
    assert trial_of([start(0)]).state is TrialState.RUNNING
    assert trial_of([]).state is TrialState.RUNNING


def test_a_complete_trial_has_the_last_values_of_its_objectives() -> None:
    trial = trial_of(completed(0, 1.25, steps=3, f1=0.5), objectives=("f1", "eval_loss"))
    assert (trial.state, trial.values) == (TrialState.COMPLETE, (0.5, 1.25))
    assert trial.tail == ()


@pytest.mark.parametrize(
    ("retries", "attempts", "state"),
    [
        (0, ["fail"], TrialState.FAIL),
        (1, ["fail"], TrialState.WAITING),
        (1, ["fail", "fail"], TrialState.FAIL),
        (0, ["interrupted", "interrupted"], TrialState.WAITING),
        (0, ["dropped"], TrialState.FAIL),
        (5, ["dropped"], TrialState.FAIL),
        (1, ["fail", "interrupted"], TrialState.WAITING),
        (1, ["fail", None], TrialState.RUNNING),
        (5, ["infeasible"], TrialState.FAIL),
        (5, ["interrupted", "infeasible"], TrialState.FAIL),
        (0, ["interrupted"] * 9, TrialState.WAITING),
        (0, ["interrupted"] * 10, TrialState.FAIL),
        (0, [*["interrupted"] * 10, None], TrialState.RUNNING),
    ],
)
def test_the_state_follows_from_the_outcomes(retries: int, attempts: list[str | None], state: TrialState) -> None:
    journals = [
        [start(0, n), *([] if outcome is None else [end(outcome, reason=f"r{n}")])]
        for n, outcome in enumerate(attempts)
    ]
    assert trial_of(*journals, retries=retries).state is state


def test_a_completion_counts_whatever_failed_before() -> None:
    trial = trial_of(failed(0), completed(0, 1.0, attempt=1), retries=0)
    assert (trial.state, trial.values, trial.reason) == (TrialState.COMPLETE, (1.0,), "")


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [({}, "without ever reporting eval_loss"), ({"eval_loss": "nan"}, "the last eval_loss was nan")],
)
def test_complete_without_a_finite_objective_is_a_failure_with_its_reason(metrics: dict[str, Any], reason: str) -> None:
    records = [start(0), report(1, **(metrics or {"f1": 1.0})), end("complete", metrics=metrics)]
    trial = trial_of(records)
    assert trial.state is TrialState.FAIL
    assert reason in trial.reason
    assert trial.values is None
    assert trial_of(records, completed(0, 1.0, attempt=1), retries=1).state is TrialState.COMPLETE


def test_an_attempt_that_resumed_behind_the_last_report_completes_with_the_earlier_value() -> None:
    killed = [start(0), report(5, BEGIN + 50, eval_loss=1.5)]
    trial = trial_of(killed, [start(0, 1, resumed_from="c/5"), end("complete")])
    assert (trial.state, trial.values) == (TrialState.COMPLETE, (1.5,))


def test_an_attempt_that_was_followed_by_another_is_dead_and_costs_no_retry() -> None:
    trial = trial_of([start(0), report(1, BEGIN + 50, eval_loss=1.0)], [start(0, 1)])
    first = trial.attempts[0]
    assert trial.state is TrialState.RUNNING
    assert (first.outcome, first.ended_at) == (Outcome.INTERRUPTED, BEGIN + 50)
    assert trial.attempts[1].outcome is None
    assert trial_of([start(0)], failed(0, 1), retries=1).state is TrialState.WAITING


def test_where_attempts_overlap_the_last_one_wins_step_by_step() -> None:
    first = [start(0), report(1, eval_loss=3.0), report(2, eval_loss=2.0, f1=0.1), end("interrupted")]
    second = [start(0, 1), report(2, eval_loss=2.2), report(3, eval_loss=1.0)]
    trial = trial_of(first, second)
    assert [(r.step, dict(r.metrics)) for r in trial.reports] == [
        (1, {"eval_loss": 3.0}),
        (2, {"eval_loss": 2.2}),
        (3, {"eval_loss": 1.0}),
    ]
    assert latest_metrics(trial.attempts) == {"eval_loss": 1.0, "f1": 0.1}


def test_a_settlement_overrides_the_outcome_and_settles_the_time() -> None:
    said = settlement(outcome=Outcome.FAIL, state=JobState.OUT_OF_MEMORY, reason="out of memory", elapsed_s=1800.0)
    trial = trial_of([start(0), report(1, eval_loss=1.0)], settled=[[said]])
    attempt = trial.attempts[0]
    assert (trial.state, trial.reason) == (TrialState.FAIL, "out of memory")
    assert (attempt.job_state, attempt.elapsed_s, attempt.ended_at) == (
        *(JobState.OUT_OF_MEMORY, 1800.0),
        BEGIN + 1800,
    )
    assert trial.gpu_hours == 1.0


def test_a_settlement_without_an_outcome_leaves_the_journals_end_as_it_is() -> None:
    trial = trial_of(completed(0, 1.0), settled=[[settlement(state=JobState.COMPLETED, elapsed_s=7200.0)]])
    assert (trial.state, trial.runtime_s, trial.gpu_hours) == (TrialState.COMPLETE, 3600.0, 4.0)


def test_a_later_plan_adds_to_what_an_earlier_one_settled() -> None:
    first = settlement(outcome=Outcome.DROPPED, state=JobState.CANCELLED, reason="cancelled")
    later = settlement(state=JobState.CANCELLED, elapsed_s=60.0)
    trial = trial_of([start(0)], settled=[[first], [later]])
    assert (trial.state, trial.reason, trial.attempts[0].elapsed_s) == (TrialState.FAIL, "cancelled", 60.0)


def test_an_element_that_never_wrote_a_journal_is_an_attempt_with_a_negative_number() -> None:
    lost = settlement(None, Outcome.FAIL, elapsed_s=36.0, reason="no python there")
    trial = trial_of(settled=[[lost]])
    assert [(a.number, a.outcome, a.log) for a in trial.attempts] == [
        (-1, Outcome.FAIL, "waves/0000/logs/100_0_0_log.out")
    ]
    assert (trial.state, trial.reason, trial.gpu_hours) == (TrialState.FAIL, "no python there", 2 * 36 / 3600)
    assert trial.runtime_s is None


def test_an_element_without_a_journal_keeps_the_numbers_of_the_journals_and_its_place_among_them() -> None:
    journals = [attempt_of([start(0), end("interrupted")]), attempt_of(completed(0, 1.0, 1, wave=2), 1)]
    lost = settlement(None, Outcome.INTERRUPTED, wave=1, job_id="200_0")
    assert [a.number for a in with_settled(journals, [[lost]])] == [0, -1, 1]


def test_an_element_settled_again_is_the_same_attempt_but_twice_in_one_plan_it_ran_twice() -> None:
    lost = settlement(None, Outcome.INTERRUPTED)
    late = settlement(None, elapsed_s=30.0)
    assert [a.number for a in with_settled([], [[lost, lost]])] == [-1, -2]
    again = with_settled([], [[lost], [late]])
    assert [(a.number, a.elapsed_s, a.outcome) for a in again] == [(-1, 30.0, Outcome.INTERRUPTED)]
    by_number = with_settled([], [[lost], [settlement(-1, elapsed_s=30.0)]])
    assert [(a.number, a.elapsed_s) for a in by_number] == [(-1, 30.0)]


def test_a_failure_without_words_still_gets_a_reason() -> None:
    assert trial_of([start(0), end("fail", exit_code=3)]).reason == "attempt 0 ended as fail with exit status 3"


def test_a_failed_trial_shows_the_failure_not_the_interruption_behind_it() -> None:
    trial = trial_of(failed(0), [start(0, 1), end("interrupted", reason="preempted")], retries=0)
    assert (trial.state, trial.reason) == (TrialState.FAIL, "the command ended with exit status 1")
    assert trial.tail == ("Traceback", "ValueError: no")


def test_what_does_not_fit_fails_for_good_with_its_reason() -> None:
    said = end("infeasible", reason="out of GPU memory: torch.OutOfMemoryError", exit_code=1, tail=["no room"])
    trial = trial_of([start(0), said], [start(0, 1), end("interrupted", reason="preempted")], retries=3)
    assert (trial.state, trial.infeasible, trial.values) == (TrialState.FAIL, True, None)
    assert (trial.reason, trial.tail) == ("out of GPU memory: torch.OutOfMemoryError", ("no room",))
    assert not trial_of(failed(0)).infeasible
    complete = trial_of([start(0), said], completed(0, 1.0, attempt=1))
    assert (complete.state, complete.infeasible) == (TrialState.COMPLETE, False)


def test_the_same_failure_at_the_same_step_is_retried_as_often_as_the_user_allows() -> None:
    """Two SIGKILLs from outside, the second one 0.3 s after the start, ended a trial with 50 retries."""
    first, *_ = attempts = [[start(0, n), report(3, eval_loss=1.0), *failed(0, n)[1:]] for n in range(3)]
    assert trial_of(*attempts, retries=3).state is TrialState.WAITING
    ended = trial_of(*attempts, retries=2)
    assert ended.state is TrialState.FAIL
    assert ended.reason == "no progress: attempts 0 and 1 both ended at step 3: the command ended with exit status 1"
    assert ended.tail == ("Traceback", "ValueError: no")
    again = [start(0, 1, resumed_from="/c/3"), end("fail", first[0]["t"] + 0.3, exit_code=-9, reason="killed")]
    assert trial_of(first, again, retries=50).state is TrialState.WAITING


def test_the_time_limit_twice_at_the_same_step_ends_the_retries_and_says_so() -> None:
    limit = {"cause": {"kind": "time_limit", "step": 3}, "reason": "time limit"}
    attempts = [[start(0, n), report(3, eval_loss=1.0), end("fail", exit_code=1, **limit)] for n in range(2)]
    trial = trial_of(*attempts, retries=5)
    assert (trial.state, trial.reason) == (
        *(TrialState.FAIL, "no progress: attempts 0 and 1 both ended at step 3: time limit"),
    )


def test_an_element_without_a_journal_tells_the_node_that_the_accounting_names() -> None:
    (attempt,) = trial_of(settled=[[settlement(None, Outcome.FAIL, node="n3")]]).attempts
    assert attempt.host == "n3"


def test_a_cause_with_half_a_character_does_not_cost_the_end() -> None:
    cause = {"kind": "metric_not_finite", "metric": "loss", "step": 1, "value": "\ud800"}
    attempt = attempt_of([start(0), end("fail", reason="loss at step 1 is '\ud800'", cause=cause)])
    assert (attempt.outcome, attempt.corrupt_lines) == (Outcome.FAIL, 0)
    assert attempt.cause is not None and attempt.cause.value == "?"


def test_a_cause_of_a_later_version_does_not_cost_the_end() -> None:
    attempt = attempt_of([start(0), end("fail", reason="the moon was full", cause={"kind": "full_moon"})])
    assert (attempt.outcome, attempt.reason, attempt.corrupt_lines) == (Outcome.FAIL, "the moon was full", 0)
    assert attempt.cause is not None and attempt.cause.kind is Cause.UNKNOWN


def test_notes_are_kept_in_order_and_bounded() -> None:
    notes = [{"kind": "note", "t": BEGIN, "text": f"{n} " + "x" * 1000} for n in range(30)]
    attempt = attempt_of([start(0), *notes, {"kind": "note", "t": BEGIN}])
    assert [note[:2].strip() for note in attempt.notes] == [str(n) for n in range(20)]
    assert max(map(len, attempt.notes)) == 500


@pytest.mark.parametrize("change", [{"wave": 1e300}, {"index": 2**63}, {"gpus": -(2**64)}, {"t": "nan"}, {"t": "inf"}])
def test_a_start_with_a_number_that_no_database_takes_is_a_damaged_line(change: dict) -> None:
    start = {"kind": "start", "t": 1.0, "wave": 0, "index": 0, "host": "n", "job_id": "1_0", "gpus": 1}
    attempt = fold(unread(0), [{**start, **change}])
    assert (attempt.corrupt_lines, attempt.wave) == (1, -1)
