"""What a command does not pass on is named, and a script that asks for it by itself gives no false alarm."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hposlurm.spec import parse
from hposlurm.spec.unreached import unreached

ASHA = {"algorithm": "asha", "min_resource": 1, "max_resource": 9}


def noted(command: str, tmp_path: Path, *, script: str | None = None, **keys: Any) -> list[str]:
    if script is not None:
        (tmp_path / "train.py").write_text(script)
    trial = {"command": command, "metric_pattern": r"^loss (?P<loss>\S+)", "workdir": str(tmp_path)}
    data = {
        "name": "some",
        "objectives": [{"name": "loss"}],
        "parameters": {"lr": {"choices": [0.1, 0.01]}, "wd": {"choices": [0, 0.1]}},
        "search": {"algorithm": "random"},
        "budget": {"n_trials": 4},
        **keys,
        "trial": {key: value for key, value in {**trial, **keys.get("trial", {})}.items() if value is not None},
    }
    return list(unreached(parse(data, "some")))


def test_a_parameter_that_is_not_in_the_command_is_named(tmp_path: Path) -> None:
    assert noted("echo loss {{ lr }}", tmp_path) == [
        "wd is not in trial.command (write {{ wd }} or {{ flags }}); it arrives only as HPOSLURM_PARAM_wd and in "
        "client.params()"
    ]


def test_an_objective_that_no_file_has_is_named(tmp_path: Path) -> None:
    command, trial = "train {{ flags }}", {"metric_pattern": None, "metrics": {"file": "x.csv", "map": {"acc": "a"}}}
    (note,) = noted(command, tmp_path, script="import torch", trial=trial)
    assert note.startswith("no entry of trial.metrics has loss in its map (they have acc); ")
    for more in ({"file": "x.csv"}, {"file": "x.csv", "map": {"loss": "a"}}):
        assert noted(command, tmp_path, trial={"metric_pattern": None, "metrics": [more]}) == []


def test_several_parameters_are_named_in_one_note(tmp_path: Path) -> None:
    (note,) = noted("echo loss 0.5", tmp_path)
    assert note.startswith("lr, wd are not in trial.command (write {{ lr }} or {{ flags }}); they arrive only as ")


@pytest.mark.parametrize(
    "command",
    [
        "train {{ flags }}",
        "train {{ lr }} {% if wd %}--decay {{ wd }}{% endif %}",
        'train {{ lr }} "$HPOSLURM_PARAM_wd"',
        "train --json $HPOSLURM_PARAMS_FILE",
        "env | grep HPOSLURM_PARAM_",
    ],
)
def test_a_command_that_passes_everything_gets_no_note(command: str, tmp_path: Path) -> None:
    assert noted(command, tmp_path) == []


@pytest.mark.parametrize(
    "script",
    [
        "from hposlurm import client\nvars(args).update(client.params())\n",
        "import hposlurm.client as hpo\nargs = hpo.params()\n",
        "from hposlurm.client import params, report\n",
        "import os\nwd = float(os.environ['HPOSLURM_PARAM_wd']); lr = os.environ['HPOSLURM_PARAM_lr']\n",
        "import json, os\njson.load(open(os.environ['HPOSLURM_PARAMS_FILE']))\n",
        "from config import parsed\n",
    ],
)
def test_a_script_that_asks_for_its_parameters_gets_no_note(script: str, tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("from hposlurm import client\nparsed = client.params()\n")
    for command in ("python train.py", "torchrun --standalone -m train", f"python {tmp_path}/train.py"):
        assert noted(command, tmp_path, script=script) == []


def test_a_shell_script_is_followed_to_what_it_starts(tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text("python train.py\n")
    script = "from hposlurm import client\nclient.report(1, loss=f(**client.params()))\n"
    assert noted("bash job.sh", tmp_path, script=script) == []


def test_a_script_that_reads_neither_is_named(tmp_path: Path) -> None:
    script = "import argparse\nparser.add_argument('--wd', default=0.1)\nprint(model.params())\n"
    (note,) = noted("python train.py --lr {{ lr }}", tmp_path, script=script)
    assert note.endswith("HPOSLURM_PARAM_wd and in client.params(), and train.py reads neither")


def test_only_the_variable_that_a_script_reads_arrives(tmp_path: Path) -> None:
    (note,) = noted("python train.py", tmp_path, script="import os\nos.environ['HPOSLURM_PARAM_lr']\n")
    assert note.startswith("wd is not in trial.command")


def test_a_parameter_that_decides_about_others_may_stay_out_of_the_command(tmp_path: Path) -> None:
    conditionals = [{"if": "lr == 0.1", "then": {"momentum": {"choices": [0.8, 0.9]}}}]
    command = "train {{ wd }} {% if momentum is defined %}{{ momentum }}{% endif %}"
    assert noted(command, tmp_path, conditionals=conditionals) == []


@pytest.mark.parametrize(
    ("command", "text", "instead"),
    [
        ("python train.py ${args}", "${args}", "{{ flags }}"),
        ("${interpreter} train.py {{ flags }}", "${interpreter}", "python"),
        ("train --wd {{ wd }} --lr {lr}", "{lr}", "{{ lr }}"),
        ("train --wd {{ wd }} --lr ${lr}", "${lr}", "{{ lr }}"),
        ("train --wd {{ wd }} --lr $lr", "$lr", "{{ lr }}"),
        ("train --wd {{ wd }} --lr %(lr)s", "%(lr)s", "{{ lr }}"),
    ],
)
def test_the_macros_of_other_tools_are_named(command: str, text: str, instead: str, tmp_path: Path) -> None:
    told = noted(command, tmp_path, script="import hposlurm")
    assert told == [f"{text} in trial.command is not replaced; did you mean {instead}?"]


@pytest.mark.parametrize(
    "command",
    [
        'lr={{ lr }}; train "$lr" ${lr} {{ wd }}',
        "for lr in {{ lr }}; do train $lr {{ wd }}; done",
        "args={{ flags }}; train ${args}",
        "train {{ flags }} ${EXTRA:-} ${lrs} $lrx",
    ],
)
def test_a_variable_of_the_shell_is_no_macro(command: str, tmp_path: Path) -> None:
    assert noted(command, tmp_path) == []


@pytest.mark.parametrize("algorithm", ["asha", "hyperband", "bohb", "successive_halving", "auto"])
def test_a_stage_that_nothing_asks_for_is_named_with_what_to_take_instead(algorithm: str, tmp_path: Path) -> None:
    script = "for epoch in range(1, 10): print(f'epoch {epoch} loss 1')\n"
    search = {**ASHA, "algorithm": algorithm}
    (note,) = noted("python train.py {{ flags }}", tmp_path, script=script, search=search)
    assert note.startswith(f"trial.command does not mention max_step, and train.py does not ask for it: {algorithm} ")
    instead = "{sampler: tpe, pruner: asha_stopping" if algorithm == "bohb" else "{algorithm: asha_stopping"
    assert note.endswith(f"with 0 edits of the script take search: {instead}, max_resource: 9}}")
    parse_ok = {"sampler": "tpe", "pruner": "asha_stopping"} if algorithm == "bohb" else {"algorithm": "asha_stopping"}
    assert noted("python train.py {{ flags }}", tmp_path, search={**parse_ok, "max_resource": 9}) == []


def test_a_population_is_told_that_its_stages_are_not_asked_for(tmp_path: Path) -> None:
    search = {"algorithm": "pbt", "population_size": 4, "perturbation_interval": 3, "max_resource": 9}
    parameters = {"lr": {"type": "float", "min": 0.1, "max": 1, "mutable": True}}
    (note,) = noted("train {{ lr }}", tmp_path, search=search, parameters=parameters, budget={})
    assert note.startswith("trial.command does not mention max_step: pbt ") and "asha_stopping" not in note


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("train {{ flags }} --until {{ max_step }}", None),
        ('train {{ flags }} "$HPOSLURM_MAX_STEP"', None),
        ("python train.py {{ flags }}", "from hposlurm import client\nlast = client.max_step() or 5\n"),
        ("python train.py {{ flags }}", "from hposlurm import client\nif client.should_stop(): break\n"),
        ("python train.py {{ flags }}", "trainer.add_callback(HposlurmCallback())\n"),
    ],
)
def test_who_asks_for_the_end_of_a_stage_gets_no_note(command: str, script: str | None, tmp_path: Path) -> None:
    assert noted(command, tmp_path, script=script, search=ASHA) == []


def test_an_objective_that_no_group_has_is_named(tmp_path: Path) -> None:
    (note,) = noted("train {{ flags }}", tmp_path, objectives=[{"name": "val_loss"}])
    assert note.startswith("no group of trial.metric_pattern is called val_loss (it has loss); ")
    script = "from hposlurm import client\nclient.report(1, val_loss=2)\n"
    assert noted("python train.py {{ flags }}", tmp_path, script=script, objectives=[{"name": "val_loss"}]) == []


def test_a_script_that_reports_nothing_is_named(tmp_path: Path) -> None:
    (note,) = noted("python train.py {{ flags }}", tmp_path, script="print(1)\n", trial={"metric_pattern": None})
    assert note.startswith("train.py does not mention hposlurm, and there is no trial.metric_pattern")
    assert noted("./other {{ flags }}", tmp_path, trial={"metric_pattern": None}) == []


def test_only_regular_files_are_looked_into_and_only_their_beginning(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "zero.py").symlink_to("/dev/zero")
    with (tmp_path / "huge.py").open("wb") as huge:
        huge.truncate(2**40)
    (tmp_path / "loop.py").write_text("import loop\n")
    (tmp_path / "binary.py").write_bytes(b"\0hposlurm max_step")
    command = "cat pipe.py zero.py huge.py loop.py binary.py /dev/stdin / . {{ flags }}"
    assert [note[:30] for note in noted(command, tmp_path, search=ASHA)] == ["trial.command does not mention"]


def test_at_most_twenty_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hposlurm.spec import scripts

    read: list[Path] = []
    monkeypatch.setattr(scripts, "read_begin", lambda path, _: read.append(path) or b"import a")
    noted(" ".join(f"s{i}.py" for i in range(500)) + " {{ flags }}", tmp_path)
    assert len(read) == 20


def test_a_script_that_does_not_exist_is_named_with_the_nearest(tmp_path: Path) -> None:
    told = f"trian.py in trial.command does not exist in {tmp_path}; did you mean train.py?"
    assert noted("python trian.py {{ flags }}", tmp_path, script="import hposlurm") == [told]
    assert noted("torchrun --standalone trian.py {{ flags }} --to out.py", tmp_path) == [told]
    (tmp_path / "src").mkdir()
    (note,) = noted("python src/other.py {{ flags }}", tmp_path)
    assert note == f"src/other.py in trial.command does not exist in {tmp_path}"


@pytest.mark.parametrize(
    "command",
    [
        "python train.py {{ flags }} --config made.py",
        "cd src && python trian.py {{ flags }}",
        "python {{ study_dir }}/trian.py {{ flags }}",
        "python $HOME/trian.py {{ flags }}",
        "python ~/trian.py {{ flags }}",
        "python -m trian {{ flags }} other.py",
        "apptainer exec image.sif python /app/trian.py {{ flags }}",
        "python -c 'open(\"made.py\")' {{ flags }}",
        "train {{ flags }} --log made.py",
    ],
)
def test_a_file_that_may_be_there_when_it_runs_gets_no_note(command: str, tmp_path: Path) -> None:
    assert noted(command, tmp_path, script="import hposlurm") == []
