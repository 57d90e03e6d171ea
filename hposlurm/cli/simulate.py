"""Runs `launch` on the simulated backend: the whole study in virtual time, and the cost of the real one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from hposlurm.cli.common import log, say
from hposlurm.cli.follow import print_end
from hposlurm.report.numbers import duration, shown

if TYPE_CHECKING:
    from hposlurm import Study
    from hposlurm.simulation import Simulated, Trainer

_PRINT_EVERY_S = 2.0


def run_simulation(study: Study, trainer: Trainer) -> None:
    """Simulates the study and prints its results and cost; exits with 1 if no trial completed.

    After Ctrl-C before the end nothing is written.
    """
    from hposlurm.simulation import figures_of

    begun = time.monotonic()
    try:
        found = study.simulate(trainer, watch=_progress(begun))
    except KeyboardInterrupt:
        log("interrupted: nothing was written")
        raise typer.Exit(130) from None
    log(f"simulated in {time.monotonic() - begun:.1f} s")
    say(f"{study.name}: {found.history.finished}")
    for title, text in (*figures_of(found).lines(), *_results(found)):
        say(f"{title + ':':<11}{text}")
    print_end(study, found.history)


def _progress(begun: float) -> Callable[[float, int], None]:
    printed = begun

    def show(virtual_s: float, trials: int) -> None:
        nonlocal printed
        if time.monotonic() - printed >= _PRINT_EVERY_S:
            printed = time.monotonic()
            log(f"{duration(virtual_s)} of virtual time, {trials} trials")

    return show


def _results(found: Simulated) -> list[tuple[str, str]]:
    from hposlurm.report.progress import best_trial

    history, spec = found.history, found.spec
    counts = ", ".join(f"{number} {state.lower()}" for state, number in history.counts().items() if number)
    leader = best_trial(history, spec.objectives, spec.limits)
    value = "–"
    if leader is not None:
        params, values = (
            ", ".join(f"{key}={shown(each)}" for key, each in pairs.items()) for pairs in (leader.params, leader.values)
        )
        value = f"{values} (trial {leader.trial}: {params}){leader.remark}"
    return [("trials", f"{len(history.trials)}: {counts}"), ("best", value)]
