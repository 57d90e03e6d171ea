"""What a simulated study came to, as kept in its directory: a study that has this was never trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from hposlurm.errors import StudyError
from hposlurm.records.decode import structure
from hposlurm.records.files import from_json
from hposlurm.records.layout import StudyLayout
from hposlurm.report.numbers import duration, shown


@dataclass(frozen=True, slots=True)
class Figures:
    """What the study would have cost; times are virtual seconds.

    `busy_s` is when the last new trial started. `training_share` is the part of the GPUs' time, from the first second
    to the last, in which they trained, `busy_share` the same up to `busy_s`. `gpu_hours` are those of all attempts.
    """

    function: str
    gpus: int
    mode: str
    seed: int
    wall_s: float
    busy_s: float
    gpu_hours: float
    training_share: float
    busy_share: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> Iterator[tuple[str, str]]:
        """What a person reads, as names and texts."""
        yield "simulated", f"by {self.function} on {self.gpus} virtual GPUs ({self.mode}): nothing was trained"
        until = f"until the last new trial started (at {duration(self.busy_s)})"
        yield "wall time", f"{duration(self.wall_s)} of virtual time"
        before = f"; {self.busy_share:.1%} {until}" if self.busy_s else ""
        yield "training", f"{self.training_share:.1%} of the time of the GPUs that it may use at once{before}"
        there = shown(self.gpus * self.wall_s / 3600)
        yield "GPU hours", f"{shown(self.gpu_hours)} of the {there} that the cluster has in this time"


def read_figures(layout: StudyLayout) -> Figures | None:
    """The figures of a simulated study, None of a real one; raises StudyError if they are damaged."""
    try:
        data = from_json(layout.simulated.read_bytes())
        return structure(Figures, data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StudyError(f"{layout.simulated} is damaged: {error}") from error
