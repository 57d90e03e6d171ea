"""Verbs that look at studies: status, list, logs. They never write, and Ctrl-C ends nothing but the looking."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from hposlurm.cli.common import find_study, frozen_spec, runs_directory, say
from hposlurm.errors import HposlurmError, RequestError, StudyError
from hposlurm.report.style import OutputFormat

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from hposlurm.backend import ElementState
    from hposlurm.records.layout import StudyLayout
    from hposlurm.report.overview import StudyLine
    from hposlurm.report.progress import Progress
    from hposlurm.spec import StudySpec
    from hposlurm.trial import Attempt, Trial

#: What the queue says of a study's last wave: the state of every element and of the planner, asked in one go.
AskQueue = Callable[["StudyLayout"], Mapping[str, "ElementState"]]
#: The same of many studies by their directories; None where the queue did not answer.
AskQueues = Callable[[list["StudyLayout"]], Mapping["Path", Mapping[str, "ElementState"] | None]]

# squeue is everybody's: a watcher asks it less often than it looks at files
_ASK_QUEUE_EVERY_S = 30.0
_FOLLOW_EVERY_S = 1.0

OneStudy = Annotated[
    str | None, typer.Argument(metavar="[STUDY]", help="A study; may be left out where there is only one.")
]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A study's directory, or its name under runs/.")]
Style = Annotated[OutputFormat, typer.Option("--format", help="For a person or for a program.")]


def register(app: typer.Typer, ask_queue: AskQueue | None = None, ask_queues: AskQueues | None = None) -> None:
    """Adds the verbs; `status` without `ask_queue` and `list` without `ask_queues` tell what the files say."""

    @app.command()
    def status(
        study: OneStudy = None,
        watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay and look again until it is over.")] = False,
        every: Annotated[float, typer.Option("--every", min=0.2, metavar="SECONDS", help="How often to look.")] = 5.0,
        style: Style = OutputFormat.TABLE,
    ) -> None:
        """Show where a study is: counts, best so far, what runs, what failed and why."""
        if watch and style is OutputFormat.JSON:
            raise RequestError("--watch shows a screen; ask for --format json as often as you like instead")
        layout = find_study(study) if study else _only_study()
        spec = frozen_spec(layout)
        if watch:
            _watch(_looks(layout, spec, ask_queue), every)
            return
        view = next(_looks(layout, spec, ask_queue))
        if style is OutputFormat.JSON:
            print(json.dumps(view.to_json(), indent=2, ensure_ascii=False))
            return
        from rich.console import Console

        from hposlurm.report.screen import screen

        Console().print(screen(view))

    @app.command(name="list")
    def list_studies(
        tag: Annotated[
            list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Only studies with it.")
        ] = None,
        style: Style = OutputFormat.TABLE,
    ) -> None:
        """List the studies under runs/ with their counts, best value and age."""
        _list(tag or (), style, ask_queues)

    app.command()(logs)


def _only_study() -> StudyLayout:
    from hposlurm.records.layout import StudyLayout

    found = sorted(path.parent for path in runs_directory().glob("*/study.yaml"))
    if len(found) == 1:
        return StudyLayout(found[0])
    if not found:
        raise RequestError(f"there is no study in {runs_directory()}; name a study's directory")
    raise RequestError(f"which study? There are: {', '.join(path.name for path in found)}")


def _looks(layout: StudyLayout, spec: StudySpec, ask_queue: AskQueue | None) -> Iterator[Progress]:
    """Where the study is, each time anew; the queue is asked now and then only."""
    from hposlurm.records.history import read_history
    from hposlurm.report.progress import progress

    handle = layout.root.name if layout.root.parent == runs_directory() else str(layout.root)
    total = _total(spec)
    queue: Mapping[str, ElementState] | None = None
    asked = -_ASK_QUEUE_EVERY_S
    while True:
        if ask_queue is not None and time.monotonic() - asked >= _ASK_QUEUE_EVERY_S:
            asked = time.monotonic()
            queue = _ask(ask_queue, layout)
        history = read_history(layout)
        yield progress(
            layout,
            history,
            spec.objectives,
            total=total,
            now=time.time(),
            budget=spec.budget,
            queue=queue,
            handle=handle,
            limits=spec.limits,
        )


def _total(spec: StudySpec) -> int | None:
    """How many trials the study will have; None if unknown."""
    from hposlurm.decisions import trials_wanted

    return trials_wanted(spec)


def _ask(ask_queue: AskQueue, layout: StudyLayout) -> Mapping[str, ElementState] | None:
    try:
        return ask_queue(layout)
    except HposlurmError as error:
        say(f"note: the queue did not answer ({error}); this is what the files say")
        return None


def _watch(looks: Iterator[Progress], every_s: float) -> None:
    """Shows the progress until the study is over: live on a terminal, one line per change elsewhere."""
    from rich.console import Console

    console = Console()
    show = _watch_live if console.is_terminal else _watch_lines
    with contextlib.suppress(KeyboardInterrupt):
        show(_until_over(looks, every_s), console)


def _until_over(looks: Iterator[Progress], every_s: float) -> Iterator[Progress]:
    for view in looks:
        yield view
        if view.is_over:
            return
        time.sleep(every_s)


def _watch_live(views: Iterator[Progress], console: Console) -> None:
    from rich.live import Live

    from hposlurm.report.screen import screen

    with Live(console=console, auto_refresh=False) as live:
        for view in views:
            live.update(screen(view), refresh=True)


def _watch_lines(views: Iterator[Progress], console: Console) -> None:
    from hposlurm.report.screen import summary

    told = ""
    for view in views:
        if summary(view) != told:
            told = summary(view)
            console.file.write(f"{time.strftime('%H:%M:%S')}  {told}\n")
            console.file.flush()


def _list(tag: Sequence[str], style: OutputFormat, ask_queues: AskQueues | None) -> None:
    wanted = dict(_tag(text) for text in tag)
    lines = [line for line in _lines(ask_queues) if wanted.items() <= line.tags.items()]
    if style is OutputFormat.JSON:
        print(json.dumps([line.to_json() for line in lines], indent=2, ensure_ascii=False))
        return
    if not lines:
        say(f"no study in {runs_directory()}" + (f" has {', '.join(tag)}" if tag else ""))
        return
    from rich.console import Console

    from hposlurm.report.overview import overview

    console = Console()
    console.print(overview(lines, console.width))


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise RequestError(f"--tag {text!r} is no KEY=VALUE")
    return key, value


def _lines(ask_queues: AskQueues | None) -> list[StudyLine]:
    """The studies, newest first; one that cannot be read is named and left out."""
    from hposlurm.records.history import read_history
    from hposlurm.records.layout import StudyLayout
    from hposlurm.report.overview import study_line

    known = []
    for directory in _directories():
        layout = StudyLayout(directory)
        try:
            if layout.spec().is_file():
                known.append((layout, frozen_spec(layout), read_history(layout)))
        except (HposlurmError, OSError) as error:
            say(f"note: {directory} cannot be read: {error}")
    queues = ask_queues([layout for layout, _, _ in known]) if ask_queues else {}
    found = [
        study_line(
            layout,
            history,
            spec.objectives,
            spec.tags,
            time.time(),
            total=_total(spec),
            queue=queues.get(layout.root, {}),
            limits=spec.limits,
        )
        for layout, spec, history in known
    ]
    return sorted(found, key=lambda line: (line.age_s is None, line.age_s or 0.0, line.study))


def _directories() -> list[Path]:
    runs = runs_directory()
    return sorted(path for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []


def logs(
    study: StudyName,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="The trial's number.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the attempt ends.")] = False,
    attempt: Annotated[
        int | None, typer.Option("--attempt", metavar="K", help="Not the last attempt but this.")
    ] = None,
    err: Annotated[bool, typer.Option("--err", help="Only the error output.")] = False,
) -> None:
    """Print the output of a trial's last attempt, and its error output below."""
    from hposlurm.records.history import read_history
    from hposlurm.report.logs import choose_attempt

    layout = find_study(study)
    if layout.simulated.exists():
        raise RequestError(f"{layout.root.name} was simulated: nothing ran, so there are no logs")
    found = read_history(layout).trial(trial)
    try:
        _print_log(layout, found, choose_attempt(found, attempt), follow, err)
    except KeyboardInterrupt:
        return


def _print_log(layout: StudyLayout, trial: Trial, attempt: Attempt, follows: bool, err: bool) -> None:
    from hposlurm.report.logs import content, follow, log_path, whose

    path = log_path(layout, trial, attempt, "err" if err else "out")
    if not follows and not path.exists():
        raise StudyError(f"{path} does not exist (a network file system may show it only after a minute)")
    pieces = follow(layout, trial, attempt, path, _pause) if follows else content(path)
    _copy(pieces)
    if not err:
        errors = log_path(layout, trial, attempt, "err")
        if errors.exists() and errors.stat().st_size:
            _copy([f"\n---- {errors.relative_to(layout.root)}{whose(errors)} ----\n".encode()])
            _copy(content(errors))


def _pause() -> None:
    time.sleep(_FOLLOW_EVERY_S)


def _copy(pieces: Iterator[bytes] | list[bytes]) -> None:
    """To stdout as it is: a log need not be text."""
    sys.stdout.flush()
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
