"""An overview by the summary and the open trials is the one by all records, in every state of a study."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hposlurm import Study
from hposlurm.backend import ElementState
from hposlurm.decisions import needed_of
from hposlurm.publish import Published, publish_files
from hposlurm.records import journal as journals
from hposlurm.records.assignment import NO_TRIAL, Assignment, Settlement
from hposlurm.records.history import History, read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan, read_plan
from hposlurm.records.refill_pool import Batch, record_batch
from hposlurm.records.retry_orders import Retried, RetryOrder, record_order
from hposlurm.report.live import live_page
from hposlurm.report.overview import study_line
from hposlurm.report.progress import Progress, progress
from hposlurm.report.records import StudyRecords, read_records
from hposlurm.report.summary import read_view
from hposlurm.report.view import StudyView, view_of
from hposlurm.spec.frozen import frozen_spec
from hposlurm.trial import JobState, Outcome, TrialState
from tests.conftest import examples
from tests.refill.studies import Lab
from tests.report.live_study import live_page_of, live_study
from tests.studies import (
    BEGIN,
    SPEC,
    add_wave,
    array_id,
    assignment,
    completed,
    end,
    failed,
    make_study,
    report,
    start,
    study_of_completed,
    write_journal,
    write_log,
)

NOW = BEGIN + 50_000
ONE = SPEC.replace("n_trials: {n_trials}", "n_trials: {n_trials}, patience: 3, target: 0.2, gpu_hours: 900")
ONE += "resources: {{gpus_per_node: 2}}\n"
TWO = ONE.replace("objectives:\n", "objectives:\n  - {{name: speed, direction: maximize}}\n")
TWO += "metrics: [mem]\nconstraints: [mem <= 30]\n"


def publish(layout: StudyLayout) -> None:
    spec = frozen_spec(layout)
    publish_files(Published(layout, spec, read_history(layout, needed=needed_of(spec))))


def whole(layout: StudyLayout) -> StudyView:
    """The view by all records, without a shortcut."""
    spec = frozen_spec(layout)
    history = read_history(layout, use_database=False, needed=needed_of(spec))
    return view_of(replace(read_records(layout), history=history))


def rounded(value: Any) -> Any:
    """Sums in another order differ in the last digits."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


def shown(view: Progress) -> dict[str, Any]:
    """All that is shown but what is noticed, which is that of the last publication."""
    return rounded({**view.to_json(), "notices": ()})


def check_equal(layout: StudyLayout) -> None:
    fast, slow = read_view(layout), whole(layout)
    assert shown(progress(fast, now=NOW)) == shown(progress(slow, now=NOW))
    assert rounded(asdict(study_line(fast, NOW, {}))) == rounded(asdict(study_line(slow, NOW, {})))


def is_fast(layout: StudyLayout, monkeypatch: pytest.MonkeyPatch) -> bool:
    """True if the study is shown without reading all its records."""
    with monkeypatch.context() as patch:
        patch.setattr("hposlurm.report.summary.read_records", lambda *_: pytest.skip.Exception("all was read"))
        patch.setattr("hposlurm.report.summary.view_of", lambda _: None)
        return read_view(layout) is not None


