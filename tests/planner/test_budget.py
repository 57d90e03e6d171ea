"""Budgets in the planner: plans never exceed them, retries come first, and the end has a reason."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hposlurm.backend import ArrayJob, Usage
from hposlurm.errors import SpecError
from hposlurm.planner import advance, create, revise
from hposlurm.planner.decide import next_plan
from hposlurm.records.assignment import Assignment, Settlement
from hposlurm.records.history import History, read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan
from hposlurm.records.trial_state import fold_trial
from hposlurm.trial import Attempt, JobState, Outcome, TrialState
from tests.planner.fake import FakeCluster, spec, write_attempt

BEGIN = 1_700_000_000.0
LIMIT_S = 1800.0
ELEMENT_H = 2 * LIMIT_S / 3600
TWO_GPUS = {"gpus_per_node": 2, "time": "00:30:00"}
BARRIER = {"mode": "barrier"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    import hposlurm.planner.ends as module

    for name, value in (("LOST_AFTER_S", 0.2), ("SETTLE_S", 0.2), ("_ASK_AGAIN_S", 0.01)):
        monkeypatch.setattr(module, name, value)


# ---- whatever happens, no plan can overrun the budget ----


@dataclass(frozen=True)
class Course:
    """The course of one element: how long it really runs, how it ends, and which records say so."""

    elapsed_s: float
    outcome: Outcome
    recorded_by: str  # "accounting", "worker", or "nothing": the source that knows that it ended
    skew_s: float  # of its node's clock


def courses() -> st.SearchStrategy[Course]:
    return st.builds(
        Course,
        st.floats(0, LIMIT_S),
        st.sampled_from([Outcome.COMPLETE, Outcome.FAIL, Outcome.INTERRUPTED]),
        st.sampled_from(["accounting", "worker", "nothing"]),
        st.sampled_from([0.0, 400.0, -400.0]),
    )


def run_element(plan: WavePlan, index: int, number: int, course: Course, begun: float) -> tuple[Attempt, Settlement]:
    """Returns an element's journal and its settlement in the next plan."""
    by_itself = course.recorded_by != "nothing"
    begun += course.skew_s if by_itself else 0.0  # a duration by the clocks of two nodes is as wrong as they are
    lost = {"outcome": None, "ended_at": None}
    own = {"outcome": course.outcome, "ended_at": begun + course.elapsed_s, "metrics": {"loss": 1.0}}
    attempt = Attempt(
        number, plan.wave, index, f"{plan.wave}_{index}", "n1", plan.gpus, begun, **(own if by_itself else lost)
    )
    settled = Settlement(
        plan.assignments[index].trial, number, plan.wave, attempt.job_id, JobState.COMPLETED, gpus=plan.gpus
    )
    if course.recorded_by == "accounting":
        settled = replace(settled, elapsed_s=course.elapsed_s)
    if not by_itself:
        settled = replace(settled, outcome=Outcome.FAIL, reason="lost")
    return attempt, settled


class Simulation:
    """A study without files: plans and journals in memory, random courses of elements, and the true GPU hours."""

    def __init__(self, budget: dict[str, Any], size: int | None, algorithm: str) -> None:
        waves = {"mode": "barrier", **({"size": size} if size else {})}
        trial = {"command": "train {{ x }}", "retries": 2, "workdir": "/"}
        search = {"algorithm": algorithm, "seed": 1}
        self.spec = spec(budget=budget, waves=waves, trial=trial, search=search, resources=TWO_GPUS)
        self.plans: list[WavePlan] = []
        self.journals: dict[int, list[Attempt]] = {}
        self.settled: list[list[Settlement]] = []
        self.used_h = 0.0
        self.now = BEGIN

    def history(self) -> History:
        trials: dict[int, list[tuple[int, Assignment]]] = {}
        for plan in self.plans:
            for assignment in plan.assignments:
                trials.setdefault(assignment.trial, []).append((plan.wave, assignment))
        folded = tuple(
            fold_trial(
                assigned, self.journals.get(number, ()),
                [mine for batch in self.settled if (mine := [s for s in batch if s.trial == number])],
                ("loss",), self.spec.trial.retries,
            )
            for number, assigned in sorted(trials.items())
        )  # fmt: skip
        return History(tuple(self.plans), folded, {n: tuple(a) for n, a in self.journals.items()})

    def plan(self) -> WavePlan:
        settled = self.settled[-1] if self.settled else []
        planned = next_plan(
            StudyLayout(Path("/nowhere")), self.spec, self.history(), settled, wave_size=4, gpus=2, now=self.now
        )
        self.plans.append(planned)
        return planned

    def run(self, draw: Any) -> None:
        plan, settled, longest = self.plans[-1], [], 0.0
        for index, assignment in enumerate(plan.assignments):
            course = draw(courses())
            attempts = self.journals.setdefault(assignment.trial, [])
            attempt, settlement = run_element(plan, index, len(attempts), course, self.now)
            attempts.append(attempt)
            settled.append(settlement)
            self.used_h += plan.gpus * course.elapsed_s / 3600
            longest = max(longest, course.elapsed_s)
        self.settled.append(settled)
        self.now += longest + draw(st.floats(0, 60))


