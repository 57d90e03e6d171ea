"""What several verbs share: finding a study, reading its spec, and printing."""

from __future__ import annotations

import difflib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hposlurm.errors import RequestError
from hposlurm.records.layout import StudyLayout

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


def runs_directory() -> Path:
    """Where studies lie: $HPOSLURM_RUNS, else `runs` in the current directory."""
    return _normal(os.environ.get("HPOSLURM_RUNS") or "runs")


def _normal(path: str) -> Path:
    """Absolute and without `..`; links stay, since other nodes may see other ends of them."""
    return Path(os.path.normpath(os.path.abspath(path)))  # noqa: PTH100 - Path.absolute keeps `..`


def find_study(name_or_dir: str) -> StudyLayout:
    """The study that is named: a directory, or a name under `runs/`. Raises RequestError with the nearest names."""
    candidates = [_normal(name_or_dir), _normal(str(runs_directory() / name_or_dir))]
    for directory in candidates:
        layout = StudyLayout(directory)
        if layout.spec().is_file():
            return layout
    for directory in candidates:
        if directory.is_file():
            raise RequestError(f"{name_or_dir!r} is a file; a study is a directory with a study.yaml in it")
        if directory.is_dir():
            raise RequestError(f"{directory} has no study.yaml in it, so it is no study directory")
    raise RequestError(f"no study {name_or_dir!r} here or in {runs_directory()}{_nearest(name_or_dir)}")


def _nearest(name: str) -> str:
    known = sorted(p.parent.name for p in runs_directory().glob("*/study.yaml"))
    near = difflib.get_close_matches(name, known, n=3)
    if near:
        return f"; did you mean {', '.join(near)}?"
    return f"; there are: {', '.join(known[:10])}" if known else "; there is no study there yet"


def frozen_spec(layout: StudyLayout) -> StudySpec:
    """The newest revision of a study's frozen spec."""
    from hposlurm.spec.frozen import frozen_spec as read

    return read(layout)


def say(text: str) -> None:
    """A line for the person (stderr): what happens, not what was asked for."""
    print(text, file=sys.stderr, flush=True)
