"""Reading the history: from the journals, or from the database and the tails behind it, always the same."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hposlurm.errors import RequestError, StudyError
from hposlurm.records.assignment import Settlement
from hposlurm.records.history import History, read_history, with_settlements
from hposlurm.records.layout import StudyLayout
from hposlurm.records.ranking import best, pareto_front, ranked
from hposlurm.space.expressions import parse
from hposlurm.space.metric_constraints import Limits
from hposlurm.trial import Direction, JobState, Objective, Outcome, Trial, TrialState
from tests.studies import (
    BEGIN,
    add_wave,
    assignment,
    completed,
    end,
    failed,
    make_study,
    publish,
    report,
    start,
    study_of_completed,
    write_journal,
)

LOSS = Objective("eval_loss")


def test_a_study_without_a_plan_has_an_empty_history(tmp_path: Path) -> None:
    history = read_history(make_study(tmp_path))
    assert (history.plans, history.trials, history.objectives, history.finished) == ((), (), (), None)
    assert best(history, [LOSS]) is None


def test_the_history_has_every_planned_trial_with_its_state(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(4))
    write_journal(layout, 0, completed(0, 2.0))
    write_journal(layout, 1, failed(1))
    write_journal(layout, 2, [start(2)])
    history = read_history(layout)
    assert [t.state for t in history.trials] == [
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.RUNNING,
        TrialState.WAITING,
    ]
    assert history.counts()[TrialState.COMPLETE] == 1
    assert history.counts()[TrialState.PRUNED] == 0
    assert history.gpu_hours == pytest.approx(2 * 3600 / 3600 + 2 * 60 / 3600)


def test_a_retried_trial_keeps_its_first_wave_and_counts_attempts(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0], retries=1)
    write_journal(layout, 0, failed(0))
    add_wave(layout, [0, 1], retries=1)
    write_journal(layout, 0, completed(0, 1.0, attempt=1, wave=1), attempt=1)
    trial = read_history(layout).trial(0)
    assert (trial.wave, len(trial.attempts), trial.state) == (0, 2, TrialState.COMPLETE)


def test_a_torn_last_line_is_read_once_it_is_whole(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    path = write_journal(layout, 0, [start(0)])
    with path.open("ab") as file:
        file.write(b'{"kind":"report","t":1.0,"step":1,')
        file.flush()
        assert read_history(layout).trial(0).reports == ()
        publish(layout, "sqlite")
        file.write(b'"metrics":{"eval_loss":1.5}}\n')
    assert read_history(layout).trial(0).reports[0].metrics == {"eval_loss": 1.5}


def test_an_unknown_trial_is_refused_with_the_range(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(3))
    with pytest.raises(RequestError, match="no trial 3; the study's trials: 0 to 2"):
        read_history(layout).trial(3)
    with pytest.raises(RequestError, match="none yet"):
        History().trial(0)


def test_a_damaged_plan_is_an_error_and_not_an_empty_study(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    layout.wave(0).plan.write_text("{")
    with pytest.raises(StudyError, match=r"wave\.json is damaged"):
        read_history(layout)


def test_final_trials_of_the_database_need_no_file_access(tmp_path: Path) -> None:
    layout = study_of_completed(tmp_path, 3)
    history = read_history(layout)
    publish(layout, "sqlite", history=history)
    for number in range(3):
        layout.trial(number).journal(0).unlink()
    assert read_history(layout) == history
    assert read_history(layout, use_database=False) != history


def test_a_failed_trial_that_is_planned_again_is_looked_at_again(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    write_journal(layout, 0, failed(0))
    publish(layout, "sqlite")
    assert read_history(layout).trial(0).state is TrialState.FAIL
    add_wave(layout, [0], retries=0)
    write_journal(layout, 0, completed(0, 1.0, attempt=1, wave=1), attempt=1)
    assert read_history(layout).trial(0).state is TrialState.COMPLETE


def test_a_failed_trial_that_slurm_requeues_is_looked_at_again(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    write_journal(layout, 0, failed(0))
    publish(layout, "sqlite")
    write_journal(layout, 0, completed(0, 1.0, attempt=1), attempt=1)
    add_wave(layout, [1])  # the wave has ended by now, but it had not when the database was published
    assert read_history(layout).trial(0).state is TrialState.COMPLETE


def test_failed_trials_of_an_ended_wave_need_no_file_access(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    path = write_journal(layout, 0, failed(0))
    add_wave(layout, [1])
    history = read_history(layout)
    publish(layout, "sqlite", history=history)
    path.unlink()
    assert read_history(layout) == history


def test_settlements_that_are_not_recorded_yet_can_be_looked_at(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0, 1])
    write_journal(layout, 0, [start(0)])
    settled = [Settlement(0, 0, 0, "100_0", JobState.OUT_OF_MEMORY, 60.0, 2, Outcome.FAIL, "out of memory")]
    history = read_history(layout)
    after = with_settlements(history, settled)
    assert (after.trial(0).state, after.trial(1)) == (TrialState.FAIL, history.trial(1))
    add_wave(layout, [2], settled=settled)
    assert read_history(layout).trial(0) == after.trial(0)


# ---- the database and the tails give what the journals alone give ----

ATTEMPT_ENDS = st.sampled_from(["complete", "fail", "interrupted", None])
METRICS = st.dictionaries(
    st.sampled_from(["eval_loss", "f1", "note"]),
    st.one_of(st.floats(-1e6, 1e6), st.integers(-5, 5), st.sampled_from(["nan", "inf", "fp16", "é"])),
    min_size=1,
    max_size=3,
)


@st.composite
def attempts(draw: st.DrawFn) -> list[tuple[int, list[bytes]]]:
    """The lines of a trial's journals, as (attempt, line), in the order in which they were written."""
    lines = []
    for number in range(draw(st.integers(0, 3))):
        records: list[Any] = [start(0, number)] if draw(st.integers(0, 9)) else []
        for step in draw(st.lists(st.integers(0, 4), max_size=4)):
            records.append(report(step, BEGIN + draw(st.floats(0, 100)), **draw(METRICS)))
        outcome = draw(ATTEMPT_ENDS)
        if outcome:
            metrics = draw(METRICS)
            records.append(end(outcome, BEGIN + 200, metrics=metrics, tail=["last", "words"], reason="why"))
        lines += [(number, record) for record in records]
        if draw(st.integers(0, 9)) == 0:
            lines.insert(0 if not lines else len(lines) - 1, (number, "{broken"))
        if outcome == "complete":
            break
    return lines


