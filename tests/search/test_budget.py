"""The budget of a study: what it has used, what may still be submitted, and why it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from hposlurm.records.assignment import Assignment
from hposlurm.records.history import History
from hposlurm.records.plan import WavePlan
from hposlurm.records.spent import Spent, clock, spent
from hposlurm.search.budget import affordable, most_gpu_hours, reason_to_end
from hposlurm.spec import BudgetSpec
from hposlurm.trial import Attempt, Direction, Objective, Outcome, Report, Trial, TrialState

HOUR = 3600.0
BEGIN = 1_700_000_000.0
LOSS = [Objective("loss")]
NOTHING = Spent(0, 0.0, 0.0, 0.0, 0)


def plan(wave: int, trials: Sequence[int], at: float = BEGIN, **changes: Any) -> WavePlan:
    assignments = tuple(Assignment(n, {}, "", 0, "true") for n in trials)
    values = {"gpus": 2, "time_limit_s": HOUR, "assignments": assignments, **changes}
    return WavePlan(wave, "s", at, "study.yaml", 0, ("loss",), "/", **values)


def attempt(wave: int = 0, number: int = 0, begun: float = BEGIN, **changes: Any) -> Attempt:
    return Attempt(number, wave, 0, "1_0", "n1", 2, begun, **changes)


def trial(number: int, *attempts: Attempt, state: TrialState = TrialState.RUNNING, value: float | None = None) -> Trial:
    values = None if value is None else (value,)
    return Trial(number, {}, "", 0, 0, state, values=values, attempts=attempts)


def history(plans: Sequence[WavePlan], trials: Sequence[Trial]) -> History:
    """Returns the history as it is read: the journals do not have the settlements."""
    journals = {t.number: tuple(a for a in t.attempts if a.number >= 0) for t in trials}
    return History(tuple(plans), tuple(trials), journals)


def hours(found: Spent) -> tuple[float, float]:
    return pytest.approx(found.gpu_hours), pytest.approx(found.reserved_gpu_hours)


# ---- what was used ----


def test_a_study_without_a_plan_has_used_nothing() -> None:
    assert spent(History(), LOSS, BEGIN) == NOTHING


def test_an_element_is_fully_reserved_from_its_plan_on() -> None:
    found = spent(history([plan(0, [0, 1])], [trial(0), trial(1)]), LOSS, BEGIN + HOUR)
    assert (found.gpu_hours, found.reserved_gpu_hours, found.trials) == (0.0, 4.0, 2)


@pytest.mark.parametrize("now", [BEGIN - 600, BEGIN, BEGIN + 1800, BEGIN + 99 * HOUR])
def test_a_running_attempt_counts_fully_whatever_the_clocks_show(now: float) -> None:
    found = spent(history([plan(0, [0])], [trial(0, attempt())]), LOSS, now)
    assert found.gpu_hours + found.reserved_gpu_hours == pytest.approx(2.0)
    assert min(found.gpu_hours, found.reserved_gpu_hours) >= 0


def test_an_ended_attempt_counts_by_its_own_record_until_the_accounting_has_it() -> None:
    ended = attempt(outcome=Outcome.COMPLETE, ended_at=BEGIN + 900)
    assert hours(spent(history([plan(0, [0])], [trial(0, ended)]), LOSS, BEGIN + HOUR)) == (0.5, 0.0)
    settled = replace(ended, elapsed_s=1800.0)
    assert hours(spent(history([plan(0, [0])], [trial(0, settled)]), LOSS, BEGIN + HOUR)) == (1.0, 0.0)


def test_failures_and_retries_count() -> None:
    lost = attempt(outcome=Outcome.FAIL, ended_at=BEGIN + 1800)
    again = attempt(1, 1, BEGIN + HOUR, outcome=Outcome.COMPLETE, ended_at=BEGIN + HOUR + 1800)
    plans = [plan(0, [0]), plan(1, [0], BEGIN + HOUR)]
    assert hours(spent(history(plans, [trial(0, lost, again)]), LOSS, BEGIN + 9 * HOUR)) == (2.0, 0.0)


def test_a_killed_attempt_without_an_end_record_counts_until_the_next_plan() -> None:
    killed = attempt(outcome=Outcome.FAIL, reports=(Report(1, {"loss": 1.0}, BEGIN + 60),))
    plans = [plan(0, [0]), plan(1, [1], BEGIN + 1800)]
    found = spent(history(plans, [trial(0, killed), trial(1, attempt(1, begun=BEGIN + 1800))]), LOSS, BEGIN + 1800)
    assert found.gpu_hours == pytest.approx(1.0)


def test_a_killed_attempt_without_an_end_record_counts_at_most_to_its_time_limit() -> None:
    killed = attempt(outcome=Outcome.FAIL)
    plans = [plan(0, [0]), plan(1, [1], BEGIN + 50 * HOUR)]
    history_ = history(plans, [trial(0, killed), trial(1, attempt(1, begun=BEGIN + 50 * HOUR))])
    assert spent(history_, LOSS, BEGIN + 50 * HOUR).gpu_hours == pytest.approx(2.0)


def test_a_requeued_run_without_an_end_record_counts_until_the_next_run() -> None:
    first = attempt(outcome=Outcome.INTERRUPTED)
    second = attempt(number=1, begun=BEGIN + 900, outcome=Outcome.COMPLETE, ended_at=BEGIN + 1800)
    assert hours(spent(history([plan(0, [0])], [trial(0, first, second)]), LOSS, BEGIN + HOUR)) == (1.0, 0.0)


def test_an_element_that_ended_before_its_worker_started_costs_its_accounted_time() -> None:
    ended = attempt(number=-1, begun=0.0, outcome=Outcome.FAIL)
    assert hours(spent(history([plan(0, [0])], [trial(0, ended)]), LOSS, BEGIN)) == (0.0, 0.0)
    ended = replace(ended, elapsed_s=360.0)
    assert hours(spent(history([plan(0, [0])], [trial(0, ended)]), LOSS, BEGIN)) == (0.2, 0.0)


def test_wall_time_counts_from_the_first_plan_and_is_never_negative() -> None:
    plans = [plan(0, []), plan(1, [], BEGIN + HOUR)]
    assert spent(history(plans, []), LOSS, BEGIN + 2 * HOUR).wall_s == 2 * HOUR
    assert spent(history(plans, []), LOSS, BEGIN - 300).wall_s == 0.0


# ---- patience ----


def finished(values: Sequence[float | None], waves: Sequence[int] | None = None) -> History:
    trials = []
    for number, value in enumerate(values):
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        wave = waves[number] if waves else 0
        trials.append(trial(number, attempt(wave, elapsed_s=1.0), state=state, value=value))
    return history([plan(w, []) for w in range(max(waves or [0]) + 1)], trials)


@pytest.mark.parametrize(
    ("values", "stale"),
    [
        ([], 0),
        ([5.0], 0),
        ([5.0, 4.0, 3.0], 0),
        ([5.0, 5.0, 6.0], 2),
        ([5.0, 6.0, 4.0, 4.5], 1),
        ([None, None], 2),  # a study of which everything fails has no patience for ever
        ([5.0, None, 6.0], 2),
    ],
)
def test_stale_are_the_finished_trials_since_the_last_improvement(values: list, stale: int) -> None:
    assert spent(finished(values), LOSS, BEGIN).stale == stale


def test_larger_is_better_if_the_first_objective_is_maximised() -> None:
    objectives = [Objective("loss", Direction.MAXIMIZE)]
    assert spent(finished([1.0, 2.0, 3.0, 2.5]), objectives, BEGIN).stale == 1


def test_the_order_is_that_of_the_waves_in_which_trials_ended() -> None:
    # trial 0 was tried again in the last wave, and is the best
    assert spent(finished([1.0, 3.0, 4.0], waves=[2, 0, 1]), LOSS, BEGIN).stale == 0
    assert spent(finished([1.0, 3.0, 4.0], waves=[0, 0, 1]), LOSS, BEGIN).stale == 2


def test_running_trials_do_not_use_up_patience() -> None:
    found = finished([1.0])
    found = replace(found, trials=(*found.trials, trial(1, attempt()), trial(2, state=TrialState.WAITING)))
    assert spent(found, LOSS, BEGIN).stale == 0


# ---- what may still be submitted, and why it ends ----


@pytest.mark.parametrize(
    ("used", "reserved", "count"),
    [(0.0, 0.0, 16), (7.5, 0.0, 1), (7.6, 0.0, 0), (0.0, 7.5, 1), (4.0, 4.0, 0), (9.0, 0.0, 0), (0.1 * 75, 0.0, 1)],
)
def test_the_rest_of_the_budget_limits_the_elements(used: float, reserved: float, count: int) -> None:
    assert (
        affordable(BudgetSpec(gpu_hours=8), replace(NOTHING, gpu_hours=used, reserved_gpu_hours=reserved), 0.5) == count
    )


def test_no_limit_without_a_budget_or_without_gpus() -> None:
    assert affordable(BudgetSpec(), NOTHING, 0.5) is None
    assert affordable(BudgetSpec(gpu_hours=8), NOTHING, 0.0) is None
    assert reason_to_end(BudgetSpec(gpu_hours=8), NOTHING, 0.0) is None


@pytest.mark.parametrize(
    ("budget", "so_far", "reason"),
    [
        ({"gpu_hours": 8}, {"gpu_hours": 7.4}, None),
        ({"gpu_hours": 8}, {"gpu_hours": 7.9}, "gpu_hours: 7.9 of 8 used, the next trial could need 0.5"),
        ({"gpu_hours": 8}, {"gpu_hours": 8.1}, "gpu_hours: 8.1 of 8 used"),
        (
            {"gpu_hours": 8},
            {"gpu_hours": 7.0, "reserved_gpu_hours": 0.75},
            "gpu_hours: 7 of 8 used and 0.75 reserved, the next trial could need 0.5",
        ),
        ({"wall_time": "6:00:00"}, {"wall_s": 6 * HOUR - 1}, None),
        ({"wall_time": "6:00:00"}, {"wall_s": 6 * HOUR + 130}, "wall_time: 6:02:10 of 6:00:00 are over"),
        ({"patience": 20}, {"stale": 19}, None),
        ({"patience": 1}, {"stale": 1}, "patience: no improvement in 1 trial"),
        ({"patience": 20}, {"stale": 23}, "patience: no improvement in 23 trials"),
        ({"n_trials": 3}, {"stale": 99, "wall_s": 99 * HOUR, "gpu_hours": 99.0}, None),
        ({"gpu_hours": 8, "patience": 2}, {"stale": 2, "gpu_hours": 8.0}, "gpu_hours: 8 of 8 used"),
    ],
)
def test_the_reason_names_the_budget_that_ended_it(budget: dict, so_far: dict, reason: str | None) -> None:
    assert reason_to_end(BudgetSpec(**budget), replace(NOTHING, **so_far), 0.5) == reason


@pytest.mark.parametrize(
    ("budget", "trials", "most"),
    [
        ({"n_trials": 12}, 12, 18.0),  # three attempts each
        ({"n_trials": 12, "gpu_hours": 8}, 12, 8.0),
        ({"gpu_hours": 80}, 12, 18.0),
        ({"wall_time": "6:00:00"}, None, 4 * 0.5 * 13),  # waves of 4, half an hour each, and one beyond the end
        ({"patience": 3}, None, None),
    ],
)
def test_the_most_that_a_study_can_use(budget: dict, trials: int | None, most: float | None) -> None:
    found = most_gpu_hours(
        BudgetSpec(**budget), jobs=trials, attempts=3, element_gpu_hours=0.5, time_limit_s=1800, size=4
    )
    assert found == (most if most is None else pytest.approx(most))


def test_without_gpus_nothing_is_used() -> None:
    assert (
        most_gpu_hours(BudgetSpec(patience=3), jobs=None, attempts=1, element_gpu_hours=0, time_limit_s=60, size=4) == 0
    )


@pytest.mark.parametrize(("seconds", "text"), [(59.6, "0:01:00"), (21730, "6:02:10"), (172800, "2-00:00:00")])
def test_times_are_written_as_slurm_writes_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text
