"""Verbs that begin a study: check, launch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hposlurm.cli.common import runs_directory, say
from hposlurm.cli.cost import confirm_cost, cost_line, time_line
from hposlurm.cli.retention import disk_line
from hposlurm.cli.simulate import SUFFIX, check_simulation, run_simulation, simulation_settings
from hposlurm.cli.training import training_lines
from hposlurm.errors import BackendError, HposlurmError, RequestError, SpecError
from hposlurm.report.numbers import counted

if TYPE_CHECKING:
    from hposlurm.backend import Backend, Capacity, SimulatedCapacity
    from hposlurm.decisions import WarmStart
    from hposlurm.planner import Step
    from hposlurm.planner.study import Preview
    from hposlurm.records.layout import StudyLayout
    from hposlurm.spec import StudySpec

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")]
Overlays = Annotated[
    list[Path] | None, typer.Option("--overlay", metavar="FILE", help="A second YAML file, merged over the first.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set any key, e.g. --set search.seed=7.")
]
SearchSpaceFile = Annotated[
    Path | None, typer.Option("--search-space", metavar="FILE", help="Parameters, conditionals, … from a file.")
]
BackendName = Annotated[str | None, typer.Option("--backend", help="auto, slurm, local or simulated.")]
Simulate = Annotated[
    str | None,
    typer.Option("--simulate", metavar="MODULE:FUNCTION", help="Train nothing: this function says what training says."),
]
Gpus = Annotated[int | None, typer.Option("--gpus", min=1, help="Of the simulated cluster.")]
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
) -> None:
    """Validate a study file and show its first trials; write nothing."""
    spec, chosen = _read(study, overlay, settings, search_space, backend)
    first = _preview(spec, chosen)
    _show_sources(spec, first)
    _show_trials(first)
    _show_training(spec, first)
    print(cost_line(spec, first.cost))
    if line := time_line(spec, first.cost):
        print(line)
    print(disk_line(spec, len(first.plan.assignments)))
    if line := _driver_line(spec, chosen):
        print(line)
    print(f"{study} is valid.")


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
        bool, typer.Option("--wait", help="Stay and show the progress (the local backend always does).")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Launch without asking, however many GPU hours.")] = False,
) -> None:
    """Plan the first wave of a study and submit it; Slurm carries the rest. Or simulate all of it, to see its cost."""
    from hposlurm.backend import SimulatedCapacity
    from hposlurm.records.layout import StudyLayout

    is_simulated, given = simulation_settings(backend, simulate, gpus)
    backend = "simulated" if is_simulated else backend
    spec, chosen = _read(study, overlay, [*(settings or []), *given], search_space, backend)
    if isinstance(chosen, SimulatedCapacity):
        trainer = check_simulation(spec, runs_directory(), study.parent)
    elif gpus is not None:
        raise RequestError("--gpus is how large a simulated cluster is; what a trial gets is resources.gpus_per_node")
    layout = StudyLayout(runs_directory() / spec.name)
    first = _preview(spec, chosen)  # renders everything once before anything is written
    _show_sources(spec, first)
    if dry_run:
        _show_trials(first)
        _show_training(spec, first)
        print(cost_line(spec, first.cost))
        if isinstance(chosen, SimulatedCapacity):
            print(f"{spec.name} would be simulated; without --dry-run, nothing is submitted either")
        for script in first.scripts:
            print(f"\n# ---- {script.name}\n{script.text}", end="")
        return
    if isinstance(chosen, SimulatedCapacity):
        run_simulation(layout, spec, trainer, first.warm)
        return
    if not layout.spec().exists():  # else it is launched already, and was asked for then
        confirm_cost(spec, first.cost, yes)
        _show_notes(spec, first)
    _start(layout, spec, chosen, wait, first.warm)


def _read(
    study: Path,
    overlays: list[Path] | None,
    settings: list[str] | None,
    search_space: Path | None,
    backend: str | None,
) -> tuple[StudySpec, Backend | SimulatedCapacity]:
    """Returns the resolved spec and what it can run on; all problems of both are raised as one SpecError."""
    from hposlurm.backend import capacity_of
    from hposlurm.planner import is_refill, trials_per_wave
    from hposlurm.spec import load

    given = [*(settings or []), *([f"backend={backend}"] if backend else [])]
    spec = load(study, overlays=overlays or (), settings=given, search_space=search_space)
    if spec.backend == "simulated" and not spec.name.endswith(SUFFIX):  # never in the place of the real one
        given.append(f"name={spec.name}{SUFFIX}")
        spec = load(study, overlays=overlays or (), settings=given, search_space=search_space)
    chosen = capacity_of(spec.backend)
    workdir = str(Path(spec.trial.workdir or ".").absolute())
    trial = spec.trial.model_copy(update={"workdir": workdir})
    size = chosen.wave_size(spec)
    # frozen here: what another machine, or this one tomorrow, could run at once must not change what is suggested
    is_by_slots = trials_per_wave(spec, size) == size and trials_per_wave(spec, size + 1) == size + 1
    changes = {"max_concurrent" if is_refill(spec) else "size": size} if is_by_slots else {}
    waves = spec.waves.model_copy(update=changes)
    spec = spec.model_copy(update={"backend": chosen.name, "trial": trial, "waves": waves})
    try:
        problems = chosen.problems(spec)
    except BackendError as error:
        say(f"note: {error}; what the cluster has was not checked")
        problems = []
    if problems:
        raise SpecError(str(study), problems)
    return spec, chosen


def _preview(spec: StudySpec, capacity: Capacity) -> Preview:
    from hposlurm.planner import preview
    from hposlurm.records.layout import StudyLayout

    first = preview(StudyLayout(runs_directory() / spec.name), spec, capacity)
    if not first.plan.assignments:
        what = first.plan.finished or "nothing is to be tried"
        raise RequestError(f"{spec.name} would not have a single trial: {what}; see parameters, constraints, forbidden")
    return first


def _show_sources(spec: StudySpec, first: Preview) -> None:
    for source in first.warm.sources:
        print(f"warm start: {source}")
    if spec.search.warm_start and not first.warm.sources:
        print(f"warm start: nothing; {runs_directory() / spec.name} was launched without, and that was frozen")


def _show_trials(first: Preview) -> None:
    assignments = first.plan.assignments
    why_fewer = f" ({first.plan.finished})" if first.plan.finished else ""
    print(f"wave 0: {counted(len(assignments), 'trial')}{why_fewer}")
    for assignment in assignments[:_TRIALS_SHOWN]:
        shown = "  ".join(f"{name}={value}" for name, value in assignment.params.items())
        print(f"  {assignment.trial:>4}  {shown}")
    if len(assignments) > _TRIALS_SHOWN:
        print(f"   …  and {len(assignments) - _TRIALS_SHOWN} more")
    if assignments:
        print(f"command of trial {assignments[0].trial}: {assignments[0].command}")


def _show_training(spec: StudySpec, first: Preview) -> None:
    for line in training_lines(spec):
        print(line)
    _show_notes(spec, first)


def _show_notes(spec: StudySpec, first: Preview) -> None:
    from hposlurm.spec import unused

    for note in (*unused(spec), *first.plan.notes):
        print(f"note: {note}")


def _driver_line(spec: StudySpec, capacity: Capacity) -> str:
    """Who submits the waves behind the first one; empty where the study runs on this machine anyway."""
    if capacity.is_foreground:
        return ""
    who = {
        "planner": "a planner job behind each wave submits the next one",
        "chain": "all waves are submitted at launch; jobs submit nothing",
        "foreground": "`hposlurm launch` stays and submits each wave; jobs submit nothing",
    }
    return f"driver: {spec.slurm.driver}: {who[spec.slurm.driver]}"


def _start(layout: StudyLayout, spec: StudySpec, backend: Backend, wait: bool, warm: WarmStart) -> None:
    from hposlurm.cli.progress import run_to_end
    from hposlurm.planner import create, set_going, stays
    from hposlurm.planner.study import discard

    is_new = create(layout, spec, warm)
    if not is_new:
        say(f"{layout.root} is launched already with this very spec; going on with it")
    if stays(spec, backend):
        run_to_end(layout, spec, backend)
        return
    try:
        step = set_going(layout, spec, backend)
    except (HposlurmError, OSError) as error:
        if is_new and discard(layout, error):
            say(f"nothing was submitted and nothing was left in {layout.root.parent}")
        else:
            say(f"{layout.root} is kept; once the cause is gone, go on with: hposlurm resume {spec.name}")
        raise
    tell(layout, step)
    if wait:
        run_to_end(layout, spec, backend)


def tell(layout: StudyLayout, step: Step) -> None:
    """Says what a planner step did, where the files lie and what to type next."""
    from hposlurm.records.jobs import read_jobs

    print(step.message)
    if step.jobs is not None:
        jobs = read_jobs(layout.wave(step.wave))  # again: the planner's id came after the arrays'
        arrays = (f"{array.job_id} ({counted(array.count, 'element')})" for array in step.jobs.arrays)
        print(f"jobs:      {', '.join(arrays)}")
        if jobs and jobs.planner:
            print(f"planner:   {jobs.planner} plans the next wave when they have ended; you can log out")
    print(f"directory: {layout.root}")
    verb = "collect" if step.kind == "finished" else "status"
    print(f"next:      hposlurm {verb} {layout.root.name}")
