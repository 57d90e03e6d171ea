"""The entries of `trial.metrics`: files from which workers read metrics."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from hposlurm.records.metric_source import FORMATS, MetricSource
from hposlurm.spec.entries import MetricName
from hposlurm.spec.fields import Section, Text, Whole, complaint, quoted

# The ends of names that show the format
_ENDS = {"trainer_state.json": "trainer_state", ".jsonl": "jsonl", ".json": "json", ".csv": "csv"}
_EVENTS = "tfevents"


class MetricSourceSpec(Section):
    """A file that a training library writes, and what in it is a metric."""

    #: A path with the placeholders of a command, and wildcards; relative to the directory of the command.
    file: Text
    #: None: by the file's name.
    format: Text | None = None
    #: The key of the step; None: `step`, and in a `json` file the last reported step.
    step: Text | None = None
    #: Is added to each step.
    offset: Whole = 0
    #: The key of each metric, with dots between nested keys; {}: all numbers.
    map: dict[MetricName, Text] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_format(self) -> MetricSourceSpec:
        if self.format is None and _format_of(self.file) is None:
            raise complaint(f"format is needed, one of {', '.join(FORMATS)}: {quoted(self.file)} does not show it")
        if self.format is not None and self.format not in FORMATS:
            raise complaint(f"format must be one of {', '.join(FORMATS)}, not {quoted(self.format)}")
        return self

    @property
    def source(self) -> MetricSource:
        """Returns what the worker needs to know."""
        return MetricSource(self.format or _format_of(self.file) or "", self.step, self.offset, dict(self.map))


def _format_of(file: str) -> str | None:
    found = next((kind for end, kind in _ENDS.items() if file.endswith(end)), None)
    return "tensorboard" if found is None and _EVENTS in file else found


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


MetricSources = Annotated[tuple[MetricSourceSpec, ...], BeforeValidator(_as_list)]
