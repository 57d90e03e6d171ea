"""The arguments and options that several verbs have in common."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hposlurm.report.style import Format, OutputFormat


def _one_of(names: type[StrEnum]) -> str:
    """Returns the values of an option in words: a metavar with all of them breaks inside a word at 80 columns."""
    *most, last = names
    return f"{', '.join(most)} or {last}"


StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A study's directory, or its name under runs/.")]
StudyNames = Annotated[list[str], typer.Argument(metavar="STUDY…", help="Studies: directories, or names under runs/.")]
OneStudy = Annotated[str | None, typer.Argument(metavar="[STUDY]", help="A study; optional if there is only one.")]
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")]
Overlays = Annotated[
    list[Path] | None, typer.Option("--overlay", metavar="FILE", help="A second YAML file, merged over the first.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set any key, e.g. --set search.seed=7.")
]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key, e.g. --set budget.n_trials=24.")
]
SearchSpaceFile = Annotated[
    Path | None, typer.Option("--search-space", metavar="FILE", help="Parameters, conditionals, … from a file.")
]
BackendName = Annotated[str | None, typer.Option("--backend", help="auto, slurm, local or simulated.")]
Style = Annotated[
    OutputFormat,
    typer.Option("--format", metavar="NAME", help=f"For a person or for a program: {_one_of(OutputFormat)}."),
]
TableStyle = Annotated[
    Format | None,
    typer.Option("--format", metavar="NAME", help=f"{_one_of(Format)}; default: by FILE's ending, else table."),
]
