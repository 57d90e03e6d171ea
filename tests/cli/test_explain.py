"""`hposlurm explain` in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.run import Run
from tests.report.played import RUNGS, played


@pytest.fixture
def halved(run: Run) -> Path:
    return played(run.runs, {"algorithm": "successive_halving", **RUNGS}, 20)[0]


def test_a_trial_is_explained_for_people_and_for_programs(run: Run, halved: Path) -> None:
    told = run("explain", "played", "0")
    assert told.status == 0 and told.out.startswith("trial 0 of virtual: ")
    data = json.loads(run("explain", str(halved), "0", "--format", "json").out)
    assert data["trial"] == 0 and data["stages"][0]["agrees"] is True
    assert data["origin"].startswith("drawn at random")


def test_a_study_is_explained_for_people_and_for_programs(run: Run, halved: Path) -> None:
    assert "rung 1:  20 reached it" in run("explain", "played").out
    data = json.loads(run("explain", str(halved), "--format", "json").out)
    assert [rung["step"] for rung in data["premise"]["rungs"]] == [1, 3]
    assert data["origins"] == {"random": 20}


def test_collect_says_beside_the_table_what_rungs_are_worth(run: Run) -> None:
    played(run.runs, {"algorithm": "asha", **RUNGS}, 60)
    told = run("collect", "played")
    assert "note: rank correlation with the end: 1.00 at step 1" in told.err and "note" not in told.out
    assert run("collect", "played", "--format", "json").err == ""


@pytest.mark.usefixtures("halved")
@pytest.mark.parametrize("words", [("played", "20"), ("played", "-1"), ("nowhere",), ("played", "one")])
def test_what_does_not_exist_is_a_wrong_request(run: Run, words: tuple[str, ...]) -> None:
    told = run("explain", *words)
    assert told.status == 2 and told.out == ""