class Story:
    """A study that goes on in random ways, as the planner and the workers leave it."""

    def __init__(self, root: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.has_two = self.random.random() < 0.5
        self.layout = make_study(root, f"demo{seed}", n_trials=40, spec=TWO if self.has_two else ONE)
        self.trials = 0
        self.plan_wave()

    @property
    def history(self) -> History:
        return read_history(self.layout, use_database=False)

    def plan_wave(self) -> None:
        history = self.history
        if history.finished:
            return
        flying = tuple(p.wave for p in history.in_flight if self.random.random() < 0.4)
        settled = [s for plan in history.in_flight if plan.wave not in flying for s in self.settlements(plan, history)]
        again = [t.number for t in history.trials if t.state is TrialState.WAITING and t.wave not in flying]
        busy = {a.trial for wave in flying for a in history.plans[wave].assignments}
        new = range(self.trials, self.trials + self.random.randint(1, 5))
        self.trials += len(new)
        is_last = self.random.random() < 0.1
        assigned = () if is_last else (*(n for n in again if n not in busy), *new)
        self.trials -= len(new) if is_last else 0
        add_wave(
            self.layout,
            assigned,
            settled=settled,
            in_flight=() if is_last else flying,
            retries=1,
            objectives=("speed", "eval_loss") if self.has_two else ("eval_loss",),
            finished=self.random.choice(["all done", "paused: trials fail"]) if is_last else None,
            paused=is_last and self.random.random() < 0.5,
            notes=(f"note {len(history.plans)}",),
            exclude=("n1",) if self.random.random() < 0.3 else (),
            time_limit_s=7200.0,
        )

    def settlements(self, plan: WavePlan, history: History) -> list[Settlement]:
        found = []
        for index, own in enumerate(plan.assignments):
            attempts = [a for a in history.trial(own.trial).attempts if a.wave == plan.wave]
            ended = attempts[-1].outcome if attempts else None
            found.append(
                Settlement(
                    trial=own.trial,
                    attempt=attempts[-1].number if attempts else None,
                    wave=plan.wave,
                    job_id=f"{array_id(plan.wave)}_{index}",
                    state=JobState.COMPLETED if ended else JobState.NODE_FAIL,
                    elapsed_s=self.random.choice([None, 1800.0, 4000.5]),
                    gpus=2,
                    outcome=None if ended else self.random.choice([Outcome.INTERRUPTED, Outcome.FAIL]),
                )
            )
        nothing = Settlement(NO_TRIAL, None, plan.wave, "9_9", JobState.COMPLETED, elapsed_s=33.3, gpus=2)
        return [*found, *([nothing] if self.random.random() < 0.3 else [])]

    def run(self) -> None:
        """Lets trials of the waves in flight report and end."""
        history = self.history
        for plan in history.in_flight:
            for index, own in enumerate(plan.assignments):
                if self.random.random() < 0.5:
                    self.run_one(plan, index, own, history)

    def run_one(self, plan: WavePlan, index: int, own: Assignment, history: History) -> None:
        number, attempts = own.trial, history.trial(own.trial).attempts
        mine = [a for a in attempts if a.wave == plan.wave and a.number >= 0]
        if mine and mine[-1].outcome is not None:
            return
        t = BEGIN + 100 * plan.wave + number
        if mine:
            attempt, records = mine[-1].number, []
        else:
            attempt = len(self.layout.trial(number).attempts())
            records = [start(number, attempt, plan.wave, index)]
            write_log(self.layout, index, "the last line\n", plan.wave)
        values = {"eval_loss": self.random.random(), "mem": self.random.choice([10.0, 20.0, 40.0])}
        values["speed"] = self.random.choice([1.0, 2.0, 3.0])
        records += [report(1, t + 10, **values)]
        fate = self.random.random()
        if fate < 0.5:
            records.append(end("complete", t + 3600 * self.random.random(), metrics=values))
        elif fate < 0.7:
            records.append(end("fail", t + 60, reason="exit status 1", tail=self.random.choice([[], ["no", "memory"]])))
        elif fate < 0.8:
            records.append({"kind": "note", "t": t, "text": self.random.choice(["one GPU is idle", "old driver"])})
        write_journal(self.layout, number, records, attempt)
        if self.random.random() < 0.1:
            with self.layout.trial(number).journal(attempt).open("ab") as file:
                file.write(b"{broken\n")

    def retry(self) -> None:
        gone = [t for t in self.history.trials if t.state is TrialState.FAIL]
        if gone:
            trial = self.random.choice(gone)
            again = Retried(trial.number, tuple(a.number for a in trial.attempts))
            record_order(self.layout, RetryOrder(BEGIN + 7, (again,)))

    def publish(self) -> None:
        publish(self.layout)

    def stop(self) -> None:
        self.layout.stop.touch()

    def lose(self) -> None:
        self.layout.database.unlink(missing_ok=True)

    def step(self) -> None:
        choices: list[tuple[Callable[[], None], int]] = [
            (self.run, 8),
            (self.publish, 6),
            (self.plan_wave, 4),
            (self.retry, 1),
            (self.stop, 1),
            (self.lose, 1),
        ]
        self.random.choices([act for act, _ in choices], [weight for _, weight in choices])[0]()


@settings(max_examples=examples(10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_an_overview_by_the_summary_is_the_one_by_all_records(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    story = Story(tmp_path_factory.mktemp("story"), seed)
    for _ in range(12):
        story.step()
        check_equal(story.layout)


def test_a_study_without_new_records_is_shown_by_its_summary_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = study_of_completed(tmp_path, 12)
    add_wave(layout, (), finished="all done")
    publish(layout)
    for path in layout.trials.iterdir():
        for journal in path.iterdir():
            journal.unlink()
    layout.database.unlink()
    assert is_fast(layout, monkeypatch)
    view = progress(read_view(layout), now=NOW)
    assert (view.counts[TrialState.COMPLETE], view.phase, view.best and view.best.trial) == (12, "finished", 0)


def test_only_the_journals_of_open_trials_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = study_of_completed(tmp_path, 12)
    add_wave(layout, range(12, 16))  # in flight, so that all of its trials are looked at
    write_journal(layout, 12, [start(12, wave=1, index=0), report(1, BEGIN, eval_loss=9.0)])
    write_journal(layout, 15, completed(15, 8.0, wave=1))
    publish(layout)
    write_journal(layout, 12, [report(2, BEGIN, eval_loss=0.5), end("complete", metrics={"eval_loss": 0.5})])
    write_journal(layout, 13, [start(13, wave=1, index=1), report(7, BEGIN, eval_loss=3.0)])
    read: list[int] = []
    from hposlurm.records import history

    real = history._read_on
    monkeypatch.setattr(history, "_read_on", lambda trial, *more: read.append(trial.number) or real(trial, *more))
    view = progress(read_view(layout), now=NOW)
    assert sorted(read) == [12, 13, 14]
    assert view.best is not None and (view.best.trial, view.counts[TrialState.COMPLETE]) == (12, 14)
    assert [run.step for run in view.running] == [7]


def test_a_refill_wave_is_shown_with_what_was_added_to_its_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(3), elements=9, ahead=2)
    write_journal(layout, 0, completed(0, 0.5))
    publish(layout)
    record_batch(layout.wave(0), Batch(0, 3, BEGIN, (assignment(3), assignment(4)), notes=("slow",)))
    write_journal(layout, 3, completed(3, 0.25))
    assert is_fast(layout, monkeypatch)
    check_equal(layout)
    assert progress(read_view(layout), now=NOW).notes == ("slow",)
    publish(layout)
    record_batch(layout.wave(0), Batch(0, 5, BEGIN, over="the budget is spent"))
    assert is_fast(layout, monkeypatch) and read_view(layout).history.plans[0].over
    check_equal(layout)


def test_the_planner_and_refill_publish_summaries_that_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(tmp_path)
    assert is_fast(lab.layout, monkeypatch)
    lab.start(0)
    check_equal(lab.layout)


CHANGES: dict[str, Callable[[StudyLayout], object]] = {
    "the spec": lambda layout: layout.spec().write_text(layout.spec().read_text() + "# changed\n"),
    "an order": lambda layout: record_order(layout, RetryOrder(BEGIN, (Retried(2, (0,)),))),
    "a settlement": lambda layout: add_wave(
        layout, (9,), settled=[Settlement(1, 0, 0, "100_1", JobState.COMPLETED, elapsed_s=9.0, gpus=2)]
    ),
    "another number of retries": lambda layout: add_wave(layout, (9,), retries=5),
    "a plan": lambda layout: layout.wave(1).plan.write_text(layout.wave(1).plan.read_text() + " "),
    "another format": lambda layout: changed(layout, format=99),
    "no format": lambda layout: layout.summary.write_text("{}"),
    "text": lambda layout: layout.summary.write_text("[1"),
    "fewer trials": lambda layout: changed(layout, final=[[0, 1]]),
    "huge numbers": lambda layout: changed(layout, final=[[0, 10**17]]),
    "plans of another kind": lambda layout: changed(layout, plans=[7]),
    "no plans": lambda layout: changed(layout, plans=[]),
    "a key that is unknown": lambda layout: changed(layout, more=1),
    "no summary": lambda layout: layout.summary.unlink(),
}


def changed(layout: StudyLayout, **values: Any) -> None:
    layout.summary.write_text(json.dumps({**json.loads(layout.summary.read_text()), **values}))


@pytest.mark.parametrize("change", CHANGES)
def test_a_summary_that_is_damaged_or_out_of_date_is_as_none(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = study_of_completed(tmp_path, 3)
    write_journal(layout, 2, failed(2, attempt=1), attempt=1)
    add_wave(layout, range(3, 5))
    publish(layout)
    assert is_fast(layout, monkeypatch)
    CHANGES[change](layout)
    assert not is_fast(layout, monkeypatch)
    check_equal(layout)


def test_a_pipe_in_the_place_of_the_summary_is_not_waited_for(tmp_path: Path) -> None:
    import os

    layout = study_of_completed(tmp_path, 3)
    os.mkfifo(layout.summary)
    check_equal(layout)


def test_a_summary_has_no_commands(tmp_path: Path) -> None:
    layout = study_of_completed(tmp_path, 3)
    add_wave(layout, range(3, 5))
    publish(layout)
    assert "echo" not in layout.summary.read_text() and read_plan(layout.wave(1)).assignments[0].command


def test_a_disk_without_room_leaves_the_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = study_of_completed(tmp_path, 3)

    def full(*_args: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hposlurm.report.summary.publish", full)
    spec = frozen_spec(layout)
    failures = publish_files(Published(layout, spec, read_history(layout)))
    assert len(failures) == 1 and "summary.json" in failures[0] and layout.database.exists()


def test_without_a_summary_status_reads_each_record_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = study_of_completed(tmp_path, 3)
    add_wave(layout, range(3, 5))
    read: list[int] = []
    real = journals.blocks

    def counted(path: Path, offset: int = 0, *more: Any) -> Iterator[bytes]:
        for block in real(path, offset, *more):
            read.append(len(block))
            yield block

    monkeypatch.setattr(journals, "blocks", counted)
    study = Study.open(layout.root)
    monkeypatch.setattr(study, "_on", lambda _: Answering())
    assert study.status().counts[TrialState.COMPLETE] == 3
    assert sum(read) == sum(path.stat().st_size for path in layout.trials.glob("*/attempt-*"))


class Answering:
    """A queue that knows every job."""

    def states(self, jobs: Sequence[str]) -> dict[str, ElementState]:
        return {job: ElementState(JobState.RUNNING) for job in jobs}


def test_a_watched_study_is_read_by_its_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = study_of_completed(tmp_path, 3)
    add_wave(layout, (3,))
    write_journal(layout, 3, [start(3, t=NOW - 9, wave=1), report(1, NOW, eval_loss=0.5)])
    publish(layout)
    records = read_records(layout)
    study = Study.open(layout.root)
    monkeypatch.setattr("hposlurm.report.summary.read_records", None)
    seen, view = next(study.looks())
    page = live_page(seen, view, study.spec)
    whole_page = live_page(progress(records, now=NOW), records, study.spec)
    assert [(one.curve, one.end_step) for one in page.running] == [((0.5,), None)]
    assert page.rungs == () and len(whole_page.running) == 1
    same = replace(page, progress=whole_page.progress, running=whole_page.running)
    assert same == whole_page and [time_left(view), time_left(records)] == [time_left(view)] * 2


def time_left(seen: StudyRecords | StudyView) -> float | None:
    spec = frozen_spec(seen.layout)
    (one,) = live_page(progress(seen, now=NOW), seen, spec).running
    return None if one.left_s is None else round(one.left_s, 6)


def test_rungs_of_a_watched_study_are_those_of_all_trials(tmp_path: Path) -> None:
    layout = live_study(tmp_path)
    publish(layout)
    seen, records = next(Study.open(layout.root).looks())
    page = live_page(seen, records, frozen_spec(layout))
    assert page.rungs == live_page_of(layout).rungs and page.rungs[0].reached > 4
