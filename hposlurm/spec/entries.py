"""Validates entries of a study file's lists: forbidden clauses, configurations to try first, studies to learn from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, model_validator
from pydantic_core import PydanticCustomError

from hposlurm.space.names import variable
from hposlurm.spec.fields import PositiveWhole, Section, Text, complaint, control_character, quoted, single_value
from hposlurm.trial import ParamValue

_METRIC = re.compile(r"[A-Za-z_][A-Za-z0-9_./@:-]*")


def _configuration(value: Any) -> dict[str, ParamValue]:
    """Returns a mapping of parameters to single values. `check` reports values that do not fit their parameters."""
    if not isinstance(value, Mapping):
        raise complaint(f"must be a mapping such as {{lr: 1e-4, bs: 2}}, not {quoted(value)}")
    return {str(name): _value(str(name), entry) for name, entry in value.items()}


def _value(name: str, value: Any) -> ParamValue:
    try:
        return single_value(value)
    except PydanticCustomError as error:
        raise complaint(f"{name} {error.message()}") from None


def _forbidden(value: Any) -> str | dict[str, ParamValue]:
    if isinstance(value, Mapping) and value:
        return _configuration(value)
    if isinstance(value, str) and value.strip() and control_character(value, "\t") is None:
        return value
    example = "\"optimizer == 'sgd' and lr > 0.01\" or {optimizer: sgd, bs: 2}"
    raise complaint(f"must be a forbidden combination, such as {example}, not {quoted(value)}")


def forbidding(clause: str | Mapping[str, ParamValue]) -> str:
    """Returns the text of the constraint that `clause` is never true."""
    return f"not ({clause_text(clause)})"


def clause_text(clause: str | Mapping[str, ParamValue]) -> str:
    """Returns a forbidden clause, an expression or a mapping, as the text of an expression."""
    if isinstance(clause, str):
        return clause
    return " and ".join(f"{variable(name)} == {value!r}" for name, value in clause.items())


def _metric_name(value: Any) -> str:
    if not isinstance(value, str) or not is_metric_name(value):
        raise complaint(f"must be a metric name (only letters, digits and _ . / @ : -), not {quoted(value)}")
    return value


def is_metric_name(text: str) -> bool:
    """True if `text` can be the name of a metric."""
    return _METRIC.fullmatch(text) is not None


def _terminator(value: Any) -> bool | float:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and math.isfinite(value) and value > 0:
        return float(value)
    raise complaint(f"must be true, false, or the noise of an evaluation (a number above 0), not {quoted(value)}")


def _failures(value: Any) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0:
        if value < 1:
            return float(value)
        if value == int(value):
            return int(value)
    raise complaint(f"must be a number of trials (1, 2, …) or a share of them (above 0, below 1), not {quoted(value)}")


def _as_mapping(value: Any) -> Any:
    return {"study": value} if isinstance(value, str) else value


class Source(Section):
    """A source to learn from before the first trial: a study or a table."""

    #: the directory of a study
    study: Text | None = None
    #: a table of results as `collect -o`, W&B, MLflow, Optuna or Ray write it
    csv: Text | None = None
    #: the columns of the table with other names: {an objective or parameter of this study: its column}
    columns: dict[Text, Text] = Field(default={})
    #: the number of best trials to take; None: all trials
    best: PositiveWhole | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Source:
        if (self.study is None) == (self.csv is None):
            raise complaint("must name either a study or a csv, such as {study: ../older, best: 20}")
        if self.columns and self.csv is None:
            raise complaint("columns are for a csv; a study's own names are known")
        return self

    @property
    def place(self) -> str:
        """Returns the path of the study or the table."""
        return self.study or self.csv or ""


def anchored(entry: Any, directory: Path) -> Any:
    """Returns an entry of `warm_start` with its relative path made absolute, based on `directory`."""
    if isinstance(entry, str) and entry.strip():
        return str((directory / entry).absolute())
    if isinstance(entry, dict):
        is_path = {"study", "csv"}
        return {k: anchored(v, directory) if k in is_path and isinstance(v, str) else v for k, v in entry.items()}
    return entry


Configuration = Annotated[dict[str, ParamValue], PlainValidator(_configuration)]
Forbidden = Annotated[str | dict[str, ParamValue], PlainValidator(_forbidden)]
Failures = Annotated[int | float, PlainValidator(_failures)]
MetricName = Annotated[str, BeforeValidator(_metric_name)]
Terminator = Annotated[bool | float, PlainValidator(_terminator)]
WarmStart = Annotated[Source, BeforeValidator(_as_mapping)]