SETTLED = st.lists(
    st.builds(
        Settlement,
        trial=st.integers(0, 2),
        attempt=st.one_of(st.none(), st.integers(0, 2)),
        wave=st.just(0),
        job_id=st.just("100_0"),
        state=st.sampled_from([JobState.NODE_FAIL, JobState.OUT_OF_MEMORY]),
        elapsed_s=st.one_of(st.none(), st.floats(0, 100)),
        gpus=st.sampled_from([2, 8]),
        outcome=st.one_of(st.none(), st.sampled_from([Outcome.FAIL, Outcome.INTERRUPTED, Outcome.DROPPED])),
        reason=st.sampled_from(["", "settled"]),
    ),
    max_size=4,
)


def write_line(layout: StudyLayout, trial: int, number: int, record: Any) -> None:
    if isinstance(record, dict):
        write_journal(layout, trial, [record], number)
        return
    path = layout.trial(trial).journal(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(f"{record}\n")


# A journal without its start record says nothing of GPUs; what the accounting said must not be taken for its own words.
NO_START = [(0, "{broken"), (0, end("complete", BEGIN + 200, metrics={"eval_loss": 0.0}))]
SETTLED_LATE = Settlement(0, 0, 0, "100_0", JobState.NODE_FAIL, 10.0, 2, None, "")


@settings(max_examples=25)
@example(journals=[NO_START], cut=0.0, settled=[SETTLED_LATE], is_settled_before=False, retries=0)
@example(journals=[NO_START], cut=0.5, settled=[SETTLED_LATE], is_settled_before=True, retries=0)
@given(
    journals=st.lists(attempts(), min_size=1, max_size=3),
    cut=st.floats(0, 1),
    settled=SETTLED,
    is_settled_before=st.booleans(),
    retries=st.integers(0, 2),
)
def test_the_database_and_the_tails_give_what_the_journals_alone_give(
    journals: list[list[tuple[int, Any]]],
    cut: float,
    settled: list[Settlement],
    is_settled_before: bool,
    retries: int,
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        layout = make_study(Path(directory))
        add_wave(layout, range(3), retries=retries)
        if is_settled_before:
            add_wave(layout, range(4), settled=settled, retries=retries)  # planned again: more may be written
        lines = [(trial, *line) for trial, journal in enumerate(journals) for line in journal]
        middle = round(cut * len(lines))
        for line in lines[:middle]:
            write_line(layout, *line)
        publish(layout, "sqlite")
        assert read_history(layout) == read_history(layout, use_database=False)
        for line in lines[middle:]:
            write_line(layout, *line)
        if not is_settled_before:
            add_wave(layout, [3], settled=settled, retries=retries)
        whole = read_history(layout, use_database=False)
        assert read_history(layout) == whole
        publish(layout, "sqlite")
        assert read_history(layout) == whole


# ---- ranking ----


def trial(number: int, *values: float) -> Trial:
    return Trial(number, {}, "", 0, 0, TrialState.COMPLETE, values=values)


def test_the_best_comes_first_in_the_objectives_direction() -> None:
    trials = [trial(0, 2.0), trial(1, 1.0), trial(2, 3.0), trial(3, 1.0)]
    assert [t.number for t in ranked(trials, [LOSS])] == [1, 3, 0, 2]
    assert [t.number for t in ranked(trials, [Objective("f1", Direction.MAXIMIZE)])] == [2, 0, 1, 3]


def test_trials_that_did_not_complete_are_not_ranked() -> None:
    assert ranked([Trial(0, {}, "", 0, 0, TrialState.FAIL), Trial(1, {}, "", 0, 0, TrialState.RUNNING)], [LOSS]) == []


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_with_two_objectives_what_nothing_beats_comes_first(points: list[tuple[int, int]]) -> None:
    goals = [LOSS, Objective("f1", Direction.MAXIMIZE)]
    order = ranked([trial(n, float(a), float(b)) for n, (a, b) in enumerate(points)], goals)
    assert sorted(t.number for t in order) == list(range(len(points)))

    def beats(one: Trial, other: Trial) -> bool:
        (a, b), (c, d) = one.values or (), other.values or ()
        return a <= c and b >= d and (a, b) != (c, d)

    beaten = [any(beats(one, other) for one in order) for other in order]
    assert beaten == sorted(beaten)
    front = [t for t, is_beaten in zip(order, beaten, strict=True) if not is_beaten]
    assert all((a.values or ())[0] <= (b.values or ())[0] for a, b in itertools.pairwise(front))
    assert pareto_front(order, goals) == front
    limits = Limits((parse("n >= 6"),), frozenset())
    allowed = [replace(t, params={"n": t.number}) for t in order]
    kept = [t for t in allowed if t.number >= 6]
    assert pareto_front(allowed, goals, limits) == pareto_front(kept, goals)


def test_several_objectives_must_all_be_reported(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [assignment(0), assignment(1)], objectives=("eval_loss", "f1"))
    write_journal(layout, 0, completed(0, 1.0, f1=0.5))
    write_journal(layout, 1, completed(1, 1.0))
    history = read_history(layout)
    assert history.objectives == ("eval_loss", "f1")
    assert (history.trial(0).values, history.trial(1).state) == ((1.0, 0.5), TrialState.FAIL)
