"""The planner's waiting, by the test's own clock: no time passes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hposlurm.backend import Usage
from hposlurm.planner import advance, create
from hposlurm.planner.ends import LOST_AFTER_S, SETTLE_S
from hposlurm.records.clock import Clock
from hposlurm.records.history import read_history
from hposlurm.trial import JobState
from tests.planner.fake import FakeCluster, new_layout, spec


@dataclass
class Hours:
    """A clock whose time passes only by sleeping."""

    passed_s: float = 0.0
    sleeps: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.passed_s += seconds
        self.sleeps.append(seconds)

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: 1e9 + self.passed_s, monotonic=lambda: self.passed_s, sleep=self.sleep)


def test_an_element_without_a_record_is_lost_once_the_grace_time_is_over(tmp_path: Path) -> None:
    layout, cluster, hours = new_layout(tmp_path), FakeCluster(), Hours()
    study = spec(trial={"command": "x {{ x }}", "retries": 0, "workdir": "/"})
    create(layout, study)
    advance(layout, study, cluster, clock=hours.clock)
    cluster.arrays.clear()
    advance(layout, study, cluster, clock=hours.clock)
    assert LOST_AFTER_S < hours.passed_s < LOST_AFTER_S + 10
    assert {trial.reason.partition(":")[0] for trial in read_history(layout).trials[:4]} == {"lost"}


def test_the_last_rows_of_the_accounting_are_awaited_for_a_limited_time(tmp_path: Path) -> None:
    layout, cluster, hours = new_layout(tmp_path), FakeCluster(), Hours()
    study = spec(budget={"n_trials": 4})
    create(layout, study)
    advance(layout, study, cluster, clock=hours.clock)
    cluster.run()
    cluster.accounting = {"100_0": [Usage(JobState.COMPLETED, 9.0, 2)]}
    assert advance(layout, study, cluster, clock=hours.clock).kind == "finished"
    assert SETTLE_S < hours.passed_s < SETTLE_S + 10


def test_a_plan_is_dated_by_the_clock(tmp_path: Path) -> None:
    layout, hours = new_layout(tmp_path), Hours(passed_s=5.0)
    study = spec()
    create(layout, study)
    advance(layout, study, FakeCluster(), clock=hours.clock)
    assert read_history(layout).plans[0].created_at == 1e9 + 5
