"""The section `publish`: names, and names with options."""

from __future__ import annotations

from typing import Any

import pytest

from hposlurm.errors import SpecError
from hposlurm.spec import dump, parse
from hposlurm.spec.document import read
from hposlurm.spec.fields import PositiveWhole, Seconds, Section, Text
from hposlurm.spec.publishing import PUBLISHERS, PublisherKind
from tests.spec.data import changed

KNOWN = "sqlite, csv, tensorboard, optuna, mlflow, wandb, trackio"


class Options(Section):
    uri: Text
    every: PositiveWhole = 1
    patience_s: Seconds | None = None


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PUBLISHERS, "toy", PublisherKind("x:Y", is_local=False, options=Options))


def names(publish: Any) -> list[str]:
    return [entry.name for entry in parse(changed(publish=publish), "x").publish]


def problems(publish: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse(changed(publish=publish), "x")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "publish", [["csv", "sqlite"], ["csv", {"sqlite": {}}], [{"csv": None}, "sqlite"], ["csv", "sqlite", "csv"]]
)
def test_a_publisher_is_a_name_or_a_mapping_of_it_and_counts_once(publish: Any) -> None:
    assert names(publish) == ["csv", "sqlite"]


@pytest.mark.usefixtures("toy")
def test_options_are_validated_by_the_publisher_all_problems_at_once() -> None:
    assert problems([{"toy": {"ur": "a", "every": 0, "patience_s": "x"}}, "cvs", {"csv": {"uri": 1}}]) == [
        "publish.0.toy.uri: is missing",
        "publish.0.toy.every: must be at least 1, not 0",
        'publish.0.toy.patience_s: must be a time such as "30m", "90s", "1:30:00" or a number of seconds '
        "(at most 366 days), not 'x'",
        "publish.0.toy.ur: unknown key 'ur' (did you mean uri?)",
        f"publish.1: 'cvs' is not allowed (did you mean csv? allowed: {KNOWN}, toy)",
        "publish.2.csv.uri: unknown key 'uri' (csv has no options)",
    ]


@pytest.mark.parametrize(
    ("publish", "problem"),
    [
        (["parquet"], f"publish.0: 'parquet' is not allowed (allowed: {KNOWN})"),
        ([{"parquet": {}}], f"publish.0: 'parquet' is not allowed (allowed: {KNOWN})"),
        ([{"optuna": {"storage": "redis://x"}}], "publish.0.optuna.storage: must be sqlite:///FILE, journal:FILE, "),
        ([{"mlflow": {"uri": "http://me:x@h"}}], "publish.0.mlflow.uri: must not contain a password; export HPOSLURM_"),
        ([3], f"publish.0: 3 is not allowed (allowed: {KNOWN})"),
        ([{"csv": 3}], "publish.0.csv: must be a mapping (key: value), not 3"),
        ("csv", "publish: must be a list, not 'csv'"),
    ],
)
def test_what_is_not_a_publisher_is_told_with_its_place(publish: Any, problem: str) -> None:
    (found,) = problems(publish)
    assert found.startswith(problem)


def test_one_entry_names_one_publisher() -> None:
    (problem,) = problems([{"csv": {}, "sqlite": {}}])
    assert problem == "publish.0: must be a publisher's name, or a mapping of one name to its options, not a mapping"


@pytest.mark.usefixtures("toy")
def test_a_publisher_has_one_set_of_options() -> None:
    assert problems([{"toy": {"uri": "a"}}, {"toy": {"uri": "b"}}]) == [
        "publish: toy is listed twice, with different options"
    ]


@pytest.mark.usefixtures("toy")
def test_a_frozen_spec_has_the_options_written_out_and_plain_names_as_before(tmp_path: Any) -> None:
    study = parse(changed(publish=["sqlite", {"toy": {"uri": "a"}}]), "x")
    study = study.model_copy(update={"trial": study.trial.model_copy(update={"seed": 7})})  # as `launch` writes it out
    text = dump(study)
    (tmp_path / "study.yaml").write_text(text)
    data, found = read(tmp_path / "study.yaml")
    assert data is not None and not found
    assert data["publish"] == ["sqlite", {"toy": {"uri": "a", "every": 1}}]
    assert parse(data, "x", frozen=True) == study
