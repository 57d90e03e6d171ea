"""The data of the page: what it says of studies of all kinds."""

from __future__ import annotations

import itertools
import json
import statistics
from dataclasses import fields
from pathlib import Path

import pytest

from hposlurm import Study
from hposlurm.records.layout import StudyLayout
from hposlurm.report.page.html import data_json
from hposlurm.report.page.shortening import indexed, kept_points, short
from hposlurm.report.page.study_page import StudyPage, study_page
from hposlurm.report.records import read_records
from tests import studies
from tests.report.played import RUNGS, played

FORMAT_1 = Path(__file__).parents[2] / "data" / "format-1"
NOW = studies.BEGIN + 10_000


def page(layout: StudyLayout, now: float = NOW) -> StudyPage:
    return study_page(read_records(layout), now)


@pytest.mark.parametrize("name", ["asha-local", "slurm-causes", "slurm-parts", "slurm-refill"])
def test_studies_of_older_versions_have_a_page(name):
    found = page(StudyLayout(FORMAT_1 / name), 1_800_000_000.0)
    assert json.loads(data_json(found))["trials"]["number"] == list(found.trials.number)
    columns = [getattr(found.trials, field.name) for field in fields(found.trials)]
    assert {len(c) for c in columns if isinstance(c, tuple) and c and not hasattr(c[0], "rows")} - {
        len(found.trials.objectives)
    } == {len(found.trials.number)}


def test_a_study_without_any_trial_that_ended_has_a_page(tmp_path):
    layout = studies.make_study(tmp_path)
    assert page(layout).trials.number == ()
    studies.add_wave(layout, range(2))
    found = page(layout)
    assert found.head.best is None and found.timeline is None and found.best_so_far == () and found.importance == ()
    assert dict(found.head.counts) == {"WAITING": 2}


def test_the_head_has_the_best_trial_and_what_the_hours_went_into(tmp_path):
    layout = studies.make_study(tmp_path)
    studies.add_wave(layout, range(3))
    studies.write_journal(layout, 0, studies.completed(0, 1.5))
    studies.write_journal(layout, 1, studies.completed(1, 1.25))
    studies.write_journal(layout, 2, studies.failed(2))
    head = page(layout).head
    assert head.best is not None and head.best.trial == 1 and dict(head.best.values) == {"eval_loss": 1.25}
    assert dict(head.best.params) == {"bs": "2", "lr": "2e-05"}
    assert dict(head.costs) == {"completed trials": 4.0, "failed": pytest.approx(2 / 60, abs=1e-5)}


def test_the_best_the_step_of_it_and_the_final_value_are_three_columns(tmp_path):
    layout = studies.make_study(tmp_path)
    studies.add_wave(layout, [0])
    losses = [(1, 3.0), (2, 1.0), (3, 2.0)]
    reports = [studies.report(step, studies.BEGIN + step, eval_loss=loss) for step, loss in losses]
    studies.write_journal(layout, 0, [studies.start(0), *reports, studies.end("complete", metrics={"eval_loss": 2.0})])
    (goal,) = page(layout).trials.objectives
    assert (goal.best, goal.best_step, goal.final) == ((1,), (2,), (2,))
    assert goal.counted == (2,) and goal.report == "last"


def test_best_and_final_values_are_those_of_the_table_where_an_attempt_began_again(tmp_path):
    layout = studies.make_study(tmp_path)
    studies.add_wave(layout, range(2))
    for number, second in ((0, [(1, 2.0), (2, 1.0)]), (1, [(2, 2.0), (3, "nan")])):
        for attempt, (losses, how) in enumerate(
            [([(1, 3.0), (2, 0.5), (3, 0.1)], "interrupted"), (second, "complete")]
        ):
            reports = [studies.report(step, studies.BEGIN + step, eval_loss=loss) for step, loss in losses]
            last = {"eval_loss": losses[-1][1]}
            studies.write_journal(
                layout, number, [studies.start(number, attempt), *reports, studies.end(how, metrics=last)], attempt
            )
    (goal,) = page(layout).trials.objectives
    rows = {row["trial"]: row for row in Study.open(layout.root).collect().rows}
    assert (rows[0]["eval_loss.best"], rows[0]["eval_loss.best_step"], rows[0]["eval_loss.last"]) == (1.0, 2, 1.0)
    for number in range(2):
        row, last = rows[number], rows[number]["eval_loss.last"]
        assert (goal.best[number], goal.best_step[number]) == (row["eval_loss.best"], row["eval_loss.best_step"])
        assert goal.final[number] == (None if last == "nan" else last)


