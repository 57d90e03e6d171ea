"""Reading what `best --export` wrote, for a run of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hposlurm.integrations.schedule import Recipe, read_recipe

LEGS = [
    {"step": 0, "trial": 1, "params": {"lr": 0.1, "bs": 4, "kind": "a"}},
    {"step": 2, "trial": 5, "params": {"lr": 0.12, "bs": 4, "kind": "b", "m": 0.5}},
    {"step": 4, "trial": 6, "params": {"lr": 0.1, "bs": 4, "kind": "b", "m": 0.5}},
]


def recipe(directory: Path, text: str | None = None, **export: Any) -> Recipe:
    file = directory / "best.yaml"
    file.write_text(yaml.safe_dump({"params": LEGS[-1]["params"], "seed": 7, **export}) if text is None else text)
    return read_recipe(file)


def test_what_changes_has_its_steps_and_what_does_not_one_value(tmp_path: Path) -> None:
    found = recipe(tmp_path, schedule=LEGS)
    assert found.values["lr"] == {0: 0.1, 2: 0.12, 4: 0.1} and found.first("lr") == 0.1
    assert found.values["bs"] == {0: 4} and found.constant("bs") == 4
    assert found.seed == 7
    with pytest.raises(ValueError, match="kind has no single value: it changes at the steps 0, 2"):
        found.constant("kind")
    with pytest.raises(ValueError, match="m has a value only from step 2 on"):
        found.constant("m")


def test_a_trial_that_is_no_copy_has_one_value_of_everything(tmp_path: Path) -> None:
    assert recipe(tmp_path, schedule=[]).values == {"lr": {0: 0.1}, "bs": {0: 4}, "kind": {0: "b"}, "m": {0: 0.5}}


@pytest.mark.parametrize(
    "text", ["", "a: b", "[1]", "seed: x\nschedule: []\nparams: {}", "a: [", "schedule: 3\nseed: 1"]
)
def test_another_file_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"best.yaml is not an export of `hposlurm best`"):
        recipe(tmp_path, text)
