"""What is told of a trial and of a study, on simulated studies of every algorithm."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hposlurm.errors import RequestError
from hposlurm.records.files import to_json
from hposlurm.records.layout import StudyLayout
from hposlurm.report.explain import explain_study, explain_trial
from hposlurm.report.explain_text import study_text, trial_text
from hposlurm.trial import TrialState
from tests.report.played import RUNGS, played, replay

MUTABLE = {name: {"type": "float", "min": 0.0, "max": 1.0, "mutable": True} for name in "xy"}
PBT = {"algorithm": "pbt", "population_size": 6, "perturbation_interval": 3, "max_resource": 9}


@pytest.mark.parametrize("mode", ["barrier", "overlap", "refill"])
@pytest.mark.parametrize("algorithm", ["auto", "asha", "bohb"])
def test_every_decision_is_made_again_the_same(tmp_path: Path, algorithm: str, mode: str) -> None:
    """With the clocks of a simulation, even where other waves were running."""
    directory, found = played(tmp_path, {"algorithm": algorithm, **RUNGS}, 25, mode)
    records = replay(directory)
    told = [explain_trial(records, trial.number) for trial in found.history.trials]
    assert {stage.agrees for one in told for stage in one.stages} == {True}
    assert {one.verdict_agrees for one in told if one.verdict} <= {True}
    assert any(one.verdict for one in told) == (algorithm == "bohb")
    sent_on = [stage for one in told for stage in one.stages[1:]]
    assert len(sent_on) > 5 and all("rung" in stage.why or "let through" in stage.why for stage in sent_on)


@pytest.mark.parametrize(
    "search", [{"algorithm": "asha_stopping", **RUNGS}, {"algorithm": "median", "warmup_trials": 3}]
)
def test_a_trial_that_a_rule_stopped_at_a_report_is_told_why(tmp_path: Path, search: dict[str, Any]) -> None:
    directory, found = played(tmp_path, search, 25, "refill")
    records = replay(directory)
    stopped = [t.number for t in found.history.trials if t.state is TrialState.PRUNED]
    told = {number: explain_trial(records, number) for number in stopped}
    assert len(told) > 3 and all(one.decisions[-1].decision.stops for one in told.values())
    assert {story.agrees for one in told.values() for story in one.decisions} == {True}
    one = max(told.values(), key=lambda one: len(one.decisions[-1].decision.others))
    last = one.decisions[-1].decision
    assert f"stopped: {last.reason} (against {len(last.others)} trials)" in trial_text(one)
    for other in last.others:  # as if all of them had reported far worse values
        journal = records.layout.trial(other).journal(0)
        journal.write_text(re.sub(r'"loss": ?[0-9.e-]+', '"loss":99.0', journal.read_text()))
    assert explain_trial(replay(directory), one.trial).decisions[-1].agrees is False
    for other in last.others:
        records.layout.trial(other).journal(0).unlink()
    assert explain_trial(replay(directory), one.trial).decisions[-1].agrees is None


def test_a_decision_whose_reason_another_version_worded_differently_still_agrees(tmp_path: Path) -> None:
    directory, found = played(tmp_path, {"algorithm": "asha_stopping", **RUNGS}, 25, "refill")
    records = replay(directory)
    number = next(t.number for t in found.history.trials if t.state is TrialState.PRUNED)
    own = records.layout.trial(number).journal(0)
    own.write_text(re.sub(r'"reason": ?"rung', '"reason":"an older rung', own.read_text()))
    stories = explain_trial(replay(directory), number).decisions
    assert stories and all(s.agrees and s.decision.reason.startswith("an older rung") for s in stories)


def test_a_decision_that_does_not_follow_from_the_records_is_found_out(tmp_path: Path) -> None:
    directory, found = played(tmp_path, {"algorithm": "asha", **RUNGS})
    wave, a = next((p.wave, a) for p in found.history.plans for a in p.assignments if a.stage == 1)
    records = replay(directory)
    assert explain_trial(records, a.trial).stages[1].agrees is True
    journal = records.layout.trial(a.trial).journal(0)  # as if another, far worse value had been reported
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    worse = [{**line, "metrics": {"loss": 99.0}} if line["kind"] in ("report", "end") else line for line in lines]
    journal.write_text("".join(json.dumps(line) + "\n" for line in worse))
    story = explain_trial(replay(directory), a.trial)
    assert story.stages[1].wave == wave and story.stages[1].agrees is False
    assert "NOT the same" in trial_text(story)


def test_a_stage_that_started_from_nothing_is_told_so(tmp_path: Path) -> None:
    directory, found = played(tmp_path, {"algorithm": "asha", **RUNGS})
    trial = next(t for t in found.history.trials if len(t.stages) > 1)
    assert explain_trial(replay(directory), trial.number).stages[1].start == ""
    number = next(a.number for a in trial.attempts if a.stage == 1)
    journal = StudyLayout(directory).trial(trial.number).journal(number)
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    begun = next(line for line in lines if line["kind"] == "start")
    again = {**next(line for line in lines if line["kind"] == "report"), "step": 1}
    others = [line for line in lines if line is not begun]
    text = "".join(json.dumps(line) + "\n" for line in ({**begun, "resumed_from": None}, again, *others))
    journal.write_text(text)
    story = explain_trial(replay(directory), trial.number)
    assert story.stages[1].start == "started from nothing at step 1, not after step 1: it had no checkpoint"
    assert story.stages[1].start in trial_text(story)


def test_with_other_waves_in_flight_nobody_says_that_a_decision_was_wrong(tmp_path: Path) -> None:
    directory, found = played(tmp_path, {"algorithm": "asha", **RUNGS})
    a = next(a for plan in found.history.plans for a in plan.assignments if a.stage == 1)
    for plan in found.history.plans:  # what was known then is not what was decided by
        changed = replace(plan, in_flight=tuple(range(plan.wave)), created_at=plan.created_at - 1e6)
        StudyLayout(directory).wave(plan.wave).plan.write_bytes(to_json(changed.to_json()))
    assert explain_trial(replay(directory), a.trial).stages[1].agrees is None


def test_a_loser_is_told_its_rung_place_and_threshold(tmp_path: Path) -> None:
    directory, found = played(tmp_path, {"algorithm": "successive_halving", **RUNGS})
    loser = next(t for t in found.history.trials if t.state is TrialState.PRUNED and len(t.stages) == 2)
    story = explain_trial(replay(directory), loser.number)
    at = [t for t in found.history.trials if len(t.stages) >= 2 and t.attrs["bracket"] == loser.attrs["bracket"]]
    place = sorted((dict(_curve(t))[3], t.number) for t in at).index((dict(_curve(loser))[3], loser.number)) + 1
    assert story.verdict.startswith(f"rung 3: loss {dict(_curve(loser))[3]:.6g}, place {place} of {len(at)}")
    assert f"ended:   by the search in the plan of wave {story.verdict_wave}: rung 3" in trial_text(story)
    assert f"in bracket {loser.attrs['bracket']}" in story.origin


def test_a_trial_that_waits_is_told_where_it_stands_now(tmp_path: Path) -> None:
    directory, found = played(tmp_path, {"algorithm": "asha", **RUNGS})
    waiting = [t for t in found.history.trials if t.state is TrialState.PAUSED and t.stages[-1].to_step == 1]
    worst = max(waiting, key=lambda t: dict(_curve(t))[1])
    story = explain_trial(replay(directory), worst.number)
    assert story.standing.startswith("rung 1: loss") and "place 40 of 40, the best 13 go on" in story.standing


@pytest.mark.parametrize("until_s", [5.0, 30.0])
def test_a_trial_that_waits_in_a_bracket_is_told_how_many_will_go_on_from_it(tmp_path: Path, until_s: float) -> None:
    """Also while the bracket is being filled: of the nine and five that start in Hyperband's, three and one go on."""
    search, waves = {"algorithm": "hyperband", **RUNGS}, {"size": 4}
    directory, found = played(tmp_path, search, 40, until_s=until_s, waves=waves)
    waiting = [t for t in found.history.trials if t.state is TrialState.PAUSED]
    assert waiting
    for trial in waiting:
        first = [1, 3][int(str(trial.attrs["bracket"])) % 3]
        story = explain_trial(replay(directory), trial.number)
        assert story.standing.startswith(f"rung {first}: loss")
        assert (", the best 3 go on" if first == 1 else ", the best goes on") in story.standing


