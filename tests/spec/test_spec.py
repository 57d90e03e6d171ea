"""The study file: what a valid one means, and what is laid over it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hposlurm.errors import SpecError
from hposlurm.space import UNSET, CategoricalParameter, FloatParameter, IntParameter
from hposlurm.spec import dump, load, parse
from hposlurm.trial import CountedReport, Direction, Objective
from tests.spec.data import VALID, changed, data, write

BEST = CountedReport.BEST


def test_a_valid_study_has_every_value_in_its_place() -> None:
    study = parse(data(), "study.yaml")
    assert study.name == "bloom-squad"
    assert study.tags == {"project": "workshop", "year": "2024"}
    assert study.objectives == (
        Objective("eval_loss", report=BEST),
        Objective("f1", Direction.MAXIMIZE, report=BEST),
    )
    assert (study.search.algorithm, study.search.seed, study.search.startup_trials) == ("tpe", 42, 5)
    assert study.trial.timeout_s == 1800
    assert study.resources.time_min == 30
    assert study.slurm.account == "4711"
    assert study.slurm.extra == {"reservation": "hpo", "exclusive": None}
    assert [entry.name for entry in study.publish] == ["sqlite"]


def test_its_space_is_ready_to_be_sampled() -> None:
    space = parse(data(), "study.yaml").space
    lr, bs, wd, optimizer, momentum = space.parameters
    assert lr == FloatParameter("lr", 5e-6, 2e-4, log=True, default=1e-5)
    assert bs == IntParameter("bs", 1, 8)
    assert wd == CategoricalParameter("wd", (0.0, 0.01), UNSET)
    assert optimizer == CategoricalParameter("optimizer", ("adamw", "sgd"), "adamw")
    assert momentum.condition is not None and momentum.condition.text == 'optimizer == "sgd"'
    assert space.facts == {
        "gpus": 2,
        "nodes": 1,
        "gpus_per_node": 2,
        "cpus_per_task": 6,
        "mem_gb": 64.0,
        "gpu_memory_gb": 32.0,
    }
    assert space.defaults() == {"lr": 1e-5, "optimizer": "adamw"}


def test_what_is_not_given_has_its_default() -> None:
    minimal = {
        "name": "x",
        "objectives": [{"name": "loss"}],
        "parameters": {"lr": {"choices": [1]}},
        "budget": {"n_trials": 1},
        "trial": {"command": "true"},
    }
    study = parse(minimal, "study.yaml")
    assert (study.backend, study.search.algorithm) == ("auto", "auto")
    assert [entry.name for entry in study.publish] == ["sqlite", "csv"]
    assert (study.waves.size, study.trial.timeout_s, study.trial.retries) == (None, None, 0)
    assert (study.resources.gpus_per_node, study.resources.time_min, study.slurm.planner.time_min) == (0, 60, 10)
    assert study.objectives == (Objective("loss", Direction.MINIMIZE, report=BEST),)


def test_null_means_not_given_so_that_an_overlay_can_unset() -> None:
    study = parse(changed(resources__gpu_type=None, trial__deepspeed=None, tags=None, trial__command="true"), "x")
    assert (study.resources.gpu_type, study.trial.deepspeed, study.tags) == (None, None, {})


def test_a_default_of_null_is_kept_apart_from_no_default() -> None:
    with_null = parse(changed(parameters__wd={"choices": [None, 1], "default": None}), "x")
    without = parse(changed(parameters__wd={"choices": [None, 1]}), "x")
    assert with_null.space.defaults()["wd"] is None
    assert "wd" not in without.space.defaults()
    assert with_null != without
    for study in (with_null, without):
        assert parse(data(dump(study)), "x").space == study.space


def test_a_default_takes_the_form_of_its_choice() -> None:
    study = parse(changed(parameters__wd={"choices": [0, 1], "default": 1.0}), "x")
    assert type(study.space.defaults()["wd"]) is int


def test_conditionals_may_come_in_any_order() -> None:
    conditionals = [
        {"if": "nesterov", "then": {"damping": {"type": "int", "min": 0, "max": 1}}},
        {"if": "momentum > 0.9 and gpus > 1", "then": {"nesterov": {"choices": [True, False]}}},
        {"if": "optimizer == 'sgd'", "then": {"momentum": {"type": "float", "min": 0.8, "max": 0.99}}},
    ]
    space = parse(changed(conditionals=conditionals, trial__command="true"), "x").space
    assert space.names == ("lr", "bs", "wd", "optimizer", "momentum", "nesterov", "damping")


def test_a_range_of_one_value_is_allowed() -> None:
    assert (
        parse(changed(parameters__lr={"type": "float", "min": 1, "max": 1, "log": True}), "x").space.parameters[0].size
        == 1
    )


def test_a_grid_needs_no_budget_and_may_have_one_larger_than_itself() -> None:
    grid = changed(
        parameters={
            "lr": {"type": "float", "min": 0, "max": 1, "step": 0.5},
            "bs": {"type": "int", "min": 1, "max": 2},
        },
        conditionals=[],
        search__algorithm="grid",
        trial__command="true",
    )
    assert parse(grid | {"budget": {}}, "x").budget.n_trials is None
    assert parse(grid | {"budget": {"n_trials": 1000}}, "x").space.cardinality(100) == 6


def test_a_template_counts_from_the_file_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "over").mkdir()
    study = write(tmp_path / "base" / "study.yaml", VALID.replace("partition: batch", "template: a.j2"))
    write(tmp_path / "base" / "a.j2", "a")
    write(tmp_path / "over" / "b.j2", "b")
    overlay = write(tmp_path / "over" / "over.yaml", "slurm: {template: b.j2}")
    monkeypatch.chdir(tmp_path)
    assert load(study).slurm.template == str(tmp_path / "base" / "a.j2")
    assert load(study, overlays=[overlay]).slurm.template == str(tmp_path / "over" / "b.j2")
    assert load(Path("base/study.yaml")).slurm.template == str(tmp_path / "base" / "a.j2")
    assert parse(data(dump(load(study))), "x") == load(study)


def test_a_frozen_study_stays_readable_when_its_template_is_gone(tmp_path: Path) -> None:
    template = write(tmp_path / "my.j2", "#!/bin/bash\n")
    study = write(tmp_path / "study.yaml", dump(parse(changed(slurm__template=str(template)), "x")))
    template.unlink()
    assert load(study, frozen=True).slurm.template == str(template)
    with pytest.raises(SpecError, match="cannot be read"):
        load(study)


def test_load_lays_search_space_overlays_and_settings_over_the_study(tmp_path: Path) -> None:
    study = write(tmp_path / "study.yaml", VALID)
    space = write(
        tmp_path / "space.yaml",
        "parameters: {lr: {choices: [1e-5, 2e-4]}}\nconditionals: []\nconstraints: []\nobjectives: [{name: acc}]",
    )
    overlay = write(
        tmp_path / "tiny.yaml", "search: {seed: 1}\nparameters: {bs: {choices: [1]}}\ntrial: {command: 'x {{ lr }}'}"
    )
    loaded = load(
        study, overlays=[overlay], settings=["search.seed=2", "parameters.bs.choices=[3, 4]"], search_space=space
    )
    assert loaded.search.seed == 2
    assert loaded.search.startup_trials == 5
    assert loaded.space.names == ("lr", "bs")
    assert loaded.space.parameters == (CategoricalParameter("lr", (1e-5, 2e-4)), CategoricalParameter("bs", (3, 4)))
    assert loaded.objectives == (Objective("acc", report=BEST),)


def test_problems_of_reading_and_of_values_come_together(tmp_path: Path) -> None:
    study = write(tmp_path / "study.yaml", VALID + "name: again\n")
    with pytest.raises(SpecError) as caught:
        load(study, settings=["search.sede=3", "nothing"])
    assert [str(problem) for problem in caught.value.problems] == [
        "name: is given twice, on line 2 and on line 30; keep one of them",
        "--set: 'nothing' is not of the form key=value, such as search.seed=7",
        "--set search.sede: unknown key 'sede' (did you mean seed?)",
    ]


@pytest.mark.parametrize("which", ["study", "overlay", "search space"])
def test_yaml_that_does_not_parse_is_located_in_its_file(tmp_path: Path, which: str) -> None:
    bad = write(tmp_path / "bad.yaml", "a: 1\nb: [1,\n")
    good = write(tmp_path / "study.yaml", VALID)
    with pytest.raises(SpecError) as caught:
        if which == "study":
            load(bad)
        elif which == "overlay":
            load(good, overlays=[bad])
        else:
            load(good, search_space=bad)
    (problem,) = caught.value.problems
    assert "line 3, column 1" in problem.message
    assert "bad.yaml" in str(caught.value)


def test_a_search_space_file_has_four_sections_only(tmp_path: Path) -> None:
    space = write(tmp_path / "space.yaml", "parametres: {}\n")
    with pytest.raises(SpecError) as caught:
        load(write(tmp_path / "study.yaml", VALID), search_space=space)
    assert str(caught.value.problems[0]) == (
        f"{space}: parametres: unknown key 'parametres' (did you mean parameters?)"
    )


def test_a_file_that_is_not_there_is_a_spec_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        load(tmp_path / "none.yaml")


def test_importing_the_spec_loads_neither_samplers_nor_templates_nor_yaml() -> None:
    code = (
        "import sys, hposlurm.spec; print(sorted({'optuna', 'jinja2', 'yaml', 'typer', 'rich'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_wrong_value_of_a_setting_is_blamed_on_the_setting(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("parameters: {lr: {choices: [1, 2]}}\ntrial: {command: 'true'}\n")
    with pytest.raises(SpecError) as caught:
        load(path, settings=["budget.n_trials=-3"])
    assert any(problem.path == "--set budget.n_trials" for problem in caught.value.problems)
    assert any(not problem.path.startswith("--set") for problem in caught.value.problems)
