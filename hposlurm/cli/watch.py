"""Verbs that show studies: status, list, logs. They write nothing, and Ctrl-C ends only the display."""

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

import hposlurm
from hposlurm.cli.common import log, print_json
from hposlurm.cli.live import watch_studies, watch_study
from hposlurm.cli.options import OneStudy, StudyName, Style
from hposlurm.errors import RequestError, StudyError
from hposlurm.records.find import runs_directory
from hposlurm.report.printable import cleaned
from hposlurm.report.style import OutputFormat

if TYPE_CHECKING:
    from hposlurm.records.layout import StudyLayout
    from hposlurm.report.overview import StudyLine
    from hposlurm.trial import Attempt, Trial

Every = Annotated[float, typer.Option("--every", min=0.2, metavar="SECONDS", help="With --watch: how often.")]

_FOLLOW_EVERY_S = 1.0


def register(app: typer.Typer) -> None:
    app.command()(status)
    app.command(name="list")(list_studies)
    app.command()(logs)


def status(
    study: OneStudy = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Keep running and refresh until the study is over.")
    ] = False,
    every: Every = 5.0,
    style: Style = OutputFormat.TABLE,
) -> None:
    """Show the state of a study: counts, best so far, running trials, failed trials and why."""
    _refuse_json(watch, style)
    found = hposlurm.Study.open(study)
    if watch:
        watch_study(found, every)
        return
    view = found.status(log=log)
    if style is OutputFormat.JSON:
        print_json(view.to_json())
        return
    from rich.console import Console

    from hposlurm.report.progress_text import screen

    Console().print(screen(view))


def _refuse_json(watch: bool, style: OutputFormat) -> None:
    if watch and style is OutputFormat.JSON:
        raise RequestError("--watch shows a screen; use --format json without it, as often as needed")


def list_studies(
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Only studies with this tag.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Keep running and refresh until all studies are over.")
    ] = False,
    every: Every = 5.0,
    style: Style = OutputFormat.TABLE,
) -> None:
    """List the studies under runs/ with their counts, best value and age."""
    _refuse_json(watch, style)
    wanted = dict(_tag(text) for text in tag or ())

    def chosen(lines: list["StudyLine"]) -> list["StudyLine"]:
        return [line for line in lines if wanted.items() <= line.tags.items()]

    if watch:
        watch_studies(lambda notes: map(chosen, hposlurm.Study.watch_all(log=notes)), every)
        return
    lines = chosen(hposlurm.Study.overview(log=log))
    if style is OutputFormat.JSON:
        print_json([line.to_json() for line in lines])
        return
    if not lines:
        log(f"no study in {runs_directory()}" + (f" has {', '.join(tag)}" if tag else ""))
        return
    from rich.console import Console

    from hposlurm.report.overview_text import overview

    console = Console()
    console.print(overview(lines, console.width))


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise RequestError(f"--tag {text!r} is not KEY=VALUE")
    return key, value


def logs(
    study: StudyName,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="The trial's number.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the output until the attempt ends.")] = False,
    attempt: Annotated[
        int | None, typer.Option("--attempt", metavar="K", help="This attempt instead of the last one.")
    ] = None,
    err: Annotated[bool, typer.Option("--err", help="Only the error output.")] = False,
) -> None:
    """Print the output of a trial's last attempt, then its error output."""
    from hposlurm.records.history import read_history
    from hposlurm.report.logs import choose_attempt

    layout = hposlurm.Study.open(study).layout
    if layout.simulated.exists():
        raise RequestError(f"{layout.root.name} was simulated: nothing ran, so there are no logs")
    found = read_history(layout).trial(trial)
    try:
        _print_log(layout, found, choose_attempt(found, attempt), follow, err)
    except KeyboardInterrupt:
        return


def _print_log(layout: "StudyLayout", trial: "Trial", attempt: "Attempt", follows: bool, err: bool) -> None:
    from hposlurm.report.logs import follow, log_path, without_holes, worker_lines_note

    path = log_path(layout, trial, attempt, "err" if err else "out")
    if not follows and not path.exists():
        raise StudyError(f"{path} does not exist (a network file system may show it only after a minute)")
    pieces = follow(layout, trial, attempt, path, _pause) if follows else without_holes(path)
    _copy(pieces)
    if not err:
        errors = log_path(layout, trial, attempt, "err")
        if errors.exists() and errors.stat().st_size:
            _copy([f"\n---- {errors.relative_to(layout.root)}{worker_lines_note(errors)} ----\n".encode()])
            _copy(without_holes(errors))


def _pause() -> None:
    time.sleep(_FOLLOW_EVERY_S)


def _copy(pieces: Iterable[bytes]) -> None:
    """Writes the bytes to stdout without control characters: a log may contain anything, and this is a screen."""
    sys.stdout.flush()
    for piece in cleaned(pieces):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
