"""Records are read by their annotations, and an error names its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from hposlurm.records import decode
from hposlurm.records.decode import structure
from hposlurm.trial import JobState, ParamValue


@dataclass(frozen=True)
class Part:
    number: int
    ratio: float | None = None
    state: JobState | None = None


@dataclass(frozen=True)
class Whole:
    params: Mapping[str, ParamValue]
    parts: tuple[Part, ...] = ()
    pairs: tuple[tuple[int, str], ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)


@pytest.mark.parametrize("value", [True, False, 1, 2**70, 1.5, "a", "ä", None])
def test_a_value_of_several_kinds_keeps_its_own(value: ParamValue) -> None:
    found = structure(Whole, {"params": {"x": value}}).params["x"]
    assert found == value and type(found) is type(value)


def test_a_state_is_read_by_its_name() -> None:
    part = structure(Whole, {"params": {}, "parts": [{"number": 1, "ratio": 2, "state": "RUNNING"}]}).parts[0]
    assert part == Part(1, 2, JobState.RUNNING) and isinstance(part.state, JobState)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"\[\] is not a mapping \(Whole\)"),
        ({}, "params is missing"),
        ({"params": {}, "other": 1}, "'other' is unknown"),
        ({"params": {"x": []}}, r"params: x: \[\] is not null"),
        ({"params": {}, "parts": [{"number": 1}, {"number": "2"}]}, "parts: 1: number: '2' is not an integer"),
        ({"params": {}, "parts": [{"number": True}]}, "parts: 0: number: True is not an integer"),
        ({"params": {}, "parts": [{"number": 2**63}]}, "parts: 0: number: is out of range"),
        ({"params": {}, "parts": [{"number": 1, "ratio": float("nan")}]}, "parts: 0: ratio: nan is not null"),
        ({"params": {}, "parts": [{"number": 1, "state": "GONE"}]}, "parts: 0: state: 'GONE' is not null"),
        ({"params": {}, "pairs": [[1, "a"], [2]]}, r"pairs: 1: \[2\] is not a list of 2"),
        ({"params": {}, "facts": {"x": [float("inf")]}}, "facts: x: inf is not a finite number"),
        ({"params": {"\ud800": 1}}, "surrogates not allowed"),
    ],
)
def test_an_error_names_its_place(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        structure(Whole, data)


def test_a_sound_record_is_read_without_looking_for_the_place_of_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the place of an error was looked for")

    monkeypatch.setattr(decode, "_at", refuse)
    monkeypatch.setattr(decode, "_refuse", refuse)
    params = {"lr": 1e-3, "bs": 8, "name": "a", "flag": True, "none": None}
    structure(Whole, {"params": params, "parts": [{"number": 1, "ratio": None, "state": None}], "facts": {"x": [1]}})
