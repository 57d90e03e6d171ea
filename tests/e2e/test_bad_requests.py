"""Wrong requests: each with its clear sentence, exit status 2, no traceback, and nothing written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """\
name: good
objectives: [{name: eval_loss, direction: minimize}]
parameters:
  lr: {type: float, min: 1.0e-5, max: 1.0e-3, log: true, default: 1.0e-4}
  opt: {choices: [adamw, sgd]}
conditionals:
  - {if: opt == "sgd", then: {momentum: {type: float, min: 0.5, max: 0.9}}}
constraints: ["lr <= 1"]
search: {algorithm: tpe, seed: 1}
budget: {n_trials: 4}
trial: {command: "train --lr {{ lr }}"}
"""

WRONG = {
    "unknown key": (
        GOOD.replace("budget:", "buget:"),
        ["buget", "did you mean", "budget"],
    ),
    "min above max": (
        GOOD.replace("min: 1.0e-5", "min: 1.0"),
        ["parameters.lr", "min", "max"],
    ),
    "log from zero": (
        GOOD.replace("min: 1.0e-5", "min: 0.0"),
        ["parameters.lr", "log", "0"],
    ),
    "default outside": (
        GOOD.replace("default: 1.0e-4", "default: 2.0"),
        ["parameters.lr.default", "2.0"],
    ),
    "no point is allowed": (
        GOOD.replace("lr <= 1", "lr <= 1.0e-6").replace(", default: 1.0e-4", ""),
        ["good would not have a single trial", "constraints"],
    ),
    "no choices": (
        GOOD.replace("choices: [adamw, sgd]", "choices: []"),
        ["parameters.opt.choices", "empty"],
    ),
    "conditional on an unknown parameter": (
        GOOD.replace('if: opt == "sgd"', 'if: optt == "sgd"'),
        ["conditionals.0.if", "optt", "opt"],
    ),
    "cycle of conditionals": (
        GOOD.replace(
            "constraints:",
            "  - {if: a == 1, then: {b: {choices: [1, 2]}}}\n"
            "  - {if: b == 1, then: {a: {choices: [1, 2]}}}\n"
            "constraints:",
        ),
        ["circular", "b → a → b"],
    ),
    "constraint with a call": (
        GOOD.replace('"lr <= 1"', "\"__import__('os').system('touch owned')\""),
        ["constraints.0", "call"],
    ),
    "constraint with an attribute": (
        GOOD.replace('"lr <= 1"', '"lr.real <= 1"'),
        ["constraints.0", "lr.real"],
    ),
    "undefined name in the command": (
        GOOD.replace("{{ lr }}", "{{ lrr }}"),
        ["trial.command", "lrr", "did you mean", "lr"],
    ),
    "no YAML": (
        GOOD.replace("budget: {n_trials: 4}", "budget: {n_trials: 4"),
        ["line", "column"],
    ),
    "quoted placeholder": (
        GOOD.replace("train --lr {{ lr }}", "train --lr '{{ lr }}'"),
        ["trial.command", "quotes"],
    ),
    "quoted placeholder in a branch that few trials take": (
        GOOD.replace(
            'command: "train --lr {{ lr }}"',
            "command: 'train {% if momentum is defined %}\"{{ momentum }}\"{% endif %}'",
        ),
        ["trial.command", "quotes"],
    ),
    "placeholder in a here-document": (
        GOOD.replace('command: "train --lr {{ lr }}"', 'command: "cat <<E\\nlr: {{ lr }}\\nE"'),
        ["trial.command", "here-document", "printf"],
    ),
    "text added to a number in the command": (
        GOOD.replace('"train --lr {{ lr }}"', "'train --lr {{ lr + \"a\" }}'"),
        ["trial.command", "TypeError", '{{ lr + "a" }}', "params are"],
    ),
    "division by zero in the command": (
        GOOD.replace("{{ lr }}", "{{ 1 / 0 }}"),
        ["trial.command", "ZeroDivisionError", "{{ 1 / 0 }}"],
    ),
    "command that reaches for Python": (
        GOOD.replace("{{ lr }}", "{{ cycler.__init__.__globals__.os.system('touch owned') }}"),
        ["trial.command", "unsafe", "{{ cycler"],
    ),
    "pruner without what it needs": (
        GOOD.replace("algorithm: tpe", "algorithm: threshold"),
        ["search.upper", "is missing", "search.lower"],
    ),
    "unknown algorithm": (
        GOOD.replace("algorithm: tpe", "algorithm: tpee"),
        ["search.algorithm", "tpee", "did you mean", "tpe"],
    ),
}


def tree(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def refused(shell, *words: str) -> str:
    """Runs a request that must be refused without a trace; what it says."""
    before = tree(shell.cwd)
    done = shell.run(*words)
    assert done.returncode == 2, (done.stdout, done.stderr)
    # a note that sinfo is not there, or does not answer, may come before it
    assert "Traceback" not in done.stderr and re.search(r"^error: ", done.stderr, re.MULTILINE)
    assert tree(shell.cwd) == before
    return done.stderr


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_study_file(shell, case):
    text, words = WRONG[case]
    assert text != GOOD
    (shell.cwd / "study.yaml").write_text(text)
    said = refused(shell, "launch", "study.yaml", "--backend", "local")
    assert not [word for word in words if word not in said], said


def test_the_good_one_is_good(shell):
    (shell.cwd / "study.yaml").write_text(GOOD)
    assert "is valid" in shell.ok("check", "study.yaml", "--backend", "local")


def test_all_problems_of_a_file_are_told_at_once(shell):
    text = (
        GOOD.replace("buget", "budget")
        .replace("min: 1.0e-5", "min: 0.0")
        .replace("choices: [adamw, sgd]", "choices: []")
    )
    (shell.cwd / "study.yaml").write_text(text.replace("{{ lr }}", "{{ lrr }}"))
    said = refused(shell, "check", "study.yaml")
    assert "3 problems" in said or "4 problems" in said, said


def test_a_study_file_that_is_not_there(shell):
    assert "nowhere.yaml" in refused(shell, "launch", "nowhere.yaml")


def test_a_directory_with_another_spec(shell):
    (shell.cwd / "study.yaml").write_text(GOOD.replace("train --lr {{ lr }}", "false {{ lr }}"))
    shell.run("launch", "study.yaml", "--backend", "local")
    said = refused(shell, "launch", "study.yaml", "--backend", "local", "--set", "search.seed=2")
    assert "another spec" in said and "search" in said and "--set name=" in said


def test_a_file_where_the_study_directory_would_be(shell):
    (shell.cwd / "study.yaml").write_text(GOOD)
    (shell.cwd / "runs").mkdir()
    (shell.cwd / "runs" / "good").write_text("mine")
    assert "is a file" in refused(shell, "launch", "study.yaml", "--backend", "local")


def test_a_file_where_the_runs_directory_would_be(shell):
    (shell.cwd / "study.yaml").write_text(GOOD)
    (shell.cwd / "runs").write_text("mine")
    assert "runs" in refused(shell, "launch", "study.yaml", "--backend", "local")


def test_somebody_elses_directory(shell):
    (shell.cwd / "study.yaml").write_text(GOOD)
    (shell.cwd / "runs" / "good").mkdir(parents=True)
    (shell.cwd / "runs" / "good" / "notes.txt").write_text("mine")
    assert "is not a study" in refused(shell, "launch", "study.yaml", "--backend", "local")


def test_a_read_only_directory(tmp_path):
    """As an ordinary user, since root may write anywhere."""
    (tmp_path / "study.yaml").write_text(GOOD)
    command = [sys.executable, "-P", "-m", "hposlurm", "launch", "study.yaml", "--backend", "local"]
    if os.getuid() == 0:
        if shutil.which("unshare") is None:
            pytest.skip("root may write to any directory, and unshare, which would make one read-only, is not here")
        mount = 'mount --bind . . && mount -o remount,bind,ro . && cd "$PWD" && exec "$@"'
        command = ["unshare", "--mount", "bash", "-c", mount, "bash", *command]
    else:
        tmp_path.chmod(0o500)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    tmp_path.chmod(0o700)
    assert done.returncode == 2, done.stderr
    assert "cannot create" in done.stderr and ("Read-only" in done.stderr or "Permission denied" in done.stderr)
    assert tree(tmp_path) == ["study.yaml"]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("#!/bin/bash\n\n{% if %}\n", ["my.sbatch.j2", "line 3"]),
        ("#!/bin/bash\n{{ jobname }}\n", ["jobname", "job_name"]),
        ("#!/bin/bash\n{{ 1 / 0 }}\n", ["my.sbatch.j2", "line 2", "ZeroDivisionError"]),
        ("#!/bin/bash\ntrue\n", ["my.sbatch.j2", "#SBATCH --array=0-", "#SBATCH --hold", "hposlurm.worker"]),
    ],
)
def test_a_broken_template(shell, template, words):
    (shell.cwd / "my.sbatch.j2").write_text(template)
    (shell.cwd / "study.yaml").write_text(GOOD + "slurm: {template: my.sbatch.j2}\n")
    for words_given in (["check"], ["launch", "--dry-run"], ["launch"]):
        said = refused(shell, *words_given, "study.yaml", "--backend", "slurm")
        assert not [word for word in words if word not in said], said


def test_no_slurm_where_slurm_is_asked_for(shell, tmp_path):
    (shell.cwd / "study.yaml").write_text(GOOD)
    empty = tmp_path / "bin"
    empty.mkdir()
    command = [sys.executable, "-P", "-m", "hposlurm", "launch", "study.yaml", "--backend", "slurm"]
    done = subprocess.run(command, cwd=shell.cwd, env={"PATH": str(empty)}, capture_output=True, text=True)
    assert done.returncode == 1 and "not on the PATH" in done.stderr and "Traceback" not in done.stderr
    assert not list((shell.cwd / "runs").glob("*"))


def test_a_dry_run_needs_no_slurm_and_writes_nothing(shell, tmp_path):
    (shell.cwd / "study.yaml").write_text(GOOD)
    empty = tmp_path / "bin"
    empty.mkdir()
    before = tree(shell.cwd)
    command = [sys.executable, "-P", "-m", "hposlurm", "launch", "study.yaml", "--backend", "slurm", "--dry-run"]
    done = subprocess.run(command, cwd=shell.cwd, env={"PATH": str(empty)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "#SBATCH --array=0-3" in done.stdout and "train --lr 0.0001" in done.stdout
    assert "hposlurm.worker" in done.stdout and "hposlurm advance" in done.stdout
    assert tree(shell.cwd) == before


@pytest.mark.parametrize("verb", ["status", "collect", "best", "cancel", "resume", "advance", "rebuild"])
def test_a_study_that_does_not_exist(shell, verb):
    (shell.cwd / "runs" / "bloom").mkdir(parents=True)
    (shell.cwd / "runs" / "bloom" / "study.yaml").write_text(GOOD)
    said = refused(shell, verb, "blom")
    assert "blom" in said and "did you mean bloom" in said