@settings(max_examples=60)
@given(
    data=st.data(),
    gpu_hours=st.floats(ELEMENT_H, 12),
    size=st.sampled_from([None, 1, 3, 7]),
    n_trials=st.sampled_from([None, 5, 40]),
    algorithm=st.sampled_from(["random", "tpe"]),
)
def test_no_plan_can_overrun_the_gpu_hours(
    data: st.DataObject, gpu_hours: float, size: int | None, n_trials: int | None, algorithm: str
) -> None:
    study = Simulation({"gpu_hours": gpu_hours, "n_trials": n_trials}, size, algorithm)
    for _ in range(12):
        waiting = [t.number for t in study.history().trials if t.state is TrialState.WAITING]
        plan = study.plan()
        assert study.used_h + len(plan.assignments) * ELEMENT_H <= gpu_hours + 1e-4
        planned = [a.trial for a in plan.assignments]
        first = planned[: len(waiting)]
        assert first == waiting[: len(first)]
        assert len(planned) == len(set(planned))
        assert bool(plan.finished) != bool(planned)
        if plan.finished:
            break
        study.run(data.draw)
    assert study.used_h <= gpu_hours + 1e-4


# ---- step by step, with a cluster in memory ----


def use(cluster: FakeCluster, hours: float, gpus: int = 2) -> None:
    """Returns the accounting of all elements so far: each had its GPUs for `hours` hours."""
    cluster.accounting = {
        f"{job_id}_{i}": [Usage(JobState.COMPLETED, hours * 3600, gpus)]
        for job_id, job in cluster.arrays.items()
        for i in range(job["request"].count)
    }


def run_to_end(layout: StudyLayout, cluster: FakeCluster, study: Any, hours: float = 0.1, **loss: Any) -> str:
    step = advance(layout, study, cluster)
    while step.kind == "submitted":
        cluster.run(**loss)
        use(cluster, hours)
        step = advance(layout, study, cluster)
    assert step.kind == "finished"
    return step.message


def sizes(layout: StudyLayout) -> list[int]:
    return [len(p.assignments) for p in read_history(layout).plans]


def test_waves_shrink_to_the_rest_of_the_budget_and_the_end_has_a_reason(layout: StudyLayout) -> None:
    study = spec(budget={"gpu_hours": 5}, resources=TWO_GPUS)
    create(layout, study)
    message = run_to_end(layout, FakeCluster(), study, hours=0.25)  # half of what is reserved
    assert sizes(layout) == [4, 3, 1, 1, 0]
    assert message == "gpu_hours: 4.5 of 5 used, the next trial could need 1"
    assert read_history(layout).gpu_hours == pytest.approx(4.5)


def test_a_budget_that_full_time_limits_use_up_is_met_exactly(layout: StudyLayout) -> None:
    study = spec(budget={"gpu_hours": 5}, resources=TWO_GPUS)
    create(layout, study)
    assert run_to_end(layout, FakeCluster(), study, hours=0.5) == "gpu_hours: 5 of 5 used"
    assert sizes(layout) == [4, 1, 0]


