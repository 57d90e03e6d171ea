"""Writes each figure of the page as PNG, SVG and PDF, ready for a paper. Needs matplotlib, an extra of the package."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hposlurm.errors import RequestError
from hposlurm.report import output
from hposlurm.report.page.study_page import StudyPage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The formats that each figure is written in.
FORMATS = ("png", "svg", "pdf")

# A column of a two-column paper is about 3.4 inches wide; texts of 8 points are as large as its captions
_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "figure.dpi": 300,
    "savefig.bbox": "tight",
    "text.parse_math": False,  # a dollar sign in a name is no formula
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "svg.fonttype": "none",
    "svg.hashsalt": "hposlurm",  # the same study gives the same file
}

Plot = tuple[str, Callable[[], "Figure | None"]]


def check_figures(folder: Path) -> None:
    """Raises RequestError if matplotlib is missing, or `folder` can be neither used nor made."""
    if find_spec("matplotlib") is None:
        raise RequestError("--figures needs matplotlib, which is not installed: pip install 'hposlurm[report]'")
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"cannot write figures to {folder}: it is not a directory")
    if not folder.absolute().parent.is_dir():
        raise RequestError(f"cannot write figures to {folder}: there is no directory {folder.absolute().parent}")


def write_figures(folder: Path, studies: Sequence[StudyPage]) -> list[Path]:
    """Writes all figures that these studies have data for; returns the files, sorted.

    A figure of several studies has all of them on the same axes where the page has; others have the study in the name.
    """
    import matplotlib

    folder.mkdir(exist_ok=True)
    written: list[Path] = []
    with matplotlib.rc_context(_STYLE):
        for name, plot in _plots(studies):
            figure = plot()
            if figure is None:
                continue
            for kind in FORMATS:
                path = folder / f"{name}.{kind}"
                output.write(path, _bytes(figure, kind))
                written.append(path)
    return sorted(written)


def _bytes(figure: Figure, kind: str) -> bytes:
    data = io.BytesIO()
    # without the time of writing: the same study gives the same file
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    figure.savefig(data, format=kind, metadata=metadata)
    return data.getvalue()


def _plots(studies: Sequence[StudyPage]) -> Iterator[Plot]:
    from hposlurm.report.page import plots, study_plots

    objectives = list(dict.fromkeys(goal.name for study in studies for goal in study.trials.objectives))
    for number, objective in enumerate(objectives):
        suffix = f"-{_safe(objective, number)}" if len(objectives) > 1 else ""
        for axis in ("gpu_hours", "hours", "trials"):
            name = f"best-so-far-{axis.replace('_', '-')}{suffix}"
            yield name, lambda o=objective, a=axis: plots.best_so_far(studies, o, a)  # type: ignore[misc]
        yield f"curves{suffix}", lambda o=objective: plots.curves(studies, o)  # type: ignore[misc]
        yield f"slices{suffix}", lambda o=objective: plots.slices(studies, o)  # type: ignore[misc]
    yield "pareto-front", lambda: plots.pareto(studies)
    for number, study in enumerate(studies):
        suffix = f"-{_safe(study.head.study, number)}" if len(studies) > 1 else ""
        for name, plot in study_plots.ALL.items():
            yield f"{name}{suffix}", lambda p=plot, s=study: p(s)  # type: ignore[misc]


def _safe(name: str, number: int) -> str:
    """Returns a name as a part of a file's name; one that has no usable character becomes its number."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or str(number)
