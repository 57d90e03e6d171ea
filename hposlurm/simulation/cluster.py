"""The virtual cluster: how many GPUs there are, how long jobs wait, and what goes wrong. All of it by seed."""

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
    """The virtual cluster that a study file describes."""
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
    """What can end an element before its training does: the command's own crash, or the cluster."""

    CRASH = "crash"
    NODE_FAIL = "node failure"
    PREEMPTION = "preemption"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A virtual cluster; times are in seconds.

    `queue_s` is the mean (exponential) wait of every submitted array before its elements may start, `start_s` what an
    element holds its GPUs for before it trains, `planner_s` how long the planner's job between two waves takes, its own
    wait included. `crashes`, `node_failures` and `preemptions` are mean numbers per hour of one running element. No
    element is requeued: what was interrupted is assigned again by the planner.

    Everything is drawn from `seed` and from which attempt of which trial, or which wave, it happens to: never from the
    order of events.
    """

    gpus: int = 8
    queue_s: float = 0.0
    start_s: float = 0.0
    planner_s: float = 0.0
    crashes: float = 0.0
    node_failures: float = 0.0
    preemptions: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.gpus < 1:
            raise RequestError(f"a simulated cluster needs one GPU at least, {self.gpus} were asked for")
        for name in ("queue_s", "start_s", "planner_s", "crashes", "node_failures", "preemptions"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise RequestError(f"{name} of a simulated cluster is {value!r}; it is a finite number from 0 on")

    def slots(self, gpus_per_element: int) -> int:
        """How many elements run at a time. One without GPUs takes the place of one GPU."""
        return self.gpus // max(1, gpus_per_element)

    def wait_s(self, wave: int) -> float:
        """How long the array of a wave waits before its elements may start."""
        return self._random("queue", wave).expovariate(1 / self.queue_s) if self.queue_s else 0.0

    def fault(self, trial: int, attempt: int) -> tuple[float, Fault] | None:
        """What goes wrong first with an attempt if it runs for ever, and after how many seconds; None: nothing."""
        rates = (
            (Fault.CRASH, self.crashes),
            (Fault.NODE_FAIL, self.node_failures),
            (Fault.PREEMPTION, self.preemptions),
        )
        random = self._random("fault", trial, attempt)
        return min(((random.expovariate(rate) * 3600, fault) for fault, rate in rates if rate), default=None)

    def _random(self, *what: int | str) -> Random:
        return Random(derive_seed(self.seed, *what))
