"""Study files of people who come from other tools: each word gets the one that is used here."""

from __future__ import annotations

from typing import Any

import pytest

from hposlurm.render.command import command_line
from hposlurm.spec import parse
from hposlurm.spec.document import parse_text
from tests.spec.data import changed, problems_of

SWEEP = """
program: train.py
project: demo
method: bayes
metric: {name: val/loss, goal: minimize}
early_terminate: {type: hyperband, min_iter: 3, eta: 3}
run_cap: 30
parameters:
  batch_size: {distribution: q_log_uniform_values, min: 32, max: 256, q: 8}
  lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}
  beta2: {distribution: inv_log_uniform_values, min: 0.9, max: 0.9999}
  dropout: {values: [0.0, 0.1, 0.3]}
  hidden: {min: 32, max: 512}
  epochs: {value: 5}
  optimizer: {parameters: {name: {values: [adam, sgd]}}}
command: ["${env}", "${args}"]
"""


def test_a_sweep_of_weights_and_biases_is_translated_word_by_word() -> None:
    data, _ = parse_text(SWEEP)
    found = dict(problem.split(": ", 1) for problem in problems_of(data))
    hints = {
        "program": "trial.command",
        "project": "tags: {key: value}",
        "method": "search.algorithm",
        "metric": "objectives: [{name: …, direction: minimize}]",
        "early_terminate": "search.algorithm: asha_stopping, median, asha or hyperband",
        "run_cap": "budget.n_trials",
    }
    for key, name in hints.items():
        assert found[key] == f"unknown key {key!r} (here it is called {name})"
    assert found["command"] == "unknown key 'command' (did you mean trial.command?)"
    kinds = {
        "batch_size": "here it is type: float (or int), log: true",
        "lr": "here it is type: float (or int), log: true",
        "beta2": "here it is type: float, log: true of 1 - x: search one_minus_x and write {{ 1 - one_minus_x }}",
        "dropout": "values is called choices",
        "hidden": "add type: int, or type: float",
        "epochs": "value is called choices with one value",
        "optimizer": "parameters is called names with a dot, such as optimizer.lr: {…}",
    }
    for name, hint in kinds.items():
        assert found[f"parameters.{name}.type"] == f"is missing ({hint})"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            {"parameters__lr": {"type": "float", "low": 0, "high": 1}},
            "parameters.lr.low: unknown key 'low' (here it is ",
        ),
        ({"resources__gpus": 2}, "resources.gpus: unknown key 'gpus' (here it is called gpus_per_node)"),
        ({"search__algorithm": "bayes"}, "search.algorithm: 'bayes' is not allowed (did you mean tpe, gp or auto? "),
        ({"search__algorithm": "MedianStop"}, "search.algorithm: 'MedianStop' is not allowed (did you mean median? "),
        ({"maxTrialNumber": 9}, "maxTrialNumber: unknown key 'maxTrialNumber' (here it is called budget.n_trials)"),
        ({"objectives": [{"name": "l", "direction": "min"}]}, "objectives.0.direction: 'min' is not allowed (did you "),
        (
            {"search__n_startup_trials": 9},
            "search.n_startup_trials: unknown key 'n_startup_trials' (here it is called ",
        ),
        ({"waves__mode": "max"}, "waves.mode: 'max' is not allowed (allowed: auto, barrier, overlap, refill)"),
    ],
)
def test_words_of_other_tools_are_known(values: dict[str, Any], problem: str) -> None:
    assert any(found.startswith(problem) for found in problems_of(changed(**values)))


@pytest.mark.parametrize(
    ("command", "mark", "what"),
    [
        ("echo ${#arr[@]} {{ lr }}", "{#", "comment"),
        ("printf '{%s}' {{ lr }}", "{%", "statement"),
        ("{{ lr }}\necho ${#a} # {{ lr }} #}", "${#", "comment"),
    ],
)
def test_marks_of_jinja_in_text_for_the_shell_are_named(command: str, mark: str, what: str) -> None:
    (problem,) = problems_of(changed(trial__command=command, trial__deepspeed=...))
    assert f"Jinja2 reads {mark} as the begin of a {what}" in problem and "{% raw %}…{% endraw %}" in problem


def test_the_advice_on_quotes_and_marks_works() -> None:
    for command in (
        """bash -c 'python train.py "$@"' _ {{ flags }}""",
        """train --name "run_$HPOSLURM_PARAM_lr" {{ flags }}""",
        "{% raw %}echo ${#arr[@]}; printf '{%s}' x;{% endraw %} train {{ flags }}",
    ):
        parse(changed(trial__command=command, trial__deepspeed=...), "x")
    line = command_line("""bash -c 'echo "$@"' _ {{ flags }}""", {"lr": "a b"}, {})
    assert line == """bash -c 'echo "$@"' _ --lr 'a b'"""
    (problem,) = problems_of(changed(trial__command='bash -c "train --lr {{ lr }}"', trial__deepspeed=...))
    assert """bash -c '… "$@"' _ {{ flags }}""" in problem and "$HPOSLURM_PARAM_<name>" in problem


@pytest.mark.parametrize(
    ("definition", "problem"),
    [
        (["adamw", "sgd"], ", not a list (write {choices: [adamw, sgd]})"),
        ([1e-4, "a b", True], ", not a list (write {choices: [0.0001, 'a b', true]})"),
        (0.1, ", not 0.1 (write {choices: [0.1]})"),
        (
            {"type": "loguniform", "low": 1e-6},
            "'loguniform' is not a type (here it is type: float (or int), log: true)",
        ),
        ({"type": "choice"}, "'choice' is not a type (here it is choices: […])"),
        ({"type": "integer"}, "'integer' is not a type (did you mean int?)"),
    ],
)
def test_a_definition_in_other_words_gets_its_own(definition: object, problem: str) -> None:
    assert any(found.endswith(problem) for found in problems_of(changed(parameters__lr=definition)))


def test_a_key_without_its_colon_is_named() -> None:
    data, _ = parse_text("name: x\nsearch {algorithm: tpe}\n")
    assert "search {algorithm: unknown key 'search {algorithm' (a colon is missing after search)" in problems_of(data)
