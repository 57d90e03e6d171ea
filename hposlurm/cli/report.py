"""The verb report: one HTML file about studies. It only reads, except for writing the requested files."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import hposlurm
from hposlurm.cli.common import log
from hposlurm.cli.options import StudyNames
from hposlurm.report.numbers import counted, size_text

if TYPE_CHECKING:
    from hposlurm import Study


def register(app: typer.Typer) -> None:
    app.command()(report)


def report(
    studies: StudyNames,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write; an existing one is replaced.")
    ] = Path("report.html"),
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Also write each figure as PNG, SVG and PDF there.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Write the file again and again until the studies are over.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", min=2.0, metavar="SECONDS", help="With --watch: how often.")
    ] = 30.0,
) -> None:
    """Write one HTML page with figures and tables about studies; it opens from disk, without a network."""
    from hposlurm.report.page.writing import check_place

    found = [hposlurm.Study.open(name) for name in dict.fromkeys(studies)]
    layouts = [study.layout for study in found]
    check_place(output, layouts)
    if figures is not None:
        from hposlurm.report.page.figures import check_figures

        check_figures(figures)
        check_place(figures / "figure.png", layouts, is_new=not figures.exists())
    if not watch:
        _write(found, output, figures, None)
        return
    with contextlib.suppress(KeyboardInterrupt):
        for is_over in _rounds(found, every):
            _write(found, output, figures, None if is_over else every)


def _write(studies: "Sequence[Study]", output: Path, figures: Path | None, refresh_s: float | None) -> None:
    from hposlurm.report.page.writing import write_page

    pages = [study.report() for study in studies]
    size = write_page(output, pages, time.time(), refresh_s)
    trials = sum(len(page.trials.number) for page in pages)
    log(f"{output}: {counted(trials, 'trial')}, {size_text(size)}")
    if figures is not None:
        from hposlurm.report.page.figures import write_figures

        written = write_figures(figures, pages)
        log(f"{figures}: {counted(len(written), 'file')} of {counted(len({path.stem for path in written}), 'figure')}")


def _rounds(studies: "Sequence[Study]", every_s: float) -> Iterator[bool]:
    """Yields whether all studies are over, until they are; their state comes before what is then read of them."""
    views = [study.watch(log=log) for study in studies]
    while True:
        known = [next(view).is_over for view in views]  # each is asked, whatever the others say
        is_over = all(known)
        yield is_over
        if is_over:
            return
        time.sleep(every_s)
