"""Verbs that act on a study: cancel, resume, advance, rebuild."""

from __future__ import annotations

from typing import Annotated

import typer

from hposlurm.cli.common import find_study, frozen_spec, say
from hposlurm.cli.launch import tell
from hposlurm.errors import RequestError

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A study's directory, or its name under runs/.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key, e.g. --set budget.n_trials=24.")
]


def register(app: typer.Typer) -> None:
    for verb in (cancel, resume, advance, rebuild):
        app.command()(verb)


def cancel(
    study: StudyName,
    trial: Annotated[list[int] | None, typer.Argument(metavar="[TRIAL]…", help="Only these trials.")] = None,
) -> None:
    """Cancel a study's jobs and submit no further wave; or take single trials out."""
    from hposlurm.backend import choose
    from hposlurm.planner import cancel as cancel_study
    from hposlurm.planner.study import over
    from hposlurm.records.history import read_history

    layout = find_study(study)
    spec = frozen_spec(layout)
    if layout.simulated.exists() and not trial:
        print(f"cancelled: {over(read_history(layout))}")
        return
    print(f"cancelled: {cancel_study(layout, choose(spec.backend), trial or ())}")
    if layout.stop.exists() and not trial:
        print(f"next:      hposlurm resume {layout.root.name}   (goes on where it stopped)")


def resume(
    study: StudyName,
    settings: Settings = None,
    wait: Annotated[bool, typer.Option("--wait", help="Stay and show the progress.")] = False,
) -> None:
    """Go on with a study: after a cancel, after Ctrl-C, with a raised budget, or when its chain is gone."""
    from hposlurm.backend import choose
    from hposlurm.cli.progress import run_to_end
    from hposlurm.planner import revise, set_going, stays
    from hposlurm.planner.revise import space_note
    from hposlurm.planner.study import lift_stop
    from hposlurm.records.history import read_history

    layout = find_study(study)
    known = frozen_spec(layout)
    if known.backend == "simulated":
        again = "hposlurm launch STUDY.yaml --backend simulated --set name=ANOTHER"
        raise RequestError(f"{layout.root.name} was simulated as a whole and does not go on; simulate anew: {again}")
    spec = revise(layout, settings) if settings else known
    if note := space_note(known, spec, read_history(layout)) if settings else None:
        print(note)
    backend = choose(spec.backend)
    lift_stop(layout)
    if stays(spec, backend):
        run_to_end(layout, spec, backend, again=True)
        return
    tell(layout, set_going(layout, spec, backend, again=True))
    if wait:
        run_to_end(layout, spec, backend)


def advance(
    study: StudyName,
    patient: Annotated[
        bool, typer.Option("--patient", help="Try again while the cluster takes no jobs; a job requeues itself.")
    ] = False,
    behind: Annotated[
        int | None, typer.Option("--behind", metavar="WAVE", help="With --patient: stay until this wave is settled.")
    ] = None,
) -> None:
    """Plumbing: one planner step. Safe to run at any time, by anyone, any number of times."""
    from hposlurm.backend import choose
    from hposlurm.planner import advance as advance_once
    from hposlurm.planner import advance_patiently

    layout = find_study(study)
    spec = frozen_spec(layout)
    name = layout.root.name
    if layout.simulated.exists():
        raise RequestError(f"{name} was simulated as a whole and does not go on")
    backend = choose(spec.backend)
    if backend.is_foreground:
        raise RequestError(f"{name} runs on this machine, in the foreground: hposlurm resume {name} goes on with it")
    step = (
        advance_patiently(layout, spec, backend, behind=behind, tell=say)
        if patient
        else advance_once(layout, spec, backend)
    )
    print(f"{step.kind}: {step.message}")


def rebuild(study: StudyName) -> None:
    """Build study.db, results.csv and reports.csv again from the journals."""
    from hposlurm.publish import rebuild as build
    from hposlurm.report.numbers import counted

    layout = find_study(study)
    spec = frozen_spec(layout)
    history = build(layout, spec.publish, spec.limits)
    print(f"rebuilt from the journals of {counted(len(history.trials), 'trial')} in {layout.root}")
