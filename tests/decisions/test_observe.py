"""The observation of a trial: its curve, the step that it was sent to, and whether it still runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hposlurm.decisions import observe
from hposlurm.records.fold import fold, unread
from hposlurm.records.history import History
from hposlurm.records.trial_state import fold_trial
from hposlurm.trial import Objective, TrialState
from tests.studies import BEGIN, assignment, end, report, start


def test_the_curve_has_the_steps_at_which_every_objective_is_a_number() -> None:
    reports = [report(1, BEGIN, loss=3.0, acc=0.1), report(2, BEGIN, loss="nan", acc=0.2), report(3, BEGIN, loss=2.0)]
    records = [start(0), *reports, report(4, BEGIN, loss=1.0, acc=0.4, peak_gpu_gb=7.5), end("complete")]
    paused = replace(assignment(0), to_step=4, is_final=False)
    trial = fold_trial([(0, paused)], [fold(unread(0), records)], [], ("loss", "acc"), 0)
    (seen,) = observe(History((), (trial,)), (Objective("loss"), Objective("acc")))
    assert seen.curve == ((1, (3.0, 0.1)), (4, (1.0, 0.4)))
    assert (seen.state, seen.values, seen.to_step, seen.is_open) == (TrialState.PAUSED, (1.0, 0.4), 4, False)
    assert seen.metrics["peak_gpu_gb"] == 7.5


def test_a_trial_that_waits_or_runs_is_open() -> None:
    waiting = fold_trial([(0, assignment(0))], [], [], ("loss",), 0)
    running = fold_trial([(0, assignment(1))], [fold(unread(0), [start(1)])], [], ("loss",), 0)
    assert [o.is_open for o in observe(History((), (waiting, running)), (Objective("loss"),))] == [True, True]


def test_the_end_of_each_assignment_is_kept_after_the_trial_continued() -> None:
    """Evaluations come every two steps, so the rung at 3 was judged by the report at 2."""
    first = replace(assignment(0), to_step=3, is_final=False)
    second = replace(assignment(0), from_step=3, to_step=9, stage=1)
    journals = [
        [start(0), report(2, BEGIN, loss=2.0), end("complete")],
        [start(0, wave=1, stage=1), report(4, BEGIN + 9, loss=1.0)],
    ]
    attempts = [fold(unread(number), records) for number, records in enumerate(journals)]
    trial = fold_trial([(0, first), (1, second)], attempts, [], ("loss",), 0)
    (seen,) = observe(History((), (trial,)), (Objective("loss"),))
    assert (seen.ends, seen.to_step, seen.is_open) == (((3, (2.0,)),), 9, True)


def test_a_rung_is_decided_by_the_value_there_however_far_the_script_went() -> None:
    first = replace(assignment(0), to_step=1, is_final=False)
    attempt = fold(unread(0), [start(0), *(report(s, BEGIN + s, loss=10.0 - s) for s in (1, 2, 3)), end("complete")])
    trial = fold_trial([(0, first)], [attempt], [], ("loss",), 0)
    (seen,) = observe(History((), (trial,)), (Objective("loss"),))
    assert (seen.ends, seen.values) == (((1, (9.0,)),), (9.0,))


@pytest.mark.parametrize(
    ("losses", "is_infeasible"),
    [(["nan"], True), ([1.0, "inf"], True), (["nan", 1.0], False), ([1.0], False), ([], False)],
)
def test_a_configuration_whose_loss_was_not_finite_is_infeasible(
    losses: list[float | str], is_infeasible: bool
) -> None:
    reports = [report(step, BEGIN, loss=loss) for step, loss in enumerate(losses, 1)]
    attempt = fold(unread(0), [start(0), *reports, end("fail", reason="command exited with status 1", exit_code=1)])
    trial = fold_trial([(0, assignment(0))], [attempt], [], ("loss",), 0)
    (seen,) = observe(History((), (trial,)), (Objective("loss"),))
    assert (seen.state, seen.infeasible) == (TrialState.FAIL, is_infeasible)


def test_a_trial_that_may_be_retried_is_not_infeasible_yet() -> None:
    attempt = fold(unread(0), [start(0), report(1, BEGIN, loss="nan"), end("fail", exit_code=1)])
    trial = fold_trial([(0, assignment(0))], [attempt], [], ("loss",), 1)
    (seen,) = observe(History((), (trial,)), (Objective("loss"),))
    assert not seen.infeasible
