"""Finds study directories by their names."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from hposlurm.errors import RequestError
from hposlurm.records.layout import StudyLayout


def runs_directory() -> Path:
    """Returns the directory of studies: $HPOSLURM_RUNS, else `runs` in the current directory."""
    return absolute(os.environ.get("HPOSLURM_RUNS") or "runs")


def absolute(path: str | Path) -> Path:
    """Returns `path` absolute and without `..`; links stay, since other nodes may see other ends of them.

    Raises RequestError for a path that is not UTF-8: records and scripts could not name it.
    """
    return in_utf8(Path(os.path.normpath(os.path.abspath(path))))  # noqa: PTH100 - Path.absolute keeps `..`


def in_utf8(path: Path) -> Path:
    """Returns `path`; raises RequestError if it contains bytes that are not UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise RequestError(f"the path {shown} is not UTF-8, and records are: rename it, or use another one") from None
    return path


def find_study(name_or_dir: str | Path, runs: Path) -> StudyLayout:
    """Returns the study that is named: a directory, or a name in `runs`.

    Raises RequestError with the nearest names if there is none.
    """
    candidates = [absolute(name_or_dir), absolute(runs / name_or_dir)]
    for directory in candidates:
        layout = StudyLayout(directory)
        if layout.spec().is_file():
            return layout
    for directory in candidates:
        if directory.is_file():
            raise RequestError(f"{str(name_or_dir)!r} is a file; a study is a directory with a study.yaml in it")
        if directory.is_dir():
            raise RequestError(f"{directory} has no study.yaml, so it is not a study directory")
    raise RequestError(f"no study {str(name_or_dir)!r} here or in {runs}{_nearest(str(name_or_dir), runs)}")


def only_study(runs: Path) -> StudyLayout:
    """Returns the only study in `runs`; raises RequestError if there are several, or none."""
    found = studies_in(runs)
    if len(found) == 1:
        return StudyLayout(found[0])
    if not found:
        raise RequestError(f"there is no study in {runs}; name a study's directory")
    raise RequestError(f"which study? There are: {', '.join(path.name for path in found)}")


def _nearest(name: str, runs: Path) -> str:
    known = [path.name for path in studies_in(runs)]
    near = difflib.get_close_matches(name, known, n=3)
    if near:
        return f"; did you mean {', '.join(near)}?"
    return f"; there are: {', '.join(known[:10])}" if known else "; there is no study there yet"


def studies_in(runs: Path) -> list[Path]:
    """Returns the directories of the studies in `runs`, by name."""
    return sorted(path.parent for path in runs.glob("[!.]*/study.yaml"))
