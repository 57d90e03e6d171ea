"""The command and the script template are checked before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hposlurm.spec import parse
from hposlurm.spec.command import COMMAND_FACTS, command_problems
from tests.spec.data import changed, problems_of, write


def test_a_guarded_conditional_parameter_in_the_command_is_fine() -> None:
    for guard in ("momentum is defined", "optimizer == 'sgd'"):
        parse(changed(trial__command=f"train {{% if {guard} %}}{{{{ momentum }}}}{{% endif %}}"), "x")


def test_every_unguarded_conditional_parameter_is_found_at_once() -> None:
    choices = {"a": {"choices": [1, 2]}, "b": {"choices": [1, 2]}}
    study = changed(conditionals=[{"if": "optimizer == 'sgd'", "then": choices}], trial__command="{{ a }} {{ b }}")
    assert [problem[:19] for problem in problems_of(study)] == ["trial.command: 'a' ", "trial.command: 'b' "]


def test_command_problems_know_jinjas_own_functions_and_variables() -> None:
    assert command_problems("{% for i in range(3) %}{{ i }}{% endfor %}{% set y = lr %}{{ y }}", {"lr"}) == []
    assert command_problems(" ".join(f"{{{{ {name} }}}}" for name in sorted(COMMAND_FACTS)), set(COMMAND_FACTS)) == []


def test_a_command_nested_too_deeply_is_a_problem() -> None:
    assert problems_of(changed(trial__command="{{ " + "(" * 5000 + "lr" + ")" * 5000 + " }}")) != []


def test_a_template_with_a_syntax_error_is_located(tmp_path: Path) -> None:
    template = write(tmp_path / "my.sbatch.j2", "#!/bin/bash\n{% if x %}\n{{ command }\n")
    (problem,) = problems_of(changed(slurm__template=str(template)))
    assert problem == f"slurm.template: '{template}', line 3: unexpected '}}'"


def test_a_fact_that_may_be_unset_can_be_asked_for() -> None:
    command = "train {% if ds_config is defined %}--ds {{ ds_config }}{% endif %}"
    parse(changed(trial__command=command), "x")
    parse(changed(trial__command=command, trial__deepspeed=...), "x")
    assert problems_of(changed(trial__command="{% if lrr is defined %}x{% endif %}")) == [
        "trial.command: 'lrr' is not defined (did you mean lr?)"
    ]


def test_a_condition_on_facts_may_be_false_on_a_small_machine() -> None:
    study = changed(conditionals=[{"if": "gpus > 2", "then": {"shards": {"choices": [1, 2]}}}], trial__command="true")
    assert "shards" in parse(study, "x").space.names


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ('train {% if momentum is defined %}--m "{{ momentum }}"{% endif %}', 'a placeholder stands inside " quotes'),
        ("train {% if resume_from %}--from '{{ resume_from }}'{% endif %}", "a placeholder stands inside ' quotes"),
        ("train {% if not resume_from %}<<E {{ lr }}{% endif %}", "a placeholder stands after a here-document"),
        ('train {{ lr + "a" }}', "TypeError: "),
        ("train {{ lr / (bs - 3) }}", "ZeroDivisionError: float division by zero in {{ lr / (bs - 3) }}; params are {"),
        ("train {% if optimizer == 'sgd' %}{{ optimizer + 1 }}{% endif %}", "TypeError: can only concatenate str"),
        ("train {{ lr | nope }}", "No filter named 'nope'"),
        ("train {{ trial_dir.nope.nope }}", "'str object' has no attribute 'nope'"),
    ],
)
def test_what_would_stop_the_planner_at_night_is_found_at_once(command: str, message: str) -> None:
    (problem,) = problems_of(changed(trial__command=command, trial__deepspeed=...))
    assert problem.startswith(f"trial.command: {message}") or message in problem


def test_the_command_is_tried_out_with_what_the_planner_knows() -> None:
    command = (
        "train {% if trial % 2 == 0 and seed >= 0 and nodes * gpus_per_node == gpus %}{{ lr }}{% endif %}"
        "{% if resume_from %} {{ resume_from }}{% endif %} {{ trial_dir.split('/') | last | int }} {{ mem_gb }}"
    )
    parse(changed(trial__command=command), "x")
