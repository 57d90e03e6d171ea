"""The plan of a wave (`wave.json`): created once, never changed. Standard library only: the worker imports this."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hposlurm.errors import StudyError
from hposlurm.files import create_once, to_json
from hposlurm.layout import WaveLayout
from hposlurm.trial import Assignment, JobState, Outcome, Settlement

FORMAT = 1


@dataclass(frozen=True, slots=True)
class WavePlan:
    """What one wave runs, and what was decided about the attempts before it.

    `finished` holds the reason why the study is over; such a plan has no assignments. `gpus` and `cpus` are those of
    one element, `time_limit_s` is how long its job may last (None: unknown). `workdir` is the absolute directory in
    which commands run. `memory_warning` is the share of the memory at which the guard warns, None if it is off;
    `memory_grace_steps` is how many looks at it a trial then still has.
    """

    wave: int
    study: str
    created_at: float
    spec: str
    seed: int
    objectives: tuple[str, ...]
    workdir: str
    gpus: int = 0
    cpus: int = 1
    retries: int = 0
    timeout_s: float | None = None
    time_limit_s: float | None = None
    metric_pattern: str | None = None
    memory_warning: float | None = 0.95
    memory_grace_steps: int = 5
    assignments: tuple[Assignment, ...] = ()
    settled: tuple[Settlement, ...] = ()
    finished: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WavePlan:
        """The plan in `data`; raises KeyError, TypeError or ValueError if it is not one."""
        fields = {key: value for key, value in data.items() if key != "format"}
        fields["objectives"] = tuple(fields["objectives"])
        fields["assignments"] = tuple(Assignment(**a) for a in fields["assignments"])
        fields["settled"] = tuple(_settlement(s) for s in fields["settled"])
        return cls(**fields)


def _settlement(data: Mapping[str, Any]) -> Settlement:
    outcome = None if data["outcome"] is None else Outcome(data["outcome"])
    return Settlement(**{**data, "state": JobState(data["state"]), "outcome": outcome})


def read_plan(wave: WaveLayout) -> WavePlan:
    """The plan of `wave`; raises StudyError if it is missing or damaged."""
    try:
        data = json.loads(wave.plan.read_bytes())
        if data["format"] != FORMAT:
            raise StudyError(f"{wave.plan} has format {data['format']}; this hposlurm reads format {FORMAT}")
        return WavePlan.from_json(data)
    except FileNotFoundError:
        raise StudyError(f"{wave.plan} does not exist: wave {wave.index} was never planned") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{wave.plan} is damaged: {error}") from error


def record_plan(wave: WaveLayout, plan: WavePlan) -> bool:
    """Creates the plan of `wave`; False if another planner was first (its plan then holds)."""
    wave.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return create_once(wave.plan, to_json(plan.to_json()))
