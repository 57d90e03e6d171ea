"""What is noticed in results, each kind planted once; and that honest studies are passed over in silence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.report.notices import Notice, notices
from hposlurm.report.notices.edges import edge_of
from hposlurm.report.notices.notice import evidence_of
from hposlurm.report.records import StudyRecords, read_records
from hposlurm.simulation import Cluster, simulate
from hposlurm.space import signature
from hposlurm.spec import StudySpec, parse
from hposlurm.trial import Cause, EndCause, JobState
from tests.report.notices.honest import GRID, PARAMETERS, kinds, noticed, study, surface
from tests.studies import add_wave, assignment, completed, end, make_study, report, start, write_journal

SEARCHES: list[dict[str, Any]] = [
    {"algorithm": "random"},
    {"algorithm": "tpe"},
    {"algorithm": "asha", "min_resource": 1, "max_resource": 9, "reduction_factor": 3},
    {"algorithm": "hyperband", "min_resource": 1, "max_resource": 9, "reduction_factor": 3},
]


@pytest.mark.parametrize("seed", range(20))
def test_on_honest_studies_nothing_is_noticed(seed: int) -> None:
    search = SEARCHES[seed % len(SEARCHES)]
    spec = study(40, search={**search, "seed": seed})
    assert noticed(spec, surface(seed)) == ()


@pytest.mark.parametrize("seed", range(5))
def test_on_honest_grids_nothing_is_noticed(seed: int) -> None:
    assert noticed(study(None, GRID, search={"algorithm": "grid"}), surface(seed)) == ()


def one(kind: str, found: tuple[Notice, ...]) -> Notice:
    (only,) = [notice for notice in found if notice.kind == kind]
    return only


# ---- parameters


def without(name: str, seed: int = 0) -> Any:
    inner = surface(seed)

    def train(params: dict[str, Any], from_step: int, to_step: int | None) -> Iterator[tuple[int, dict, float]]:
        return inner({**params, name: 0.1}, from_step, to_step)

    return train


def test_a_parameter_that_never_reaches_the_training_is_named() -> None:
    found = noticed(study(None, GRID, search={"algorithm": "grid"}), without("wd"))
    notice = one("no_effect", found)
    assert notice.text.startswith("wd makes no difference at all: 9 pairs of trials that differ only in it")
    assert notice.trials == tuple(range(18))
    assert len(found) == 1


def test_two_equal_pairs_prove_nothing() -> None:
    parameters = {**GRID, "bs": {"type": "categorical", "choices": [8, 16]}, "lr": {"choices": [1e-5]}}
    assert kinds(study(None, parameters, search={"algorithm": "grid"}), without("wd")) == []


def test_one_pair_that_differs_shows_that_the_parameter_arrives() -> None:
    inner, dead = surface(0), without("wd")

    def train(params: dict[str, Any], from_step: int, to_step: int | None) -> Iterator[tuple[int, dict, float]]:
        is_used = (params["lr"], params["bs"]) == (1e-5, 8)
        return (inner if is_used else dead)(params, from_step, to_step)

    assert kinds(study(None, GRID, search={"algorithm": "grid"}), train) == []


def steep(params: dict[str, Any], from_step: int, to_step: int | None) -> Iterator[tuple[int, dict, float]]:
    """The loss falls with lr up to its bound; the other parameters matter less."""
    others = (params["wd"] - 0.15) ** 2 + 0.05 * (params["optimizer"] == "sgd") + 0.001 * params["bs"]
    for step in range(from_step + 1, (to_step or 9) + 1):
        yield step, {"eval_loss": 1 - 40 * params["lr"] + others + 1 / step}, 200.0 * (step - from_step)


@pytest.mark.parametrize("algorithm", ["random", "tpe"])
def test_a_best_value_at_a_bound_names_the_command_that_widens_it(algorithm: str, tmp_path: Path) -> None:
    linear = {**PARAMETERS, "lr": {"type": "float", "min": 1e-4, "max": 1e-2}}
    spec = study(60, linear, search={"algorithm": algorithm})
    notice = one("at_bound", noticed(spec, steep, tmp_path / "wide"))
    assert notice.text.startswith("the best value of lr (0.009")
    assert "at the upper bound" in notice.text
    assert notice.advice == "hposlurm resume wide --set parameters.lr.max=0.015 --set budget.n_trials=75"
    assert notice.command == notice.advice
    assert len(notice.trials) == 3


def test_the_bound_of_a_logarithmic_range_is_moved_by_a_factor(tmp_path: Path) -> None:
    narrow = {**PARAMETERS, "lr": {"type": "float", "min": 1e-3, "max": 1e-2, "log": True}}
    notice = one("at_bound", noticed(study(60, narrow), steep, tmp_path / "wide"))
    assert notice.advice == "hposlurm resume wide --set parameters.lr.max=0.02 --set budget.n_trials=75"


def test_choices_that_are_numbers_have_bounds_too() -> None:
    choices = {**PARAMETERS, "lr": {"type": "categorical", "choices": [3e-3, 1e-3, 1e-2]}}
    notice = one("at_bound", noticed(study(60, choices), steep))
    assert notice.text.startswith("the best value of lr (0.01) is at the upper bound")
    assert "parameters.lr.choices a larger one" in notice.advice


@pytest.mark.parametrize(
    ("places", "is_noticed"),
    [
        ([k / 12 for k in range(13)], True),
        ([0.65 * k / 12 for k in range(13)], False),  # all improve, and there is room up to the bound
        ([*(0.7 * k / 12 for k in range(12)), 1.0], False),  # one lucky trial at the bound
    ],
)
def test_only_leaders_that_lie_together_at_the_bound_are_noticed(
    tmp_path: Path, places: list[float], is_noticed: bool
) -> None:
    params = [{"bs": 1, "lr": 10 ** (6 * place - 6)} for place in places]
    layout = losses_study(tmp_path, [2 - place + 1e-3 * (n % 2) for n, place in enumerate(places)], params)
    assert kinds_of(read_records(layout)) == ["at_bound"] * is_noticed


LRS = [10 ** (6 * k / 12 - 6) for k in range(12)]


def test_a_best_value_with_worse_trials_between_it_and_the_bound_is_not_at_the_bound(tmp_path: Path) -> None:
    params = [{"bs": 1, "lr": lr} for lr in (*LRS, 0.7, 0.9)]
    losses = [2 - k / 14 for k in range(12)] + [1.0, 1.1]
    records = read_records(losses_study(tmp_path, losses, params))
    assert kinds_of(records) == []
    assert edge_of(evidence_of(records), records.spec.space.parameters[1]).kind == "inside"


def test_a_widened_range_without_a_trial_in_its_new_part_is_not_judged_as_tried(tmp_path: Path) -> None:
    records = read_records(losses_study(tmp_path, [2 - k / 14 for k in range(12)], [{"bs": 1, "lr": x} for x in LRS]))
    data = records.spec.model_dump(mode="json", by_alias=True)
    data["parameters"] = {"lr": {**data["parameters"]["lr"], "max": 1e4}}
    wide = parse({**data, "trial": {"command": "true {{ flags }}"}}, "test")
    edge = edge_of(evidence_of(replace(records, spec=wide)), wide.space.parameters[0])
    assert (edge.kind, edge.side) == ("untried", "upper")
    assert edge.untried == (pytest.approx(LRS[-1]), 1e4)


def test_a_long_logarithmic_range_is_widened_by_a_moderate_factor(tmp_path: Path) -> None:
    params = [{"bs": 1, "lr": 10 ** (6 * k / 12 - 6)} for k in range(13)]
    notice = one("at_bound", notices(read_records(losses_study(tmp_path, [2 - k / 14 for k in range(13)], params))))
    assert "parameters.lr.max=3" in notice.advice


# ---- metrics


def constant(value: float) -> Any:
    def train(_params: dict[str, Any], _from_step: int, to_step: int | None) -> Iterator[tuple[int, dict, float]]:
        return iter([(to_step or 9, {"eval_loss": value}, 3000.0)])

    return train


def test_a_constant_metric_is_one_notice_not_one_per_parameter() -> None:
    assert kinds(study(None, GRID, search={"algorithm": "grid"}), constant(0.7)) == ["constant_metric"]


@pytest.mark.parametrize(
    ("metric", "shift", "words"),
    [
        ("eval_loss", 30.0, "is above ln(262,144) = 12.48 even in the best trial"),
        ("loss", -9.0, "is below 0, which no cross-entropy is"),
        ("eval/accuracy", 200.0, "is below 0 or above 100"),
        ("ppl", -2.0, "is below 1, which no perplexity is"),
    ],
)
def test_values_that_a_metric_cannot_have(metric: str, shift: float, words: str) -> None:
    inner = surface(0)

    def train(params: dict[str, Any], from_step: int, to_step: int | None) -> Iterator[tuple[int, dict, float]]:
        for step, metrics, seconds in inner(params, from_step, to_step):
            yield step, {metric: metrics["eval_loss"] + shift}, seconds

    notice = one("impossible_metric", noticed(study(objectives=[{"name": metric}]), train))
    assert words in notice.text


@pytest.mark.parametrize("metric", ["mse_loss", "kl_loss", "wer", "policy/loss_value"])
def test_other_metrics_may_have_any_value(metric: str) -> None:
    inner = surface(0)

    def train(params: dict[str, Any], from_step: int, to_step: int | None) -> Iterator[tuple[int, dict, float]]:
        for step, metrics, seconds in inner(params, from_step, to_step):
            yield step, {metric: metrics["eval_loss"] * 100 - 150}, seconds

    assert kinds(study(objectives=[{"name": metric}]), train) == []


def test_a_loss_above_that_of_a_guess_in_the_models_own_vocabulary() -> None:
    inner = surface(0)

    def train(params: dict[str, Any], from_step: int, to_step: int | None) -> Iterator[tuple[int, dict, float]]:
        for step, metrics, seconds in inner(params, from_step, to_step):
            yield step, {"eval_loss": metrics["eval_loss"] + 5, "vocab_size": 100}, seconds

    assert "above ln(100) = 4.61" in one("impossible_metric", noticed(study(), train)).text


def test_one_trial_that_diverged_is_not_an_impossible_metric(tmp_path: Path) -> None:
    assert kinds_of(read_records(losses_study(tmp_path, [1.0, 1.5, 40.0]))) == []


# ---- journals by hand


def changed(spec: StudySpec, **changes: Any) -> StudySpec:
    return spec.model_copy(update=changes)


def with_seed(records: StudyRecords, seed: int | str) -> StudyRecords:
    trial = records.spec.trial.model_copy(update={"seed": seed})
    return replace(records, spec=changed(records.spec, trial=trial))


def kinds_of(records: StudyRecords) -> list[str]:
    return [notice.kind for notice in notices(records)]


def losses_study(runs: Path, losses: list[float], params: list[dict[str, Any]] | None = None) -> StudyLayout:
    layout = make_study(runs, n_trials=len(losses))
    given = params or [{"bs": 1, "lr": 1e-3 * (number + 1)} for number in range(len(losses))]
    own = [replace(assignment(n, each), signature=signature(each)) for n, each in enumerate(given)]
    add_wave(layout, own)
    for number, loss in enumerate(losses):
        write_journal(layout, number, completed(number, loss))
    return layout


def test_configurations_that_were_trained_twice(tmp_path: Path) -> None:
    same = [{"bs": 1, "lr": 1e-3}] * 3 + [{"bs": 2, "lr": 1e-3}]
    layout = losses_study(tmp_path, [1.0, 1.0, 1.0, 1.5], same)
    notice = one("duplicates", notices(with_seed(read_records(layout), 1)))
    assert notice.trials == (1, 2)
    assert "for 4 GPU hours" in notice.text
    assert "duplicates" not in kinds_of(with_seed(read_records(layout), "trial"))
    once = losses_study(tmp_path / "once", [1.0, 1.0, 1.5], [*same[:2], same[3]])
    assert "duplicates" not in kinds_of(with_seed(read_records(once), 1))


def test_repeats_with_seeds_of_their_own_are_no_duplicates_but_show_the_noise(tmp_path: Path) -> None:
    layout = losses_study(tmp_path, [1.0, 1.2, 1.05, 1.5], [{"bs": 1, "lr": 1e-3}] * 2 + [{"bs": 2, "lr": 1e-3}] * 2)
    (notice,) = notices(with_seed(read_records(layout), "trial"))
    assert notice.kind == "noise"
    assert notice.trials == (0, 1, 2, 3)
    far = losses_study(tmp_path / "far", [1.0, 1.2, 1.5, 1.7], [{"bs": 1, "lr": 1.0}] * 2 + [{"bs": 2, "lr": 1.0}] * 2)
    assert "noise" not in kinds_of(read_records(far))


def test_defaults_that_nothing_beats(tmp_path: Path) -> None:
    layout = losses_study(tmp_path, [0.5, *(1 + number / 20 for number in range(12))])
    history = read_history(layout)
    first = replace(history.trials[0], attrs={"origin": "default"})
    records = replace(read_records(layout), history=replace(history, trials=(first, *history.trials[1:])))
    notice = one("default_is_best", notices(records))
    assert "none of 12 other completed trials is better than the defaults (eval_loss 0.5)" in notice.text
    assert kinds_of(replace(records, history=replace(history, trials=(first, *history.trials[1:9])))) == []


def failing_study(runs: Path, completed_count: int, failed_count: int, hours: float) -> StudyRecords:
    """Trials that complete after an hour, and after them trials that run out of GPU memory after `hours`."""
    layout = make_study(runs)
    add_wave(layout, range(completed_count + failed_count))
    for number in range(completed_count):
        write_journal(layout, number, completed(number, 1.0 + number))
    for number in range(completed_count, completed_count + failed_count):
        first = start(number)
        write_journal(layout, number, [first, end("fail", first["t"] + hours * 3600, reason="x", exit_code=1)])
    history = read_history(layout)
    trials = tuple(
        replace(t, attempts=tuple(replace(a, cause=EndCause(Cause.OUT_OF_GPU_MEMORY)) for a in t.attempts))
        if t.number >= completed_count
        else t
        for t in history.trials
    )
    return replace(read_records(layout), history=replace(history, trials=trials))


def test_half_of_the_gpu_hours_for_one_reason(tmp_path: Path) -> None:
    notice = one("wasted", notices(failing_study(tmp_path / "half", 3, 3, 1.0)))
    assert notice.text == "6 of 12 GPU hours came to nothing because of too little GPU memory"
    assert notice.trials == (3, 4, 5)
    assert kinds_of(failing_study(tmp_path / "less", 3, 3, 0.9)) == []


def test_two_failures_are_no_pattern(tmp_path: Path) -> None:
    assert kinds_of(failing_study(tmp_path, 1, 2, 5.0)) == []


def with_job_states(records: StudyRecords, state: Any) -> StudyRecords:
    trials = tuple(
        replace(t, attempts=tuple(replace(a, job_state=state) for a in t.attempts)) for t in records.history.trials
    )
    return replace(records, history=replace(records.history, trials=trials))


def test_time_limits_that_are_far_too_long_or_too_short(tmp_path: Path) -> None:
    layout = losses_study(tmp_path, [1.0, 1.1, 1.2, 1.3, 1.4])  # an hour each
    found = read_records(layout)
    limit = found.spec.resources.model_copy(update={"time_min": 12 * 60})
    long = with_job_states(replace(found, spec=changed(found.spec, resources=limit)), JobState.COMPLETED)
    notice = one("limit_too_long", notices(long))
    assert notice.text == "the longest of 5 trainings took 1h00m, and each job asks for 12h00m"
    assert notice.advice.endswith("hposlurm resume demo --set resources.time=120m --set budget.n_trials=15")
    limit = limit.model_copy(update={"time_min": 4 * 60})
    assert kinds_of(replace(long, spec=changed(found.spec, resources=limit))) == []
    assert kinds_of(with_job_states(found, JobState.COMPLETED)) == []
    short = one("limit_too_short", notices(with_job_states(found, JobState.TIMEOUT)))
    assert short.advice == "give each job more: hposlurm resume demo --set resources.time=120m --set budget.n_trials=15"
    assert short.advice.endswith(short.command)


@pytest.mark.parametrize(("count", "timeouts", "is_noticed"), [(20, 4, False), (20, 5, True), (8, 2, False)])
def test_a_quarter_of_the_attempts_has_to_reach_the_time_limit(
    tmp_path: Path, count: int, timeouts: int, is_noticed: bool
) -> None:
    layout = losses_study(tmp_path, [1 + n / 50 for n in range(count)])
    found = with_job_states(read_records(layout), JobState.COMPLETED)
    cut = with_job_states(found, JobState.TIMEOUT).history.trials[:timeouts]
    records = replace(found, history=replace(found.history, trials=(*cut, *found.history.trials[timeouts:])))
    assert kinds_of(records) == ["limit_too_short"] * is_noticed


# ---- rungs


def crossing(params: dict[str, Any], from_step: int, to_step: int | None) -> Iterator[tuple[int, dict, float]]:
    """Longer training makes it worse."""
    for step in range(from_step + 1, (to_step or 9) + 1):
        yield step, {"eval_loss": 2 - params["wd"] / step + step / 9}, 200.0 * (step - from_step)


def test_a_stopped_trial_that_was_better_than_the_winner() -> None:
    search = {"algorithm": "asha", "min_resource": 1, "max_resource": 9, "reduction_factor": 3}
    objectives = [{"name": "eval_loss", "report": "last"}]
    notice = one("cut_winner", noticed(study(12, search=search, objectives=objectives), crossing))
    assert "better than the best that was trained to its end" in notice.text


@pytest.mark.parametrize("count", [12, 5])
def test_a_winner_that_its_rung_would_have_cut(count: int) -> None:
    search = {"algorithm": "asha", "min_resource": 1, "max_resource": 9, "reduction_factor": 3}
    spec = study(count, search=search)
    found = simulate(spec, lambda p, a, b: rising(p, a, b), Cluster(gpus=4, seed=1), mode="barrier").history
    worst = max(found.trials, key=lambda t: {r.step: r.metrics["eval_loss"] for r in t.reports}[1])
    let = replace(worst, attrs={**worst.attrs, "through": True}, state=found.trials[0].state.COMPLETE, values=(0.0,))
    history = replace(found, trials=tuple(let if t.number == let.number else t for t in found.trials))
    records = StudyRecords(StudyLayout(Path("/nowhere/x")), spec, history)
    if count < 6:  # too few for a rung
        assert kinds_of(records) == []
        return
    notice = one("cut_winner", notices(records))
    assert notice.text.startswith("the best trial was 12th of 12 at step 1 and would have been stopped there")
    assert notice.trials == (let.number,)


def rising(params: dict[str, Any], from_step: int, to_step: int | None) -> Iterator[tuple[int, dict, float]]:
    for step in range(from_step + 1, (to_step or 9) + 1):
        yield step, {"eval_loss": 1 + params["wd"] + 1 / step}, 200.0 * (step - from_step)


def test_a_notice_as_a_line_and_as_data() -> None:
    notice = Notice("noise", "it varies", "repeat it", (4,))
    assert notice.line == "it varies (trial 4): repeat it"
    data = {"kind": "noise", "text": "it varies", "advice": "repeat it", "trials": (4,), "command": ""}
    assert notice.to_json() == data
    assert Notice("noise", "it varies", "repeat it", (1, 2, 3, 5)).line == "it varies (4 trials: 1-3, 5): repeat it"


def test_a_study_without_results_has_no_notices(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(2))
    write_journal(layout, 0, [start(0), report(1, eval_loss=1.0)])
    assert notices(read_records(layout)) == ()
