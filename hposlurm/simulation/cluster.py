"""The virtual cluster: its GPUs, the waiting times of its jobs and its faults, all drawn from a seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING

from hposlurm.errors import RequestError
from hposlurm.search import derive_seed

if TYPE_CHECKING:
    from hposlurm.spec import SimulationSpec


def cluster_of(simulation: SimulationSpec) -> Cluster:
    """Returns the virtual cluster that a study file describes."""
    return Cluster(
        gpus=simulation.gpus,
        queue_s=simulation.queue_s or 0.0,
        start_s=simulation.start_s or 0.0,
        planner_s=simulation.planner_s or 0.0,
        crashes=simulation.crashes,
        node_failures=simulation.node_failures,
        preemptions=simulation.preemptions,
        seed=simulation.seed,
    )


class Fault(StrEnum):
    """The faults that can end an element before its training ends: a crash of the command, or one of the cluster."""

    CRASH = "crash"
    NODE_FAIL = "node failure"
    PREEMPTION = "preemption"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A virtual cluster; times are in seconds.

    No element is requeued: the planner assigns an interrupted trial again. Every random number depends only on `seed`
    and on the attempt of the trial, or the wave, that it is for, never on the order of events.
    """

    gpus: int = 8
    #: The mean (exponential) wait of every submitted array before its elements may start.
    queue_s: float = 0.0
    #: How long an element holds its GPUs before it trains.
    start_s: float = 0.0
    #: How long the planner's job between two waves takes, its own wait included.
    planner_s: float = 0.0
    #: The mean number of crashes per hour of one running element.
    crashes: float = 0.0
    #: The mean number of node failures per hour of one running element.
    node_failures: float = 0.0
    #: The mean number of preemptions per hour of one running element.
    preemptions: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.gpus < 1:
            raise RequestError(f"a simulated cluster needs at least one GPU, but {self.gpus} were requested")
        for name in ("queue_s", "start_s", "planner_s", "crashes", "node_failures", "preemptions"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise RequestError(f"{name} of a simulated cluster is {value!r}; it must be a finite number, 0 or more")

    def slots(self, gpus_per_element: int) -> int:
        """Returns how many elements run at a time. An element without GPUs takes the place of one GPU."""
        return self.gpus // max(1, gpus_per_element)

    def wait_s(self, wave: int) -> float:
        """Returns how many seconds the array of a wave waits before its elements may start."""
        return self._random("queue", wave).expovariate(1 / self.queue_s) if self.queue_s else 0.0

    def fault(self, trial: int, attempt: int) -> tuple[float, Fault] | None:
        """Returns the first fault of an attempt that runs forever, as (seconds until then, fault); None if none."""
        rates = (
            (Fault.CRASH, self.crashes),
            (Fault.NODE_FAIL, self.node_failures),
            (Fault.PREEMPTION, self.preemptions),
        )
        random = self._random("fault", trial, attempt)
        return min(((random.expovariate(rate) * 3600, fault) for fault, rate in rates if rate), default=None)

    def _random(self, *what: int | str) -> Random:
        return Random(derive_seed(self.seed, *what))
