"""A file from which a worker reads metrics, as a plan says it. Standard library only: the worker imports this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: The formats, each with the key of its steps where the study file names none.
FORMATS: Mapping[str, str | None] = {
    "jsonl": "step",
    "json": None,
    "trainer_state": "step",
    "csv": "step",
    "tensorboard": "step",
}


@dataclass(frozen=True, slots=True)
class MetricSource:
    """The way in which one entry of `trial.metrics` is read. The assignment has the trial's own file."""

    #: One of FORMATS.
    format: str
    #: The key of the step; None: the last reported step, or the one that the trial was to reach.
    step: str | None = None
    #: Is added to each step: 1 where a script counts epochs from 0.
    offset: int = 0
    #: The key of each metric; {}: every number is a metric, by its own name.
    map: Mapping[str, str] = field(default_factory=dict)
