"""`launch` on the simulated backend: the whole study in virtual time, and what the real one would cost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from hposlurm.cli.common import say
from hposlurm.errors import RequestError
from hposlurm.report.numbers import duration, shown

if TYPE_CHECKING:
    from pathlib import Path

    from hposlurm.decisions import WarmStart
    from hposlurm.records.history import History
    from hposlurm.records.layout import StudyLayout
    from hposlurm.simulation import Trainer
    from hposlurm.spec import StudySpec

#: How the name of every simulated study ends.
SUFFIX = "-simulated"
_TELL_EVERY_S = 2.0


def simulation_settings(backend: str | None, function: str | None, gpus: int | None) -> tuple[bool, list[str]]:
    """Whether the flags ask for a simulation, and what they set; raises RequestError if they contradict each other."""
    if function is None and gpus is None:
        return backend == "simulated", []
    if backend not in (None, "simulated"):
        flag = "--gpus" if function is None else "--simulate"
        raise RequestError(f"{flag} is for --backend simulated, not for --backend {backend}")
    found = [] if function is None else [f"simulation.function={json.dumps(function)}"]
    found += [] if gpus is None else [f"simulation.gpus={gpus}"]
    return backend == "simulated" or function is not None, found


def check_simulation(spec: StudySpec, runs: Path, beside: Path) -> Trainer:
    """The function of a study that may be simulated now; raises RequestError if it is not there, or its result is."""
    from hposlurm.simulation import load_function

    assert spec.simulation is not None and spec.simulation.function is not None  # the spec's own check
    root = runs / spec.name
    if root.exists() or root.is_symlink():
        raise RequestError(f"{root} is there already; simulate under another name (--set name=…), or remove it")
    return load_function(spec.simulation.function, beside)


def run_simulation(layout: StudyLayout, spec: StudySpec, trainer: Trainer, warm: WarmStart) -> None:
    """Simulates the study, writes its directory and says what it came to. Exits with 1 if no trial completed.

    Ctrl-C before the end leaves nothing.
    """
    from hposlurm.simulation import cluster_of, simulate, write_study
    from hposlurm.trial import TrialState

    assert spec.simulation is not None
    begun = time.monotonic()
    try:
        found = simulate(spec, trainer, cluster_of(spec.simulation), layout=layout, warm=warm, watch=_teller(begun))
        figures = write_study(found, warm)
    except KeyboardInterrupt:
        say("interrupted: nothing was written")
        raise typer.Exit(130) from None
    name = layout.root.name
    say(f"simulated in {time.monotonic() - begun:.1f} s")
    print(f"{name}: {found.history.finished}")
    for title, text in (*figures.lines(), *_results(spec, found.history)):
        print(f"{title + ':':<11}{text}")
    print(f"directory: {layout.root}")
    print(f"next:      hposlurm collect {name}   hposlurm best {name}")
    if not found.history.counts()[TrialState.COMPLETE]:
        say(f"error: no trial completed; `hposlurm status {name}` shows why")
        raise typer.Exit(1)


def _teller(begun: float) -> Callable[[float, int], None]:
    told = begun

    def tell(virtual_s: float, trials: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _TELL_EVERY_S:
            told = time.monotonic()
            say(f"{duration(virtual_s)} of virtual time, {trials} trials")

    return tell


def _results(spec: StudySpec, history: History) -> list[tuple[str, str]]:
    from hposlurm.report.progress import best_trial

    counts = ", ".join(f"{number} {state.lower()}" for state, number in history.counts().items() if number)
    leader = best_trial(history, spec.objectives, spec.limits)
    value = "–"
    if leader is not None:
        params, values = (
            ", ".join(f"{key}={shown(each)}" for key, each in pairs.items()) for pairs in (leader.params, leader.values)
        )
        value = f"{values} (trial {leader.trial}: {params}){leader.remark}"
    return [("trials", f"{len(history.trials)}: {counts}"), ("best", value)]
