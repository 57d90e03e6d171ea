"""The section `simulation`: the virtual cluster of `backend: simulated`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from hposlurm.errors import Problem
from hposlurm.spec.fields import Number, PositiveWhole, Seconds, Section, Text, Whole

Rate = Annotated[Number, Field(ge=0, le=1e6)]


class SimulationSpec(Section):
    """The virtual cluster of `backend: simulated`, and the function that it runs; other backends ignore it."""

    #: "MODULE:FUNCTION" or "FILE.py:FUNCTION".
    function: Text | None = None
    gpus: PositiveWhole = 8
    #: For the random failures below.
    seed: Whole = 0
    #: The mean wait of an array.
    queue_s: Seconds | None = Field(default=None, alias="queue")
    #: The time from a job's start, when it occupies its GPUs, to the start of its training.
    start_s: Seconds | None = Field(default=None, alias="start")
    #: The duration of the planner between two waves.
    planner_s: Seconds | None = Field(default=None, alias="planner")
    #: `crashes`, `node_failures` and `preemptions` are mean numbers per hour of one running trial.
    crashes: Rate = 0.0
    node_failures: Rate = 0.0
    preemptions: Rate = 0.0


def simulation_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yields a problem for each key that a simulated study requires and `data` lacks."""
    section = data.get("simulation")
    given = section if isinstance(section, dict) else {}
    if data.get("backend") == "simulated" and given.get("function") is None:
        yield Problem(
            "simulation.function",
            "is missing: the Python function that replaces training",
            "--simulate MODULE:FUNCTION or --simulate FILE.py:FUNCTION",
        )
