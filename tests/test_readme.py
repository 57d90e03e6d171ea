"""The README and the code say the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main

from hposlurm.cli.main import app
from hposlurm.spec import StudySpec, parse

README = (Path(__file__).parents[1] / "README.md").read_text()
COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_in_the_readme_and_has_help(name):
    assert re.search(rf"^\| `{name}[ `]", README, re.MULTILINE)
    assert COMMANDS[name].help


def test_every_command_of_the_readme_exists():
    table = README.split("## Commands")[1].split("\n\n")[1]
    assert set(re.findall(r"^\| `(\w+)", table, re.MULTILINE)) == set(COMMANDS)


def test_every_section_of_the_study_file_is_in_the_readme():
    table = README.split("## The study file")[1]
    assert not [name for name in StudySpec.model_fields if f"`{name}`" not in table]


def test_the_example_is_a_valid_study():
    import yaml

    text = README.split("```yaml\n")[1].split("```")[0]
    assert parse(yaml.safe_load(text), "README").name == "bloom-squad"


def test_shell_completion_completes():
    environment = {**os.environ, "_HPOSLURM_COMPLETE": "complete_bash", "COMP_WORDS": "hposlurm la", "COMP_CWORD": "1"}
    program = Path(sys.executable).with_name("hposlurm")
    done = subprocess.run([program], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["launch"]


def test_the_tree_has_every_room_in_the_order_in_which_imports_point():
    root = Path(__file__).parents[1]
    text = README.split("## Where things are")[1].split("\n\n")[1]
    shown = [line.split()[0] for line in text.splitlines() if line.startswith("      ")]
    package = root / "hposlurm"
    rooms = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    loose = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    assert sorted(shown) == sorted(rooms | loose)
    contract = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    height = {
        name.strip(): level for level, layer in enumerate(contract["layers"]) for name in re.split(r"[|:]", layer)
    }
    levels = [height[re.sub(r"/$|\.py$", "", name)] for name in shown]
    assert levels == sorted(levels)
    beside = {line.split()[0] for line in text.splitlines() if re.match(r"    \S", line)}
    assert all((root / name).is_dir() for name in beside)
    assert beside == {"hposlurm/", "templates/", "experiments/", "scripts/", "tests/"}


def test_every_path_that_contributing_names_exists():
    root = Path(__file__).parents[1]
    text = (root / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:hposlurm|tests|scripts|experiments)/[\w./-]*|\.ci/run|[A-Za-z]+\.(?:md|toml))", text))
    assert len(named) > 15
    assert [name for name in sorted(named) if not (root / name).exists()] == []
