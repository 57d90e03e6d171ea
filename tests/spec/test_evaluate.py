"""trial.evaluate: a second command in the study file."""

from __future__ import annotations

from pathlib import Path

from hposlurm.records.layout import StudyLayout
from hposlurm.render.trial import commands
from hposlurm.spec import parse
from hposlurm.spec.unreached import unreached
from tests.spec.data import changed, problems_of


def test_both_commands_are_rendered_as_one() -> None:
    spec = parse(changed(trial__command="train --lr {{ lr }}", trial__evaluate="lm_eval --out {{ trial_dir }}"), "x")
    layout = StudyLayout(Path("/runs/x"))
    command, resumed = commands(layout, spec.command_template, 3, {"lr": 1e-05}, 0)
    lines = [
        "train --lr 1.0e-05",
        'if [ ! -e "$HPOSLURM_REQUEST_FILE" ]; then',
        f"lm_eval --out {layout.trial(3).root}",
        "fi",
    ]
    assert (command.split("\n"), resumed) == (lines, None)


def test_its_mistakes_are_reported_by_its_name() -> None:
    (problem,) = problems_of(changed(trial__evaluate="lm_eval {{ nothing }}"))
    assert problem.startswith("trial.evaluate: 'nothing' is not defined")
    (problem,) = problems_of(changed(trial__evaluate="lm_eval ${#x} {{ lr }} #}"))
    assert problem.startswith("trial.evaluate: line 1: Jinja2 reads ${# as the begin of a comment")
    assert problems_of(changed(trial__evaluate=""))[0].startswith("trial.evaluate")


def test_a_parameter_that_only_the_evaluation_takes_is_passed_on(tmp_path: Path) -> None:
    data = {
        "name": "some",
        "objectives": [{"name": "loss"}],
        "parameters": {"lr": {"choices": [0.1, 0.01]}},
        "search": {"algorithm": "random"},
        "budget": {"n_trials": 4},
        "trial": {"command": "train", "metric_pattern": "(?P<loss>.*)", "workdir": str(tmp_path)},
    }
    assert unreached(parse(data, "x"))
    data["trial"] = {**data["trial"], "evaluate": "measure {{ lr }}"}  # type: ignore[dict-item]
    assert not unreached(parse(data, "x"))
