"""Reads and shows the figures of a simulated study. A study with such a file was never trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from hposlurm.errors import StudyError
from hposlurm.records.decode import structure
from hposlurm.records.files import from_json
from hposlurm.records.layout import StudyLayout
from hposlurm.records.reading import read_whole
from hposlurm.report.numbers import duration, shown


@dataclass(frozen=True, slots=True)
class Figures:
    """The cost that the study would have had; times are virtual seconds."""

    function: str
    gpus: int
    mode: str
    seed: int
    wall_s: float
    #: the start of the last new trial
    busy_s: float
    #: of all attempts
    gpu_hours: float
    #: the share of the GPUs' time, from the start to the end of the study, in which they trained
    training_share: float
    #: the same share, up to `busy_s`
    busy_share: float

    def to_json(self) -> dict[str, Any]:
        """Returns the same data with stable keys, for programs."""
        return asdict(self)

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yields lines for a person: names and texts."""
        yield "simulated", f"by {self.function} on {self.gpus} virtual GPUs ({self.mode}): nothing was trained"
        until = f"until the last new trial started (at {duration(self.busy_s)})"
        yield "wall time", f"{duration(self.wall_s)} of virtual time"
        before = f"; {self.busy_share:.1%} {until}" if self.busy_s else ""
        yield "training", f"{self.training_share:.1%} of the time of the GPUs that the study may use at once{before}"
        there = shown(self.gpus * self.wall_s / 3600)
        yield "GPU hours", f"{shown(self.gpu_hours)} of the {there} that the cluster has in this time"


def read_figures(layout: StudyLayout) -> Figures | None:
    """Returns the figures of a simulated study; None for a real one. Raises StudyError if they are damaged."""
    try:
        data = from_json(read_whole(layout.simulated))
        return structure(Figures, data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StudyError(f"{layout.simulated} is damaged: {error}") from error