CONDITIONAL = """\
name: {name}
backend: local
objectives: [{{name: acc, direction: maximize}}, {{name: ms, direction: minimize}}]
parameters:
  optimizer: {{choices: [adamw, sgd]}}
  lr: {{type: float, min: 1.0e-6, max: 1.0, log: true}}
conditionals:
  - if: optimizer == "sgd"
    then: {{momentum: {{type: float, min: 0.0, max: 0.99}}}}
search: {{algorithm: random, seed: 1}}
budget: {{n_trials: {n_trials}}}
trial: {{command: "echo {{{{ lr }}}} {{{{ flags }}}}"}}
"""


def conditional_study(runs: Path) -> StudyLayout:
    layout = studies.make_study(runs, spec=CONDITIONAL)
    params = [{"optimizer": "adamw", "lr": 1e-3}, {"optimizer": "sgd", "lr": 1e-2, "momentum": 0.9}] * 3
    trials = [studies.assignment(n, {**each, "lr": each["lr"] * (n + 1)}) for n, each in enumerate(params)]
    studies.add_wave(layout, trials, objectives=("acc", "ms"))
    for number in range(6):
        values = {"acc": 0.5 + number / 10, "ms": 10.0 + number * (number != 2)}
        first = studies.start(number)
        done = studies.end("complete", first["t"] + 60, metrics=values)
        studies.write_journal(layout, number, [first, studies.report(1, first["t"] + 1, **values), done])
    return layout


def test_a_conditional_parameter_has_no_value_where_it_is_inactive(tmp_path):
    optimizer, lr, momentum = page(conditional_study(tmp_path)).trials.parameters
    assert (optimizer.kind, optimizer.choices, optimizer.rows) == ("choice", ("adamw", "sgd"), (0, 1) * 3)
    assert (lr.kind, lr.is_log, lr.is_conditional, lr.low, lr.high) == ("number", True, False, 1e-6, 1)
    assert (momentum.is_conditional, momentum.rows) == (True, (None, 0.9) * 3)


def test_two_objectives_have_a_front_and_a_line_each(tmp_path):
    found = page(conditional_study(tmp_path))
    # trial 2 has 10 ms as trial 0 has, and a better acc: it dominates 0 and 1
    assert sorted(found.front) == [2, 3, 4, 5]
    acc, ms = found.best_so_far
    assert acc.best == (0.5, 0.6, 0.7, 0.8, 0.9, 1) and ms.best == (10,) * 6
    assert acc.trials == (1, 2, 3, 4, 5, 6) and acc.gpu_hours[-1] == pytest.approx(6 * 2 / 60, abs=1e-5)


def test_a_choice_that_the_space_had_before_is_added_to_those_of_now(tmp_path):
    spec = studies.SPEC.replace("choices: [1, 2]", "choices: [4, true, null]")
    layout = studies.make_study(tmp_path, spec=spec)
    values = [4, True, None, 16]
    studies.add_wave(layout, [studies.assignment(n, {"bs": value, "lr": 0.1}) for n, value in enumerate(values)])
    assert page(layout).trials.parameters[0].rows == (0, 1, 2, 3)
    assert page(layout).trials.parameters[0].choices == ("4", "true", "null", "16")


def test_curves_share_their_steps_and_end_where_the_trial_did(tmp_path):
    layout = studies.study_of_completed(tmp_path, 3, steps=4)
    (found,) = page(layout).curves
    assert found.steps == ((1, 2, 3, 4),) and found.steps_of == (0, 0, 0) and len(found.values[0]) == 4


def test_a_long_curve_is_thinned_and_keeps_its_first_last_and_best_point(tmp_path):
    layout = studies.make_study(tmp_path)
    studies.add_wave(layout, [0])
    reports = [studies.report(s, studies.BEGIN + s, eval_loss=5.0 - (s == 777)) for s in range(1, 1501)]
    studies.write_journal(layout, 0, [studies.start(0), *reports, studies.end("complete", metrics={"eval_loss": 5.0})])
    (found,) = page(layout).curves
    (steps,), (values,) = found.steps, found.values
    assert len(steps) <= 200 and {1, 777, 1500} <= {*steps} and min(values) == 4


