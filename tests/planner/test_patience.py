"""How long a planner waits for room or for a controller, and when it gives its own job back."""

from __future__ import annotations

from typing import NoReturn

import pytest

from hposlurm.errors import NotNowError
from hposlurm.planner import advance_patiently, create
from hposlurm.records.clock import Clock
from tests.planner.fake import FakeCluster, spec

SMALL = {"search": {"algorithm": "random"}, "budget": {"n_trials": 2}, "slurm": {"planner": {"time": 1}}}


class Full(FakeCluster):
    """Takes no job, and answers requests to requeue this one as told: True, False, or None for no answer."""

    def __init__(self, *requeues: bool | None) -> None:
        super().__init__()
        self.requeues = list(requeues)

    def submit(self, _request: object) -> NoReturn:
        raise NotNowError("the queue is full")

    def run_again_later(self) -> bool:
        answer = self.requeues.pop(0)
        if answer is None:
            raise NotNowError("scontrol gave no answer in 60 s")
        return answer


def virtual() -> tuple[list[float], Clock]:
    """The pauses that were taken, and a clock in which only pauses take time."""
    pauses: list[float] = []
    return pauses, Clock(monotonic=lambda: sum(pauses), sleep=pauses.append)


def test_a_planner_job_of_one_minute_is_requeued_well_before_slurm_ends_it(layout):
    study = spec(**SMALL)
    create(layout, study)
    pauses, clock = virtual()
    step = advance_patiently(layout, study, Full(True), clock=clock)
    assert step.kind == "busy" and "the queue is full; this job starts again later" in step.message
    assert sum(pauses) <= 30  # at least half of its time is left for what a loaded machine makes slow


def test_a_planner_outside_a_job_ends_with_the_reason(layout):
    study = spec(**SMALL)
    create(layout, study)
    with pytest.raises(NotNowError, match="the queue is full"):
        advance_patiently(layout, study, Full(False), clock=virtual()[1])


def test_a_controller_that_cannot_requeue_either_is_asked_again(layout):
    study = spec(**SMALL)
    create(layout, study)
    lines: list[str] = []
    step = advance_patiently(layout, study, Full(None, None, True), log=lines.append, clock=virtual()[1])
    assert step.kind == "busy"
    assert lines.count("not now: scontrol gave no answer in 60 s") == 2
