"""What is wrong with parameters, conditionals and constraints, each reported clearly and only once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.spec.data import changed, problems_of


def _definition(**values: Any) -> Callable[[], dict[str, Any]]:
    return lambda: changed(parameters__lr={"type": "float", "min": 0.1, "max": 1.0} | values)


# What is wrong → the study, and the start of each line that says so
BAD: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "min > max": (_definition(min=2), ["parameters.lr.min: must be at most max: 2.0 > 1.0"]),
    "log with min 0": (
        _definition(min=0, log=True),
        ["parameters.lr.min: must be more than 0 with log: true, not 0.0"],
    ),
    "log with step": (
        _definition(log=True, step=0.1),
        ["parameters.lr.step: cannot be used with log: true; remove one of them"],
    ),
    "step larger than the range": (
        _definition(step=3),
        ["parameters.lr.step: 3.0 is larger than the whole range (1.0 - 0.1)"],
    ),
    "negative step": (_definition(step=-1), ["parameters.lr.step: must be more than 0, not -1"]),
    "default outside the range": (
        _definition(default=2),
        ["parameters.lr.default: 2.0 is outside the range 0.1 to 1.0"],
    ),
    "default off the step grid": (
        _definition(step=0.3, default=0.5),
        ["parameters.lr.default: 0.5 is not on the grid from 0.1 in steps of 0.3"],
    ),
    "default not a choice": (
        lambda: changed(parameters__wd={"choices": [0, "a"], "default": True}),
        ["parameters.wd.default: true is not one of the choices (0, 'a')"],
    ),
    "choices empty": (lambda: changed(parameters__wd={"choices": []}), ["parameters.wd.choices: must not be empty"]),
    "choices twice": (
        lambda: changed(parameters__wd={"choices": [0, 1, 0.0]}),
        ["parameters.wd.choices.2: 0.0 is the same choice as 0"],
    ),
    "choices that samplers cannot tell apart": (
        lambda: changed(parameters__wd={"choices": [1, True]}),
        ["parameters.wd.choices.1: true is the same choice as 1"],
    ),
    "choice that is a list": (
        lambda: changed(parameters__wd={"choices": [[1]]}),
        ["parameters.wd.choices.0: must be a single value (number, text, true, false or null), not a list"],
    ),
    "choice that is infinite": (
        lambda: changed(parameters__wd={"choices": [float("inf")]}),
        ["parameters.wd.choices.0: must be a finite number, not inf"],
    ),
    "choice with a control character": (
        lambda: changed(parameters__wd={"choices": ["a\nb"]}),
        ["parameters.wd.choices.0: must be one line of text without control characters; 'a\\nb' has '\\n'"],
    ),
    "choices that are no list": (
        lambda: changed(parameters__wd={"choices": "a, b"}),
        ["parameters.wd.choices: must be a list, not 'a, b'"],
    ),
    "unknown type": (
        _definition(type="flaot"),
        ["parameters.lr.type: 'flaot' is not a type (did you mean float?)"],
    ),
    "no type": (
        lambda: changed(parameters__lr={"min": 1, "max": 2}),
        ["parameters.lr.type: is missing (add type: int, or type: float)"],
    ),
    "no min": (lambda: changed(parameters__lr={"type": "float", "max": 2}), ["parameters.lr.min: is missing"]),
    "definition that is no mapping": (
        lambda: changed(parameters__lr=3),
        ["parameters.lr: must be a mapping such as {type: float, min: 0.0, max: 1.0}, not 3"],
    ),
    "text for a number": (_definition(max="abc"), ["parameters.lr.max: must be a number, not 'abc'"]),
    "truth value for a number": (_definition(max=True), ["parameters.lr.max: must be a number, not true"]),
    "infinite bound": (_definition(max=float("inf")), ["parameters.lr.max: must be a finite number, not inf"]),
    "fraction for a whole number": (
        lambda: changed(parameters__bs__max=2.5),
        ["parameters.bs.max: must be a whole number, not 2.5"],
    ),
    "parameter defined twice": (
        lambda: changed(conditionals=[{"if": "bs > 1", "then": {"lr": {"choices": [1]}}}], trial__command="true"),
        ["conditionals.0.then.lr: lr is already defined at parameters.lr; rename one of the two"],
    ),
    "conditional on an unknown parameter": (
        lambda: changed(conditionals=[{"if": "optimiser == 'x'", "then": {"momentum": {"choices": [1]}}}]),
        [
            "conditionals.0.if: optimiser in \"optimiser == 'x'\" is neither a parameter nor a fact of the resources "
            "(did you mean optimizer?)"
        ],
    ),
    "cycle of conditionals": (
        lambda: changed(
            conditionals=[
                {"if": "momentum > 1", "then": {"alpha": {"type": "int", "min": 1, "max": 2}}},
                {"if": "alpha > 1", "then": {"beta": {"type": "int", "min": 1, "max": 2}}},
                {"if": "beta > 1", "then": {"momentum": {"type": "int", "min": 1, "max": 2}}},
            ]
        ),
        ["conditionals.0.then.alpha: its condition is circular: alpha → momentum → beta → alpha"],
    ),
    "condition on itself": (
        lambda: changed(
            conditionals=[{"if": "momentum > 1", "then": {"momentum": {"type": "int", "min": 1, "max": 2}}}]
        ),
        ["conditionals.0.then.momentum: its condition is circular: momentum → momentum"],
    ),
    "conditional without then": (
        lambda: changed(conditionals=[{"if": "bs > 1"}], trial__command="true"),
        ["conditionals.0.then: is missing"],
    ),
    "conditional with nothing in it": (
        lambda: changed(conditionals=[{"if": "bs > 1", "then": {}}], trial__command="true"),
        ["conditionals.0.then: must not be empty"],
    ),
    "constraint with a call": (
        lambda: changed(constraints=["max(bs, 2) < 3"]),
        ["constraints.0: a function call is not allowed: max(bs, 2)"],
    ),
    "constraint with an attribute": (
        lambda: changed(constraints=["bs.real < 3"]),
        ["constraints.0: an attribute (a dot after a name) is not allowed: bs.real"],
    ),
    "constraint on an unknown name": (
        lambda: changed(constraints=["bss < 3"]),
        ["constraints.0: bss in 'bss < 3' is neither a parameter, a fact of the resources nor a metric (did you mean"],
    ),
    "constraint on a fact that is not set": (
        lambda: changed(resources__gpu_memory_gb=...),
        ["constraints.0: gpu_memory_gb is not known in 'bs * 2 <= gpu_memory_gb' (set resources.gpu_memory_gb)"],
    ),
    "constraint that compares a text with a number": (
        lambda: changed(constraints=["optimizer > 3"]),
        ["constraints.0: 'optimizer > 3' never has a value: "],
    ),
    "condition on a misspelt choice": (
        lambda: changed(conditionals=[{"if": "optimizer == 'SGD'", "then": {"momentum": {"choices": [1]}}}]),
        ["conditionals.0.if: \"optimizer == 'SGD'\" is never true (optimizer is one of 'adamw', 'sgd')"],
    ),
    "constraint that is never true": (
        lambda: changed(constraints=["bs * wd > 8"]),
        ["constraints.0: 'bs * wd > 8' is never true (bs is one of 1, 2, 3, 4, 5, 6, 7, 8; wd is one of 0.0, 0.01)"],
    ),
    "constraint that no trial satisfies": (
        lambda: changed(constraints=["gpus >= 4"]),
        ["constraints.0: 'gpus >= 4' is false for every trial: gpus is 2"],
    ),
    "constraint that the defaults violate": (
        lambda: changed(constraints=["lr < 6e-6"]),
        ["constraints.0: 'lr < 6e-6' is false for the default values, which form the first trial: lr is 1e-05"],
    ),
    "constraints that leave nothing": (
        lambda: (
            changed(parameters={"a": {"choices": [1, 2]}, "b": {"choices": [1, 2]}}, conditionals=[])
            | {"constraints": ["a < b", "b < a"], "trial": {"command": "true"}}
        ),
        ["constraints: no configuration satisfies all of them"],
    ),
    "a chain of arrays with waves side by side": (
        lambda: changed(waves__mode="overlap", slurm__driver="chain"),
        ["slurm.driver: chain cannot be used with waves.mode overlap: its arrays wait for each other"],
    ),
    "parameter name with a space": (
        lambda: changed(**{"parameters__weight decay": {"choices": [1]}}),
        ["parameters.weight decay: 'weight decay' cannot be a parameter's name: letters, digits and _ . / : @ -"],
    ),
    "parameter names that commands write alike": (
        lambda: changed(
            parameters={"a.b": {"choices": [1]}, "a__b": {"choices": [1]}},
            conditionals=[],
            constraints=[],
            trial__command="x",
        ),
        ["parameters.a__b: a__b and a.b are both a__b in commands and expressions (choose another name for one"],
    ),
    "parameter named like a word of Jinja2": (
        lambda: changed(parameters__loop={"choices": [1]}),
        ["parameters.loop: loop has another meaning"],
    ),
    "parameter named like a fact": (
        lambda: changed(parameters__trial={"choices": [1]}),
        ["parameters.trial: trial is already defined in every command (choose another name, and `flag: --trial` if"],
    ),
    "parameter named like a column": (
        lambda: changed(parameters__state={"choices": [1]}),
        ["parameters.state: state is already another column of the result table"],
    ),
    "parameter named like an objective": (
        lambda: changed(parameters__f1={"choices": [1]}),
        ["parameters.f1: f1 is already another column of the result table"],
    ),
}


@pytest.mark.parametrize(("study", "lines"), BAD.values(), ids=BAD.keys())
def test_each_problem_is_reported_clearly_and_only_once(study: Callable[[], Any], lines: list[str]) -> None:
    found = problems_of(study())
    assert len(found) == len(lines), found
    for problem, line in zip(found, lines, strict=True):
        assert problem.startswith(line)
