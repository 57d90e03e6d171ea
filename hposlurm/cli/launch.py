"""Verbs that start a study: check, launch."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import hposlurm
from hposlurm.cli.common import log, say
from hposlurm.cli.follow import go_on
from hposlurm.cli.options import BackendName, Overlays, SearchSpaceFile, Settings, StudyFile
from hposlurm.cli.simulate import run_simulation
from hposlurm.errors import HposlurmError, RequestError
from hposlurm.report.numbers import counted
from hposlurm.report.printable import for_screen

if TYPE_CHECKING:
    from hposlurm import Study
    from hposlurm.planner.study import Preview

Simulate = Annotated[
    str | None,
    typer.Option(
        "--simulate", metavar="MODULE:FUNCTION", help="Train nothing: this function returns what training would report."
    ),
]
Gpus = Annotated[int | None, typer.Option("--gpus", min=1, help="The number of GPUs of the simulated cluster.")]
_TRIALS_SHOWN = 10


def register(app: typer.Typer) -> None:
    app.command()(check)
    app.command()(launch)


def check(
    study: StudyFile,
    overlay: Overlays = None,
    settings: Settings = None,
    search_space: SearchSpaceFile = None,
    backend: BackendName = None,
    log_file: Annotated[
        Path | None, typer.Option("--log", metavar="FILE", help="Show what trial.metric_pattern finds in an old log.")
    ] = None,
    run: Annotated[
        bool, typer.Option("--run", help="Also run one short trial: does it report, save and resume?")
    ] = False,
) -> None:
    """Validate a study file and show its first trials; write nothing."""
    from hposlurm.report.launch_text import disk_line, driver_line, limits_line, time_line
    from hposlurm.report.memory_text import memory_lines

    found = _read(study, overlay, settings or [], search_space, backend)
    first = found.preview()
    _show_sources(found, first)
    _show_plan(found, first)
    say(limits_line(found.spec))
    if line := time_line(found.spec, first.cost):
        say(line)
    for line in memory_lines(found.spec):
        say(line)
    say(disk_line(found.spec, len(first.plan.assignments)))
    if not found.capacity.is_foreground:
        say(driver_line(found.spec))
    if log_file is not None:
        from hposlurm.report.pattern import pattern_lines, try_pattern

        for line in pattern_lines(log_file, try_pattern(found.spec, log_file)):
            say(line)
    say(f"{study} is valid.")
    if run:
        _run_canary(found)


def launch(
    study: StudyFile,
    overlay: Overlays = None,
    settings: Settings = None,
    search_space: SearchSpaceFile = None,
    backend: BackendName = None,
    simulate: Simulate = None,
    gpus: Gpus = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show trials and exact scripts; write nothing.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Keep running and show the progress (always with the local backend).")
    ] = False,
    canary: Annotated[
        bool, typer.Option("--canary", help="First run one short trial, and launch only if it reports and resumes.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Launch without a confirmation, however many GPU hours.")
    ] = False,
) -> None:
    """Plan and submit the first wave of a study; Slurm runs the rest. Or simulate the whole study, to see its cost."""
    backend, given = _simulation(backend, simulate, gpus)
    found = _read(study, overlay, [*(settings or []), *given], search_space, backend)
    if gpus is not None and not found.is_simulated:
        raise RequestError(
            "--gpus is the size of a simulated cluster; for the GPUs of a trial set resources.gpus_per_node"
        )
    trainer = found.trainer() if found.is_simulated else None
    first = found.preview()  # renders all scripts once before anything is written
    _show_sources(found, first)
    if dry_run:
        _show_dry_run(found, first)
    elif trainer is not None:
        run_simulation(found, trainer)
    else:
        if not found.is_launched:  # a launched study was confirmed at its launch
            _confirm(found, yes)
            _show_notes(found, first)
            if canary:
                _run_canary(found)
        go_on(found, found.launch(log=log), wait=wait)


def _simulation(backend: str | None, function: str | None, gpus: int | None) -> tuple[str | None, list[str]]:
    """Returns the backend and the settings of the flags. Raises RequestError if the flags contradict each other."""
    if function is None and gpus is None:
        return backend, []
    if backend not in (None, "simulated"):
        flag = "--gpus" if function is None else "--simulate"
        raise RequestError(f"{flag} is for --backend simulated, not for --backend {backend}")
    found = [] if function is None else [f"simulation.function={json.dumps(function)}"]
    found += [] if gpus is None else [f"simulation.gpus={gpus}"]
    return backend if function is None else "simulated", found


def _read(
    study: Path,
    overlays: list[Path] | None,
    settings: list[str],
    search_space: Path | None,
    backend: str | None,
) -> "Study":
    given = [*settings, *([f"backend={backend}"] if backend else [])]
    found = hposlurm.Study.create(study, overlays=overlays or (), settings=given, search_space=search_space)
    for note in found.notes:
        log(f"note: {note}")
    return found


def checked(study: "Study", source: Path, settings: list[str], *, yes: bool) -> "Study":
    """Returns the revision of a launched study that a file asks for, after the checks of `launch`; writes nothing."""
    revision = hposlurm.Study.create(source, settings=settings, runs=study.layout.root.parent, launched=study)
    for note in revision.notes:
        log(f"note: {note}")
    first = revision.preview()
    _confirm(revision, yes)
    _show_notes(revision, first)
    return revision


def _confirm(study: "Study", yes: bool) -> None:
    """Returns if the study is small enough, or if a person confirms it; raises RequestError otherwise."""
    from hposlurm.report.launch_text import question_text, refusal_text

    question = study.cost_question()
    if question is None or yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise RequestError(refusal_text(question))
    log(question_text(question))
    if not typer.confirm("Launch it?", err=True):
        raise RequestError("nothing was launched")


def _run_canary(study: "Study") -> None:
    """Runs one short trial and prints what it did; raises HposlurmError if the study would fail as well."""
    found = study.try_one(log=log)
    for line in found.lines:
        say(f"canary: {line}")
    if found.problem:
        raise HposlurmError(f"the canary failed: {found.problem}; its files: {found.directory}")


def _show_sources(study: "Study", first: "Preview") -> None:
    for source in first.warm.sources:
        say(f"warm start: {source}")
    if study.spec.search.warm_start and not first.warm.sources:
        say(f"warm start: nothing; {study.layout.root} was launched without it, and its settings are frozen")


def _show_dry_run(study: "Study", first: "Preview") -> None:
    _show_plan(study, first)
    if study.is_simulated:
        say(f"{study.spec.name} would be simulated; that submits nothing either")
    for script in first.scripts:
        print(f"\n# ---- {script.name}\n{script.text}", end="")


def _show_plan(study: "Study", first: "Preview") -> None:
    """Prints the first trials, the training, the notes and the cost."""
    from hposlurm.decisions.forecast import startup
    from hposlurm.report.launch_text import cost_line, points_line, training_lines

    assignments = first.plan.assignments
    why_fewer = f" ({first.plan.finished})" if first.plan.finished else ""
    say(f"wave 0: {counted(len(assignments), 'trial')}{why_fewer}")
    for assignment in assignments[:_TRIALS_SHOWN]:
        shown = "  ".join(f"{name}={value}" for name, value in assignment.params.items())
        say(f"  {assignment.trial:>4}  {shown}", indent=8)
    if len(assignments) > _TRIALS_SHOWN:
        say(f"   …  and {len(assignments) - _TRIALS_SHOWN} more")
    print(for_screen(f"command of trial {assignments[0].trial}: {assignments[0].command}"))  # whole, to be copied
    if line := points_line(study.spec, startup(study.spec, first.at_once, len(first.warm.trials))):
        say(line)
    for line in training_lines(study.spec, first.at_once):
        say(line)
    _show_notes(study, first)
    say(cost_line(study.spec, first.cost))


def _show_notes(study: "Study", first: "Preview") -> None:
    from hposlurm.decisions.forecast import forecast_notes
    from hposlurm.report.launch_text import time_notes
    from hposlurm.spec import unused
    from hposlurm.spec.unreached import unreached
    from hposlurm.worker.environment_leaks import empty_in

    spec = study.spec
    empty = (f"{name} is always empty in trial.command" for name in empty_in(spec.trial.command))
    forecast = forecast_notes(spec, first.at_once, len(first.warm.trials))
    for note in (
        *unreached(spec),
        *unused(spec),
        *empty,
        *time_notes(spec),
        *forecast,
        *study.share_notes(),
        *first.plan.notes,
    ):
        say(f"note: {note}")