@pytest.mark.parametrize("count", [3, 10, 200, 201, 5000])
@pytest.mark.parametrize("most", [3, 20, 200])
def test_thinning_keeps_first_last_and_best_and_no_more_than_allowed(count, most):
    values = [abs(i - count // 3) for i in range(count)]
    kept = list(kept_points(values, most, is_lowest_best=True))
    assert {0, count - 1, count // 3} <= {*kept} and len(kept) <= max(most, 3) and kept == sorted({*kept})


@pytest.mark.parametrize(
    ("value", "wanted"), [(1.23456789, 1.23457), (2.0, 2), (1e22, 1e22), (7, 7), (-0.1 - 0.2, -0.3)]
)
def test_numbers_have_six_digits(value, wanted):
    assert short(value) == wanted and len(json.dumps(short(value))) <= len(json.dumps(value))


def test_a_column_that_repeats_has_each_value_once():
    found = indexed(["a", None, "b", "a"])
    assert (found.values, found.rows) == (("a", "b"), (0, None, 1, 0))


def test_failures_are_grouped_by_what_happened_the_costliest_first(tmp_path):
    layout = studies.make_study(tmp_path)
    studies.add_wave(layout, range(4), retries=1)
    for number in range(2):
        for attempt in range(2):
            tail = ["Traceback", f"ValueError: no file /data/{number}/x at 0x{number}f"]
            studies.write_journal(layout, number, studies.failed(number, attempt, tail=tail), attempt)
    studies.write_journal(layout, 2, studies.failed(2, tail=["killed"]))
    studies.write_journal(layout, 3, studies.completed(3, 1.0))
    first, second = page(layout).failures
    assert (first.attempts, first.trials, first.lost, first.rows) == (4, 2, 2, (0, 1))
    assert first.tail == ("Traceback", "ValueError: no file /data/0/x at 0x0f")
    assert (second.attempts, second.lost, second.example) == (1, 0, 2)


def test_the_timeline_has_lanes_waits_and_idle_gpus(tmp_path):
    layout = studies.make_study(tmp_path, spec=studies.SPEC.replace("backend: local", "backend: auto"))
    studies.add_wave(layout, range(3))
    hosts = ["n2", "n2", "n10"]
    spans = [(0, 100), (50, 150), (50, 100)]
    for number, (host, (a, b)) in enumerate(zip(hosts, spans, strict=True)):
        begin = {**studies.start(number, host=host), "t": studies.BEGIN + a}
        end = studies.end("complete", studies.BEGIN + b, metrics={"eval_loss": 1.0})
        studies.write_journal(layout, number, [begin, studies.report(1, studies.BEGIN + a, eval_loss=1.0), end])
    found = page(layout).timeline
    assert found is not None
    assert found.lanes == ("n2", "n2", "n10") and found.lane == (0, 1, 2)
    assert found.waited_s == 100 and found.most == 6 and found.end == 150
    assert found.idle_share == pytest.approx(1 - 250 / 450, abs=1e-3)


def test_a_requeued_attempt_waits_from_the_end_of_the_one_before(tmp_path):
    layout = studies.make_study(tmp_path, spec=studies.SPEC.replace("backend: local", "backend: auto"))
    studies.add_wave(layout, [0])
    for attempt, (started, ended) in enumerate([(10, 100), (130, 200)]):
        begin = {**studies.start(0, attempt), "t": studies.BEGIN + started}
        end = studies.end("interrupted" if attempt == 0 else "complete", studies.BEGIN + ended)
        studies.write_journal(layout, 0, [begin, {**end, "metrics": {"eval_loss": 1.0}}], attempt)
    found = page(layout).timeline
    assert found is not None
    assert (found.queued, found.started, found.waited_s) == ((0, 100), (10, 130), 40)
    assert found.outcome.values == ("interrupted", "complete")


def test_rungs_show_who_went_on_and_why(tmp_path):
    root, _ = played(tmp_path, {"algorithm": "asha", **RUNGS, "reduction_factor": 3}, 40)
    found = page(StudyLayout(root)).rungs
    assert found is not None
    assert [rung.step for rung in found.rungs] == [1, 3, 9]
    first, _, last = found.rungs
    assert first.sent_on == first.fates.count("went on") > 0 and {*last.fates} == {"complete"}
    assert any("threshold" in each.why for each in found.decisions)
    assert 0 < found.steps < found.full_steps
    assert len(first.rows) == 40


def test_the_correlation_of_a_rung_is_spearmans_with_the_end(tmp_path):
    root, _ = played(tmp_path, {"algorithm": "asha", **RUNGS, "reduction_factor": 3}, 40)
    found = page(StudyLayout(root)).rungs
    assert found is not None
    first, _, last = found.rungs
    at_the_end, early = dict(zip(last.rows, last.values, strict=True)), dict(zip(first.rows, first.values, strict=True))
    pairs = [(early[row], value) for row, value in at_the_end.items()]
    ranks = [[sorted(column).index(value) for value in column] for column in zip(*pairs, strict=True)]
    assert all(len({*column}) == len(column) for column in ranks)
    assert first.correlation == pytest.approx(statistics.correlation(*ranks), abs=1e-5)
    assert (first.pairs, last.correlation, last.pairs) == (len(pairs), None, 0)


def test_brackets_are_counted(tmp_path):
    root, _ = played(tmp_path, {"algorithm": "hyperband", **RUNGS, "reduction_factor": 3}, 30)
    whole = page(StudyLayout(root))
    found = whole.rungs
    assert found is not None
    assert sum(each.complete for each in found.brackets) == whole.head.counts["COMPLETE"] < 30
    assert sum(each.trials for each in found.brackets) == 30
    assert {each.first_rung for each in found.brackets} == {1, 3, 9}
    assert "stopped" in {each.what for each in found.decisions}


def test_a_population_has_members_parents_and_the_schedule_of_the_best(tmp_path):
    search = {"algorithm": "pbt", "population_size": 4, "perturbation_interval": 3, "max_resource": 9}
    lr = {"type": "float", "min": 1e-4, "max": 1.0, "log": True, "mutable": True}
    root, _ = played(tmp_path, search, None, parameters={"x": lr, "y": {"type": "float", "min": 0.0, "max": 1.0}})
    found = page(StudyLayout(root))
    assert found.lineage is not None and found.head.best is not None
    assert {each.member for each in found.lineage.members} == {0, 1, 2, 3} and found.lineage.mutable == ("x",)
    for each in found.lineage.members:
        assert (each.parent is None) == (each.generation == 0) and each.from_step in (0, 3, 6)
    best = found.lineage.schedules[0]
    assert best.trial == found.head.best.trial and best.legs[0].step == 0 and {*best.legs[0].params} == {"x"}
    numbers = found.trials.number
    parents = {numbers[m.row]: None if m.parent is None else numbers[m.parent] for m in found.lineage.members}
    lines = [[leg.trial for leg in each.legs] for each in found.lineage.schedules]
    assert max(map(len, lines)) > 1 and [line[-1] for line in lines] == [s.trial for s in found.lineage.schedules]
    assert all(parents[child] == parent for line in lines for parent, child in itertools.pairwise(line))


def test_a_study_without_rungs_has_no_part_about_them(tmp_path):
    found = page(studies.study_of_completed(tmp_path, 3))
    assert found.rungs is None and found.lineage is None and found.front == () and found.failures == ()


def test_provenance_names_commit_nodes_and_scripts(tmp_path):
    layout = studies.make_study(tmp_path)
    studies.add_wave(layout, [0])
    studies.write_journal(layout, 0, [studies.start(0, git_commit="abc123"), *studies.completed(0, 1.0)[1:]])
    layout.wave(0).script().write_text("#!/bin/bash\n#SBATCH --time=1\n")
    found = page(layout).provenance
    assert dict(found.facts)["git commit of the training code"] == "abc123" and dict(found.facts)["nodes"] == "n0"
    assert [file.name for file in found.files] == ["study.yaml", "waves/0000/trial.sbatch"]


def test_a_study_object_returns_the_same_data(tmp_path):
    layout = studies.study_of_completed(tmp_path, 3)
    found = Study.open(layout.root).report()
    assert found.trials == page(layout).trials and found.head.study == "demo"


def test_the_page_has_what_was_noticed(tmp_path):
    layout = studies.make_study(tmp_path)
    params = [{"bs": 1 + n % 2, "lr": 1e-5 * (n // 2 + 1)} for n in range(8)]
    studies.add_wave(layout, [studies.assignment(n, each) for n, each in enumerate(params)])
    for number in range(8):
        studies.write_journal(layout, number, studies.completed(number, 1 + (number // 2) / 7))
    assert "no_effect" in {each.kind for each in page(layout).notices}
