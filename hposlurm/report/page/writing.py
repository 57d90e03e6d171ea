"""Writes the page, once or again and again while a study runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hposlurm import __version__
from hposlurm.errors import RequestError
from hposlurm.report import output
from hposlurm.report.page.html import page_html
from hposlurm.report.page.study_page import StudyPage

if TYPE_CHECKING:
    from hposlurm.records.layout import StudyLayout


def check_place(path: Path, layouts: Sequence[StudyLayout], *, is_new: bool = False) -> None:
    """Raises RequestError if `path` cannot be written, or lies in the directory of a study, which is only read.

    `is_new` is for a file in a directory that is yet to be made.
    """
    if not is_new:
        output.check_writable(path)
    place = path.resolve()
    for layout in layouts:
        if place.is_relative_to(layout.root.resolve()):
            raise RequestError(
                f"cannot write {path}: it is in the directory of study {layout.root.name}, where only its jobs write"
            )


def write_page(path: Path, studies: Sequence[StudyPage], now: float, refresh_s: float | None = None) -> int:
    """Writes the page of these studies, atomically; returns its size in bytes.

    With `refresh_s` a browser that shows it loads it again after so many seconds, as long as a study runs.
    """
    data = page_html(studies, created_at=now, version=__version__, refresh_s=refresh_s)
    output.write(path, data)
    return len(data)