def test_of_a_bracket_that_the_study_does_not_fill_as_many_go_on_as_its_own_third(tmp_path: Path) -> None:
    directory, found = played(tmp_path, {"algorithm": "successive_halving", **RUNGS}, 6, until_s=3.0, waves={"size": 4})
    waiting = [t for t in found.history.trials if t.state is TrialState.PAUSED]
    assert len(found.history.trials) == 6 and waiting  # of the nine that it has room for
    assert all(", the best 2 go on" in explain_trial(replay(directory), t.number).standing for t in waiting)


def test_a_trial_that_auto_keeps_waiting_is_told_where_it_stands(tmp_path: Path) -> None:
    """Its lowest rung is another one than ASHA's where only the end is given: 2 of 40."""
    directory, found = played(tmp_path, {"algorithm": "auto", "max_resource": 40}, 40)
    waiting = [t for t in found.history.trials if t.state is TrialState.PAUSED]
    assert waiting
    for trial in waiting:
        assert explain_trial(replay(directory), trial.number).standing.startswith("rung ")


@pytest.mark.parametrize(("until_s", "words"), [(1.2, "none goes on so far"), (None, "the best goes on (threshold")])
def test_of_too_few_none_goes_on_until_nobody_else_comes(tmp_path: Path, until_s: float | None, words: str) -> None:
    directory, found = played(tmp_path, {"algorithm": "asha", **RUNGS}, 2, until_s=until_s)
    told = [explain_trial(replay(directory), t.number) for t in found.history.trials if t.state is TrialState.PAUSED]
    (story,) = told
    assert words in story.standing


