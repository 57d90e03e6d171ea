"""Parameters and metrics have the names that people use; commands and expressions write them as variables."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from hposlurm.records.layout import StudyLayout
from hposlurm.render.command import command_line
from hposlurm.render.trial import commands
from hposlurm.space.names import group_metrics, variable
from hposlurm.spec import dump, load, parse
from hposlurm.spec.document import parse_text
from tests.spec.data import changed, problems_of

NAMES = ["optimizer.lr", "trainer/max_epochs", "learning-rate", "seed", "lambda", "model:size", "a@b", "_x", "params"]


def study(**values: Any) -> dict[str, Any]:
    """A study of some names that are no identifiers."""
    given = {
        "parameters": {
            "optimizer.lr": {"type": "float", "min": 0.1, "max": 1.0},
            "learning-rate": {"choices": [1, 2]},
            "seed": {"choices": [7, 8]},
            "lambda": {"choices": [-1, -2]},
        },
        "conditionals": [],
        "constraints": [],
        "trial__command": "train {{ flags }}",
        "trial__deepspeed": ...,
    }
    return changed(**{**given, **values})


def test_a_name_is_written_with_two_underscores_for_each_other_character() -> None:
    assert [variable(name) for name in NAMES] == [
        *("optimizer__lr", "trainer__max_epochs", "learning__rate", "seed", "lambda_", "model__size", "a__b", "_x"),
        "params",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_may_have_any_name_that_people_use(name: str) -> None:
    parameters = {name: {"choices": ["v"]}}
    command = f"train {{{{ {variable(name)} }}}} {{{{ flags }}}}"
    spec = parse(study(parameters=parameters, trial__command=command), "x")
    line, _ = commands(StudyLayout(Path("/runs/x")), spec.command_template, 0, {name: "v"}, 1)
    assert line == f"train v --{name} v"
    text, problems = parse_text(dump(spec))
    assert not problems and parse(text, "x", frozen=True).parameter_names == (name,)


def test_expressions_write_a_name_as_commands_do() -> None:
    spec = parse(
        study(
            conditionals=[{"if": "optimizer__lr > 0.5", "then": {"opt.momentum": {"choices": [0.8, 0.9]}}}],
            constraints=["learning__rate < 2 or opt__momentum == 0.9", "val__loss <= 3"],
            forbidden=["lambda_ == -1", {"learning-rate": 1, "seed": 8}],
            metrics=["val/loss"],
        ),
        "x",
    )
    space = spec.space
    allowed = {"optimizer.lr": 0.9, "learning-rate": 1, "seed": 7, "lambda": -2, "opt.momentum": 0.8}
    assert space.contains(allowed) and space.is_feasible(allowed)
    assert not space.contains({**allowed, "optimizer.lr": 0.2})
    for broken in ({"lambda": -1}, {"seed": 8}, {"learning-rate": 2}):
        assert not space.is_feasible({**allowed, **broken})
    assert space.limits.complaints(allowed, {"val/loss": 4.0}) == ("val__loss <= 3: val/loss is 4",)


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ({"constraints": ["optimizer.lr > 0.1"]}, "(write optimizer__lr for optimizer.lr)"),
        ({"constraints": ["learning-rate > 1"]}, "(write learning__rate for learning-rate)"),
        ({"constraints": ["val/loss < 1"], "metrics": ["val/loss"]}, "(write val__loss for val/loss)"),
        ({"trial__command": "train {{ optimizer.lr }}"}, "(write {{ optimizer__lr }} for optimizer.lr)"),
        ({"search__enqueue": [{"optimizer__lr": 0.5}]}, "(write optimizer.lr)"),
        ({"trial__metric_pattern": r"(?P<val/loss>\d)"}, "(a group reports val/loss if it is called val__loss)"),
    ],
)
def test_a_name_that_is_written_wrongly_gets_the_right_spelling(values: dict[str, Any], hint: str) -> None:
    assert any(problem.endswith(hint) for problem in problems_of(study(**values)))


def test_flags_and_overrides_have_every_parameter_and_each_its_own_flag() -> None:
    params = {"optimizer.lr": 0.1, "learning-rate": 2, "n": -3, "name": "a b"}
    flags = {"learning-rate": "--lr", "n": "-n", "name": "+run.name="}
    line = command_line("t {{ flags }} : {{ overrides }} : {{ params | json }}", params, {}, flags)
    words = shlex.split(line)
    assert words[:9] == ["t", "--optimizer.lr", "0.1", "--lr", "2", "-n", "-3", "+run.name=a b", ":"]
    assert words[9:13] == ["optimizer.lr=0.1", "learning-rate=2", "n=-3", "+run.name=a b"]
    assert json.loads(words[-1]) == params
    assert command_line("t {{ params['learning-rate'] + 1 }}", params, {}) == "t 3"


def test_a_flag_is_one_word() -> None:
    for flag in ("", "--lr x", "a\tb"):
        (problem,) = problems_of(study(parameters={"lr": {"choices": [1], "flag": flag}}))
        assert problem.startswith('parameters.lr.flag: must be one word such as "--lr" or "optimizer.lr="')
    spec = parse(study(parameters={"a.b": {"choices": [1], "flag": "--ab"}}), "x")
    assert spec.command_template.flags == {"a.b": "--ab"}


def test_a_parameter_called_seed_hides_the_seed_of_the_study() -> None:
    spec = parse(study(trial__command="train --seed {{ seed }} --own {{ trial_seed }}", search__seed=42), "x")
    line, _ = commands(StudyLayout(Path("/runs/x")), spec.command_template, 0, {"seed": 7}, 1)
    assert line == "train --seed 7 --own 1"


def test_a_setting_finds_a_name_with_dots(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(dump(parse(study(), "x")))
    spec = load(file, settings=["parameters.optimizer.lr.max=0.5", "search.seed=3"])
    assert spec.parameters["optimizer.lr"].max == 0.5 and spec.search.seed == 3


def test_a_group_reports_the_metric_that_it_stands_for() -> None:
    assert group_metrics(["val__loss", "f1", "step"], ["val/loss", "acc"]) == {
        **{"val__loss": "val/loss", "f1": "f1", "step": "step"}
    }
    assert group_metrics(["val__loss"], ["val/loss", "val__loss"]) == {"val__loss": "val__loss"}
