"""A trial that is trained in stages: paused, sent on, completed, pruned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hposlurm.records.assignment import Assignment, Settlement
from hposlurm.records.fold import fold, unread
from hposlurm.records.trial_state import fold_trial
from hposlurm.trial import JobState, Outcome, Stage, Trial, TrialState
from tests.studies import BEGIN, assignment, completed, end, failed, report, start

FIRST = replace(assignment(0), to_step=3, is_final=False)
SECOND = replace(assignment(0), from_step=3, to_step=9, stage=1)


def trial_of(
    *journals: list[dict[str, Any]],
    assigned: list[tuple[int, Assignment]],
    settled: list[list[Settlement]] | None = None,
    retries: int = 1,
    max_resource: int | None = None,
) -> Trial:
    attempts = [fold(unread(number), records) for number, records in enumerate(journals)]
    return fold_trial(assigned, attempts, settled or [], ("eval_loss",), retries, max_resource)


def second(loss: float, wave: int = 1) -> list[dict[str, Any]]:
    return [start(1, wave=wave, stage=1), report(9, BEGIN + 50, eval_loss=loss), end("complete")]


def test_what_reaches_a_rung_is_paused_with_its_value_there() -> None:
    trial = trial_of(completed(0, 2.0, steps=3), assigned=[(0, FIRST)])
    assert (trial.state, trial.values, trial.reason) == (TrialState.PAUSED, (2.0,), "")
    assert not trial.state.is_finished
    assert trial.stages == (Stage(0, 0, 0, 3, None, is_final=False),)


def test_a_paused_trial_that_is_sent_on_waits_runs_and_completes() -> None:
    both = [(0, FIRST), (1, SECOND)]
    assert trial_of(completed(0, 2.0, steps=3), assigned=both).state is TrialState.WAITING
    running = trial_of(completed(0, 2.0, steps=3), [start(1, wave=1, stage=1)], assigned=both)
    assert (running.state, running.values) == (TrialState.RUNNING, None)
    done = trial_of(completed(0, 2.0, steps=3), second(1.5), assigned=both)
    assert (done.state, done.values, [r.step for r in done.reports]) == (TrialState.COMPLETE, (1.5,), [1, 2, 3, 9])


def test_each_stage_has_retries_of_its_own() -> None:
    both = [(0, FIRST), (1, SECOND), (2, SECOND)]
    journals = failed(0), completed(0, 2.0, steps=3), [*second(1.0)[:1], end("fail", reason="two")]
    assert trial_of(*journals, assigned=both).state is TrialState.WAITING
    again = [start(2, wave=2, stage=1), end("fail", reason="three")]
    assert trial_of(*journals, again, assigned=both).state is TrialState.FAIL


def test_a_command_line_that_was_refused_is_not_tried_again() -> None:
    cause = {"kind": "wrong_argument", "exit_code": 2, "detail": "x: error: no"}
    refused = [start(0), end("fail", reason="x: error: no", cause=cause)]
    trial = trial_of(refused, assigned=[(0, FIRST)], retries=3)
    assert (trial.state, trial.reason) == (TrialState.FAIL, "x: error: no")
    other = [start(0), end("fail", reason="x: error: no", cause={**cause, "kind": "command_failed"})]
    assert trial_of(other, assigned=[(0, FIRST)], retries=3).state is TrialState.WAITING


def test_the_search_can_end_a_paused_trial() -> None:
    verdict = Settlement(0, 0, 0, "100_0", JobState.COMPLETED, outcome=Outcome.PRUNED, reason="rung 3: 2.0, 1.5 needed")
    trial = trial_of(completed(0, 2.0, steps=3), assigned=[(0, FIRST)], settled=[[verdict]])
    assert (trial.state, trial.values, trial.reason) == (TrialState.PRUNED, (2.0,), "rung 3: 2.0, 1.5 needed")


def test_a_trial_that_its_worker_stopped_is_pruned_with_its_last_value() -> None:
    records = [start(0), report(2, BEGIN, eval_loss=2.5), end("pruned", reason="median")]
    trial = trial_of(records, assigned=[(0, assignment(0))])
    assert (trial.state, trial.values, trial.reason) == (TrialState.PRUNED, (2.5,), "median")
    silent = trial_of([start(0), end("pruned", reason="median")], assigned=[(0, assignment(0))])
    assert (silent.state, silent.values) == (TrialState.PRUNED, None)


def test_an_element_that_never_started_belongs_to_the_stage_of_its_wave() -> None:
    lost = Settlement(0, None, 1, "200_0", JobState.NODE_FAIL, outcome=Outcome.INTERRUPTED)
    trial = trial_of(completed(0, 2.0, steps=3), assigned=[(0, FIRST), (1, SECOND)], settled=[[lost]])
    assert [(a.number, a.stage) for a in trial.attempts] == [(0, 0), (-1, 1)]
    assert trial.state is TrialState.WAITING


def past(*steps: int, outcome: str = "complete", attempt: int = 0) -> list[dict[str, Any]]:
    """Records of a script that does not ask for its last step: the loss at step s is 10 - s."""
    reports = [report(s, BEGIN + s, eval_loss=10.0 - s) for s in steps]
    return [start(0, attempt), *reports, end(outcome, metrics={"eval_loss": 10.0 - steps[-1]})]


def test_a_trial_that_went_past_its_rung_is_paused_with_its_value_at_the_rung() -> None:
    trial = trial_of(past(1, 2, 3, 4, 5), assigned=[(0, FIRST)], max_resource=9)
    assert (trial.state, trial.values) == (TrialState.PAUSED, (7.0,))
    late = trial_of(past(5), assigned=[(0, FIRST)], max_resource=9)  # nothing else is known of it
    assert (late.state, late.values) == (TrialState.PAUSED, (5.0,))


def test_a_trial_that_was_trained_to_the_full_resource_is_complete_whatever_was_assigned() -> None:
    """Five fully trained trials stayed PAUSED, each with the value of the wrong step, and were trained again."""
    trial = trial_of(past(*range(1, 10)), assigned=[(0, FIRST)], max_resource=9)
    assert (trial.state, trial.values) == (TrialState.COMPLETE, (1.0,))
    again = trial_of(past(*range(1, 10)), past(1, 2, attempt=1), assigned=[(0, FIRST), (1, FIRST)], max_resource=9)
    assert (again.state, again.values) == (TrialState.COMPLETE, (1.0,))


def test_a_trial_that_was_killed_at_the_full_resource_is_not_complete() -> None:
    trial = trial_of(past(*range(1, 10), outcome="interrupted"), assigned=[(0, FIRST)], max_resource=9)
    assert trial.state is TrialState.WAITING


def test_every_objective_must_have_reached_the_full_resource() -> None:
    records = [start(0), report(3, BEGIN, eval_loss=1.0), report(9, BEGIN, train_loss=1.0), end("complete")]
    trial = trial_of(records, assigned=[(0, FIRST)], max_resource=9)
    assert (trial.state, trial.values) == (TrialState.PAUSED, (1.0,))