def test_retries_come_first_and_count(layout: StudyLayout) -> None:
    trial = {"command": "x {{ x }}", "retries": 1, "workdir": "/"}
    study = spec(budget={"gpu_hours": 5}, trial=trial, resources=TWO_GPUS)
    create(layout, study)
    advance(layout, study, cluster := FakeCluster())
    cluster.run(loss=lambda _: "command exited with status 1")
    use(cluster, 0.5)
    advance(layout, study, cluster)
    assert [[a.trial for a in p.assignments] for p in read_history(layout).plans] == [[0, 1, 2, 3], [0]]
    cluster.run()
    use(cluster, 0.5)
    message = advance(layout, study, cluster).message
    assert message == "gpu_hours: 5 of 5 used; 3 trials were left to be tried again"


def test_elements_that_were_never_submitted_use_nothing(layout: StudyLayout) -> None:
    """There was room for two of four in the queue."""

    class Full(FakeCluster):
        def submit(self, request: Any) -> list[ArrayJob]:
            return [ArrayJob(array.job_id, 0, 2) for array in super().submit(request)]

    study = spec(budget={"gpu_hours": 4}, resources=TWO_GPUS)
    create(layout, study)
    advance(layout, study, cluster := Full())
    for index in (0, 1):
        write_attempt(layout, 0, index, index, f"100_{index}", 1.0)
    cluster.arrays["100"]["state"] = JobState.COMPLETED
    cluster.accounting = {f"100_{i}": [Usage(JobState.COMPLETED, 1800.0, 2)] for i in (0, 1)}
    advance(layout, study, cluster)
    assert [[a.trial for a in p.assignments] for p in read_history(layout).plans] == [[0, 1, 2, 3], [2, 3]]


def test_without_accounting_the_workers_records_count(layout: StudyLayout) -> None:
    study = spec(budget={"gpu_hours": 4}, resources=TWO_GPUS)
    create(layout, study)
    advance(layout, study, cluster := FakeCluster())
    cluster.run()  # two seconds each
    advance(layout, study, cluster)
    assert sizes(layout) == [4, 3]


def test_late_accounting_is_waited_for(layout: StudyLayout) -> None:
    class Lagging(FakeCluster):
        asked = 0

        def usage(self, array_ids: Any) -> Any:
            self.asked += 1
            return super().usage(array_ids) if self.asked > 2 else {}

    study = spec(budget={"gpu_hours": 4}, resources=TWO_GPUS)
    create(layout, study)
    advance(layout, study, cluster := Lagging())
    cluster.run()
    use(cluster, 0.5)
    assert advance(layout, study, cluster).message == "gpu_hours: 4 of 4 used"


def test_more_gpus_than_asked_for_are_counted(layout: StudyLayout) -> None:
    """A node given as a whole."""
    study = spec(budget={"gpu_hours": 8}, resources=TWO_GPUS)
    create(layout, study)
    advance(layout, study, cluster := FakeCluster())
    cluster.run()
    use(cluster, 0.5, gpus=4)
    assert advance(layout, study, cluster).message == "gpu_hours: 8 of 8 used"


def test_accounting_without_gpus_does_not_make_them_free(layout: StudyLayout) -> None:
    """AccountingStorageTRES without gres/gpu."""
    study = spec(budget={"gpu_hours": 4}, resources=TWO_GPUS)
    create(layout, study)
    advance(layout, study, cluster := FakeCluster())
    cluster.run()
    use(cluster, 0.5, gpus=0)
    assert advance(layout, study, cluster).message == "gpu_hours: 4 of 4 used"


def test_nothing_is_reserved_without_gpus(layout: StudyLayout) -> None:
    class Laptop(FakeCluster):
        def gpus(self, _spec: Any) -> int:
            return 0

    study = spec(budget={"gpu_hours": 1, "n_trials": 8}, resources=TWO_GPUS)
    create(layout, study)
    advance(layout, study, Laptop())
    assert sizes(layout) == [4]
    assert read_history(layout).plans[0].gpus == 0


def age(layout: StudyLayout, seconds: float) -> None:
    """Makes the study this much older."""
    path = layout.wave(0).plan
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps({**record, "created_at": record["created_at"] - seconds}))
    layout.database.unlink(missing_ok=True)