def test_what_a_line_is_about_never_touches_what_is_said(tmp_path: Path) -> None:
    directory, _ = played(tmp_path, {"algorithm": "asha", **RUNGS}, 3)
    story = explain_trial(replay(directory), 0)
    text = trial_text(replace(story, stages=[replace(stage, wave=223) for stage in story.stages]))
    assert re.search(r"^wave 223: from step 0", text, re.MULTILINE)
    assert re.search(r"^point:    \S", text, re.MULTILINE)  # in the same column


def test_a_copy_is_told_its_ancestors(tmp_path: Path) -> None:
    directory, found = played(tmp_path, PBT, None, parameters=MUTABLE)
    copy = max((t for t in found.history.trials if "parent" in t.attrs), key=lambda t: t.number)
    story = explain_trial(replay(directory), copy.number)
    assert [leg.trial for leg in story.lineage[-2:]] == [copy.attrs["parent"], copy.number]
    assert story.lineage[-1].step == copy.attrs["parent_step"] and story.lineage[0].step == 0
    assert f"trained from step {story.lineage[-1].step} on as trial {copy.number}" in trial_text(story)
    assert "replaced by a copy of trial" in story.stages[0].why and story.stages[0].agrees
    replaced = explain_trial(replay(directory), int(str(copy.attrs["replaces"])))
    assert replaced.verdict == story.stages[0].why and replaced.verdict_agrees


def test_where_points_came_from(tmp_path: Path) -> None:
    enqueue = [{"x": 0.5, "y": 0.25}]
    directory, found = played(tmp_path, {"algorithm": "auto", "enqueue": enqueue, **RUNGS})
    records = replay(directory)
    told = [explain_trial(records, trial.number).origin for trial in found.history.trials]
    assert told[0] == "given by search.enqueue"
    assert {"drawn at random", "proposed by a Gaussian process over all rungs"} <= set(told)
    about = explain_study(records)
    assert sum(about.origins.values()) == 40 and about.origins["enqueue"] == 1
    assert f"{about.origins['gp']} gp" in study_text(about)


def test_the_study_is_told_what_its_rungs_are_worth(tmp_path: Path) -> None:
    directory, found = played(tmp_path, {"algorithm": "auto", **RUNGS}, 60)
    about = explain_study(replay(directory))
    assert about.premise is not None and about.premise.is_fair
    through = [t for t in found.history.trials if t.attrs.get("through") and t.state is TrialState.COMPLETE]
    assert [(rung.step, rung.pairs) for rung in about.premise.rungs] == [(1, len(through)), (3, len(through))]
    assert [rung.correlation for rung in about.premise.rungs] == [pytest.approx(1.0)] * 2  # the order never changes
    assert about.premise.lowest == 1 and about.notes == {}
    assert "rank correlation with the end 1.00" in study_text(about)


def test_what_promoted_trials_say_of_the_rungs_is_called_unfair(tmp_path: Path) -> None:
    directory, _ = played(tmp_path, {"algorithm": "asha", **RUNGS}, 80)
    about = explain_study(replay(directory))
    assert about.premise is not None and not about.premise.is_fair
    assert "among those that were promoted because they were good" in about.premise.text
    assert about.premise.rungs[0].reached == 80 and about.premise.rungs[0].sent_on >= 26


def test_a_study_without_rungs_has_no_premise(tmp_path: Path) -> None:
    directory, _ = played(tmp_path, {"algorithm": "tpe"}, 12)
    records = replay(directory)
    assert explain_study(records).premise is None
    assert "rungs:   none" in study_text(explain_study(records))
    assert {stage.agrees for n in range(12) for stage in explain_trial(records, n).stages} == {True}


def test_an_unknown_trial_is_a_wrong_request(tmp_path: Path) -> None:
    directory, _ = played(tmp_path, {"algorithm": "random"}, 3)
    with pytest.raises(RequestError, match="no trial 7"):
        explain_trial(replay(directory), 7)


def _curve(trial) -> list[tuple[int, float]]:
    return [(report.step, float(report.metrics["loss"])) for report in trial.reports]


def test_a_rule_that_looks_at_every_report_is_said_to_have_no_rungs(tmp_path: Path) -> None:
    directory, _ = played(tmp_path, {"algorithm": "median", "max_resource": 9})
    text = study_text(explain_study(replay(directory)))
    assert "step 3:" in text and "went on; rank correlation" in text and "not stopped)" in text
    assert "rung 3:" not in text and "sent on" not in text
