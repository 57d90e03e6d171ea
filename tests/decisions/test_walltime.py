"""Time limits of parts of a training: their share of the time, retries, and the order of the jobs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hposlurm.decisions import choose, may_differ, stage_limits
from hposlurm.decisions.walltime import in_order, with_limits
from hposlurm.records.history import History
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan
from hposlurm.spec import StudySpec
from hposlurm.trial import Attempt, Cause, EndCause, JobState, Outcome, Stage, Trial, TrialState
from tests.planner.fake import spec
from tests.studies import assignment

ASHA = {"algorithm": "asha", "seed": 1, "min_resource": 1, "max_resource": 9}


def rungs(**changes: Any) -> StudySpec:
    """Rungs at 1, 3 and 9; a whole training may take 3 hours on one GPU."""
    given = {"search": ASHA, "resources": {"gpus_per_node": 1, "time": "3:00:00"}, "budget": {"n_trials": 40}}
    return spec(**{**given, **changes})


def history(*attempts: Attempt, from_step: int = 1, to_step: int = 3) -> History:
    """One trial, sent on to its second stage."""
    stages = (Stage(0, 0, 0, from_step), Stage(1, 1, from_step, to_step))
    trial = Trial(0, {}, "", 0, 0, TrialState.WAITING, attempts=attempts, stages=stages)
    return History((), (trial,))


def attempt(stage: int = 0, **changes: Any) -> Attempt:
    return Attempt(0, stage, 0, "1_0", "n1", 1, 0.0, stage=stage, **{"outcome": Outcome.COMPLETE, **changes})


def limit(found: History, study: StudySpec, **changes: Any) -> float | None:
    given = {"from_step": 1, "to_step": 3, "stage": 1, **changes}
    return with_limits(study, found, [replace(assignment(0), **given)])[0].time_limit_s


@pytest.mark.parametrize(
    ("search", "limits"),
    [
        (ASHA, [(1, 30), (3, 50), (9, 130)]),  # 10 minutes and 1/9, 2/9, 6/9 of 180
        ({"algorithm": "hyperband", "max_resource": 4, "reduction_factor": 2}, [(1, 55), (2, 55), (4, 100)]),
        ({"algorithm": "auto", "min_resource": 1, "max_resource": 2}, [(1, 100), (2, 100)]),
        ({"algorithm": "tpe", "max_resource": 9}, []),
        ({"algorithm": "auto"}, []),
    ],
)
def test_each_part_of_a_training_gets_ten_minutes_and_its_share_of_the_time(search: Any, limits: list) -> None:
    assert stage_limits(rungs(search=search)) == limits


def test_no_part_gets_more_than_a_whole_training() -> None:
    assert stage_limits(rungs(resources={"time": "0:12:00"})) == [(1, 12), (3, 12), (9, 12)]


def test_steps_that_were_not_saved_are_trained_again() -> None:
    saved = attempt(checkpoints=((1, "checkpoint-1"),))
    assert limit(history(saved), rungs()) == 50 * 60
    assert limit(history(attempt()), rungs()) == 70 * 60
    assert limit(history(attempt()), rungs(), resume_from="trials/00007/checkpoints/checkpoint-1") == 50 * 60


@pytest.mark.parametrize(
    "end",
    [
        {"job_state": JobState.TIMEOUT, "outcome": Outcome.INTERRUPTED},
        {"cause": EndCause(Cause.TIME_LIMIT, step=2, has_checkpoint=True), "outcome": Outcome.FAIL},
        {"cause": EndCause(Cause.TIME_LIMIT_AHEAD, signal=12), "outcome": Outcome.INTERRUPTED},
    ],
)
def test_a_part_that_ran_into_its_limit_gets_all_the_time_when_it_is_tried_again(end: dict[str, Any]) -> None:
    saved = attempt(checkpoints=((1, "checkpoint-1"),))
    assert limit(history(saved, attempt(1, **end)), rungs()) is None
    assert limit(history(replace(saved, **end), attempt(1)), rungs()) == 50 * 60  # that was the part before


def test_jobs_have_separate_limits_where_separate_arrays_do_no_harm() -> None:
    assert may_differ(rungs(), 1000, 4)
    assert may_differ(rungs(waves={"size": 4, "max_concurrent": 4, "mode": "barrier"}), 4, 4)
    assert not may_differ(rungs(waves={"size": 8, "max_concurrent": 4, "mode": "barrier"}), 8, 4)  # %K is one array's
    assert not may_differ(rungs(waves={"size": 4, "max_concurrent": 4, "mode": "overlap"}), 4, 4)  # and of one wave
    assert not may_differ(rungs(slurm={"driver": "chain"}), 4, 4)  # submitted before anyone knows what runs there


def test_continued_trainings_come_before_new_ones_and_equal_limits_are_adjacent() -> None:
    limits = [None, 60.0, 120.0, None, 60.0]
    new = [replace(assignment(n), time_limit_s=s) for n, s in enumerate(limits)]
    sent_on = replace(assignment(9), from_step=3, time_limit_s=600.0)
    found = in_order(rungs(), [*new, sent_on])
    assert [(a.trial, a.time_limit_s) for a in found] == [
        (9, 600.0), (0, None), (3, None), (2, 120.0), (1, 60.0), (4, 60.0),
    ]  # fmt: skip


def chosen(tmp_path: Path, study: StudySpec) -> Any:
    return choose(StudyLayout(tmp_path), study, History(), wave_size=4, gpus=1, now=0.0)


def test_a_budget_pays_for_each_job_by_its_own_time_limit(tmp_path: Path) -> None:
    waves = {"size": 20}
    found = chosen(tmp_path, rungs(waves=waves, budget={"gpu_hours": 4}))
    assert [a.time_limit_s for a in found.assignments] == [1800.0] * 8  # half an hour each; 1 of 3 hours would fit
    chain = rungs(waves=waves, budget={"gpu_hours": 4}, slurm={"driver": "chain"})
    assert [a.time_limit_s for a in chosen(tmp_path, chain).assignments] == [None]


def test_a_study_ends_if_the_next_job_exceeds_its_budget(tmp_path: Path) -> None:
    """No trial saved a checkpoint, so the best one trains from 0 to the second rung, which takes 70 minutes."""
    study = rungs(budget={"gpu_hours": 3.2, "n_trials": 3}, waves={"size": 3})
    stages = (Stage(0, 0, 0, 1, is_final=False),)
    ended = (attempt(elapsed_s=2880.0),)
    trials = tuple(
        Trial(n, {"x": n / 10}, "", 0, 0, TrialState.PAUSED, values=(float(n),), attempts=ended, stages=stages)
        for n in range(3)
    )
    plans = (WavePlan(0, "fake", 0.0, "study.yaml", 1, ("loss",), "/", assignments=tuple(map(assignment, range(3)))),)
    found = choose(StudyLayout(tmp_path), study, History(plans, trials), wave_size=4, gpus=1, now=9e3)
    assert found.assignments == ()
    assert found.finished == "gpu_hours: 2.4 of 3.2 used, the next trial could need 1.167"