def test_no_wave_is_planned_once_the_wall_time_is_over(layout: StudyLayout) -> None:
    study = spec(budget={"wall_time": "1:00:00"})
    create(layout, study)
    cluster = FakeCluster()
    for wave in (0, 1):
        assert advance(layout, study, cluster).wave == wave
        cluster.run()
    age(layout, 3600)
    step = advance(layout, study, cluster)
    assert step.kind == "finished"
    assert step.message.startswith("wall_time: 1:00:0") and step.message.endswith("of 1:00:00 are over")


def test_patience_ends_a_study_that_does_not_improve(layout: StudyLayout) -> None:
    study = spec(budget={"patience": 6})
    create(layout, study)
    assert run_to_end(layout, FakeCluster(), study, loss=lambda _: 1.0) == "patience: no improvement in 7 trials"
    assert sizes(layout) == [4, 4, 0]


def test_patience_ends_a_study_whose_trials_all_fail(layout: StudyLayout) -> None:
    study = spec(budget={"patience": 6})
    create(layout, study)
    why = run_to_end(
        layout, FakeCluster(), study, loss=lambda p: f"command exited with status {1 + int(1000 * abs(p['x'])) % 250}"
    )
    assert why == "patience: no improvement in 8 trials"


@pytest.mark.parametrize("budget", [{"gpu_hours": 100}, {"wall_time": "1d"}, {"patience": 50}])
def test_a_random_search_without_a_number_of_trials_plans_what_can_run_at_once(
    layout: StudyLayout, budget: dict[str, Any]
) -> None:
    study = spec(budget=budget, search={"algorithm": "random", "seed": 1}, waves=BARRIER, resources=TWO_GPUS)
    create(layout, study)
    advance(layout, study, FakeCluster())
    assert sizes(layout) == [4]


def test_the_number_of_trials_is_the_reason_if_it_is_reached_first(layout: StudyLayout) -> None:
    study = spec(budget={"n_trials": 4, "gpu_hours": 4, "patience": 1}, resources=TWO_GPUS)
    create(layout, study)
    assert run_to_end(layout, FakeCluster(), study, hours=0.5) == "4 of 4 trials are done"


def test_an_exhausted_space_is_the_reason_if_it_comes_first(layout: StudyLayout) -> None:
    study = spec(
        budget={"gpu_hours": 3}, parameters={"x": {"choices": [1.0, 2.0, 3.0]}}, resources=TWO_GPUS,
        search={"algorithm": "grid"},
    )  # fmt: skip
    create(layout, study)
    assert run_to_end(layout, FakeCluster(), study, hours=0.5) == "the search space is exhausted after 3 trials"


def test_a_raised_budget_continues_the_open_trials(layout: StudyLayout) -> None:
    trial = {"command": "x {{ x }}", "retries": 1, "workdir": "/"}
    study = spec(budget={"gpu_hours": 4}, trial=trial, resources=TWO_GPUS)
    create(layout, study)
    cluster = FakeCluster()
    advance(layout, study, cluster)
    cluster.run(loss=lambda p: "no" if p["x"] == 0.5 else p["x"])
    use(cluster, 0.5)
    step = advance(layout, study, cluster)
    assert step.message == "gpu_hours: 4 of 4 used; 1 trial was left to be tried again"
    assert advance(layout, study, cluster, again=True).kind == "finished"  # nothing was raised
    raised = revise(layout, ["budget.gpu_hours=6"])
    assert advance(layout, raised, cluster, again=True).kind == "submitted"
    assert [a.trial for a in read_history(layout).plans[-1].assignments] == [0, 4]
    cluster.run()
    use(cluster, 0.5)
    assert advance(layout, raised, cluster).message == "gpu_hours: 6 of 6 used"


def test_a_budget_that_is_lowered_below_one_trial_is_refused(layout: StudyLayout) -> None:
    create(layout, spec(budget={"gpu_hours": 4}, resources=TWO_GPUS))
    with pytest.raises(SpecError, match="less than one trial may use"):
        revise(layout, ["budget.gpu_hours=0.5"])
    assert layout.revisions() == [0]
