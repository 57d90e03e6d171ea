"""The virtual cluster of `backend: simulated`, and what its study file must say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from hposlurm.errors import Problem
from hposlurm.spec.fields import Number, PositiveWhole, Seconds, Section, Text, Whole

Rate = Annotated[Number, Field(ge=0, le=1e6)]


class SimulationSpec(Section):
    """What `backend: simulated` runs in virtual time, and on what; other backends do not look at it.

    `function` is "MODULE:FUNCTION" or "FILE.py:FUNCTION". `queue` is the mean wait of an array, `start` what a job
    holds its GPUs for before it trains, `planner` how long the planner between two waves takes. `crashes`,
    `node_failures` and `preemptions` are mean numbers per hour of one running trial, drawn by `seed`.
    """

    function: Text | None = None
    gpus: PositiveWhole = 8
    seed: Whole = 0
    queue_s: Seconds | None = Field(default=None, alias="queue")
    start_s: Seconds | None = Field(default=None, alias="start")
    planner_s: Seconds | None = Field(default=None, alias="planner")
    crashes: Rate = 0.0
    node_failures: Rate = 0.0
    preemptions: Rate = 0.0


def simulation_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    """What a simulated study must have and `data` has not."""
    section = data.get("simulation")
    given = section if isinstance(section, dict) else {}
    if data.get("backend") == "simulated" and given.get("function") is None:
        yield Problem(
            "simulation.function",
            "is missing: the Python function that takes the place of training",
            "--simulate MODULE:FUNCTION or --simulate FILE.py:FUNCTION",
        )
