"""What a study may cost, said before it is launched, and the question that a large one must pass."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

from hposlurm.cli.common import say
from hposlurm.errors import RequestError

if TYPE_CHECKING:
    from hposlurm.planner.cost import Cost
    from hposlurm.spec import StudySpec

_VARIABLE = "HPOSLURM_CONFIRM_GPU_HOURS"
_DEFAULT = 1000.0


def cost_line(spec: StudySpec, cost: Cost) -> str:
    """The cost in one line: of the study, of its first wave, of one trial."""
    if not cost.trial:
        return "cost: no GPU hours"
    resources = spec.resources
    minutes = sum(minutes for _, minutes in cost.stages) or resources.time_min
    one = f"one trial: {resources.facts['gpus']} GPUs for up to {minutes} min = {_hours(cost.trial)}"
    return f"cost: {_bound(cost)}, wave 0 alone {_hours(cost.first_wave)} ({one})"


def time_line(spec: StudySpec, cost: Cost) -> str:
    """The time limits of a trial's jobs, where they train it to one step after another; "" where one job does all."""
    if not cost.stages:
        return ""
    steps = ", ".join(f"{step}: {minutes}" for step, minutes in cost.stages)
    return f"time limits: minutes of a job up to step {steps} (of {spec.resources.time_min} for a whole training)"


def confirm_cost(spec: StudySpec, cost: Cost, yes: bool) -> None:
    """Returns if the study is small enough, or somebody says yes; raises RequestError if not."""
    limit = _limit(spec)
    if yes or (cost.study is not None and cost.study <= limit):
        return
    what = f"{spec.name} may cost {_bound(cost)}; more than {_hours(limit)} are launched only if somebody says yes"
    if sys.stdin.isatty() and sys.stderr.isatty():
        say(what)
        if not typer.confirm("Launch it?", err=True):
            raise RequestError("nothing was launched")
        return
    enough = limit >= cost.trial
    smaller = f"bound it with --set budget.gpu_hours={limit:g}" if enough else "make it smaller (resources.time)"
    raise RequestError(f"{what}: launch it with --yes, or {smaller}")


def _limit(spec: StudySpec) -> float:
    """The study's own word, else the environment's, else the default."""
    if spec.budget.confirm_gpu_hours is not None:
        return spec.budget.confirm_gpu_hours
    given = os.environ.get(_VARIABLE, "")
    try:
        limit = float(given) if given else _DEFAULT
    except ValueError:
        limit = -1.0
    if not limit >= 0:
        raise RequestError(f"{_VARIABLE} must be a number of GPU hours, at least 0, not {given!r}")
    return limit


def _bound(cost: Cost) -> str:
    if cost.study is None:
        return "any number of GPU hours (no budget bounds them)"
    return f"at most {_hours(cost.study)} GPU hours"


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 1000 else f"{hours:.3g}"
