"""Measured peaks correct the estimated memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hposlurm.decisions.choice import problem_of
from hposlurm.decisions.measured_memory import measured_factor
from hposlurm.records.history import History
from hposlurm.spec.memory_limit import memory_model
from hposlurm.trial import Attempt, Cause, EndCause, Outcome, Trial, TrialState
from tests.spec.test_gpu_memory import study

SPEC = study()
PARAMS = {"bs": 4, "max_length": 512}
MODEL = memory_model(SPEC)
assert MODEL is not None
ESTIMATED = MODEL.estimate(PARAMS).gb
DONE = Attempt(0, 0, 0, "1_0", "n1", 1, 0.0, outcome=Outcome.COMPLETE, peak_gpu_gb=1.2 * ESTIMATED - 0.5)
MEASURED = Trial(0, PARAMS, "s", 0, 0, state=TrialState.COMPLETE, attempts=(DONE,))


def with_peak(peak_gb: float | None) -> Trial:
    return replace(MEASURED, attempts=(replace(DONE, peak_gpu_gb=peak_gb),))


@pytest.mark.parametrize("count", [0, 2])
def test_two_measurements_are_not_enough(count):
    assert measured_factor(SPEC, [MEASURED] * count) == 1.0


def test_the_median_of_the_measured_peaks_counts():
    strange = with_peak(100 * ESTIMATED)
    assert measured_factor(SPEC, [MEASURED] * 3) == 1.2
    assert measured_factor(SPEC, [strange, *[MEASURED] * 3]) == 1.2
    assert measured_factor(SPEC, [strange] * 3) == 2.0
    low = with_peak(0.6 * ESTIMATED)
    assert measured_factor(SPEC, [low, *[MEASURED] * 3]) == 1.2


def test_running_trials_and_trials_without_a_peak_say_nothing():
    running = replace(MEASURED, state=TrialState.RUNNING)
    assert measured_factor(SPEC, [running] * 5) == 1.0
    assert measured_factor(SPEC, [with_peak(None)] * 5) == 1.0


def test_a_trial_that_ran_out_of_memory_needed_all_of_the_card_at_least():
    ended = replace(DONE, outcome=Outcome.INFEASIBLE, cause=EndCause(Cause.OUT_OF_GPU_MEMORY), peak_gpu_gb=None)
    beyond = replace(MEASURED, state=TrialState.FAIL, attempts=(ended,))
    assert measured_factor(SPEC, [beyond] * 3) == pytest.approx(min(2.0, 32 / ESTIMATED), abs=0.03)


def test_a_list_of_all_points_stays_the_same():
    assert measured_factor(study(search={"algorithm": "grid"}), [MEASURED] * 3) == 1.0


def test_the_factor_narrows_the_space():
    spec = study(resources={"gpus_per_node": 1, "gpu_memory_gb": 1.3 * ESTIMATED})
    assert spec.space_with(1.2).is_feasible(PARAMS) and not spec.space_with(1.4).is_feasible(PARAMS)


def test_the_search_is_asked_in_the_narrower_space():
    spec = study(resources={"gpus_per_node": 1, "gpu_memory_gb": 1.1 * ESTIMATED})
    measured = History(trials=(MEASURED,) * 3)
    assert problem_of(spec, ()).space.is_feasible(PARAMS)
    assert not problem_of(spec, (), history=measured).space.is_feasible(PARAMS)
