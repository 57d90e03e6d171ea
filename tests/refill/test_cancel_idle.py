"""Elements of a refill wave that its end leaves without a trial are not given GPUs first."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from hposlurm.backend import queries
from hposlurm.planner import create
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import bound, read_plan
from hposlurm.refill.__main__ import main
from hposlurm.trial import TrialState
from hposlurm.worker.binding import find_assignment
from tests.fake_slurm import FakeSlurm
from tests.planner import processes
from tests.planner.fake import new_layout, spec, write_attempt

RUNGS = {"algorithm": "asha", "seed": 1, "min_resource": 1, "max_resource": 9}


@pytest.fixture
def layout(tmp_path: Path, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> StudyLayout:
    """A wave of 8 elements, of which 0, 1, 2 and 4 have taken all there is; 3 waits again."""
    layout = new_layout(tmp_path)
    study = spec(backend="slurm", waves={"mode": "refill", "max_concurrent": 4}, budget={"n_trials": 4}, search=RUNGS)
    create(layout, study)
    assert processes.step(layout, study) == 0
    (array,) = fake_slurm.arrays()
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", array["id"])
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    for element in (0, 1, 2, 4):
        assert find_assignment(layout, 0, element, patience_s=0)
    fake_slurm.change(array["id"], states=["RUNNING"] * 3 + ["PENDING"] + ["RUNNING"] + ["PENDING"] * 3)
    return layout


def end_pool(layout: StudyLayout) -> None:
    assert main([str(layout.root), "0", "needed"]) == 0
    assert read_plan(layout.wave(0)).over


def states(fake_slurm: FakeSlurm) -> Counter[str]:
    return Counter(fake_slurm.arrays()[0]["states"])


def test_those_behind_all_that_have_started_are_cancelled(layout: StudyLayout, fake_slurm: FakeSlurm) -> None:
    end_pool(layout)
    before = ["RUNNING"] * 3 + ["PENDING"] + ["RUNNING"]
    assert fake_slurm.arrays()[0]["states"] == before + ["CANCELLED"] * 3


def test_in_each_of_several_arrays_those_behind_its_own_started_ones(
    layout: StudyLayout, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave, mine = layout.wave(0), fake_slurm.arrays()[0]["id"]
    jobs = json.loads(wave.jobs.read_text())
    halves = [{"job_id": mine, "offset": 0, "count": 4}, {"job_id": "999", "offset": 4, "count": 4}]
    wave.jobs.write_text(json.dumps({**jobs, "arrays": halves}))
    asked: list[list[object]] = []
    monkeypatch.setattr(queries, "ask", lambda *command, timeout_s: asked.append([*command, timeout_s]))
    end_pool(layout)
    assert asked == [["scancel", "--quiet", f"{mine}_3", "999_[1-3]", 20.0]]


def test_no_trial_is_taken_out_with_them(layout: StudyLayout, fake_slurm: FakeSlurm) -> None:
    end_pool(layout)
    (array,) = fake_slurm.arrays()
    for element, assignment in bound(layout.wave(0), read_plan(layout.wave(0))).items():
        write_attempt(layout, 0, element, assignment.trial, f"{array['id']}_{element}", float(element))
    fake_slurm.change(array["id"], states=["COMPLETED"] * 5 + ["CANCELLED"] * 3)
    study = spec(backend="slurm", waves={"mode": "refill", "max_concurrent": 4}, budget={"n_trials": 4}, search=RUNGS)
    assert processes.step(layout, study) == 0
    history = read_history(layout)
    assert len(history.plans) == 2 and not history.finished
    assert TrialState.FAIL not in {trial.state for trial in history.trials}


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 1\n", "no program", None])
def test_it_does_not_matter_if_that_fails(
    layout: StudyLayout, fake_slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    if text is not None:
        (folder / "scancel").write_text(text)
        (folder / "scancel").chmod(0o700)
    monkeypatch.setenv("PATH", str(folder))
    end_pool(layout)
    assert states(fake_slurm) == {"RUNNING": 4, "PENDING": 4}


@pytest.mark.parametrize("name", ["", "7"])
def test_only_jobs_of_the_wave_do_that(
    layout: StudyLayout, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", name)
    end_pool(layout)
    assert states(fake_slurm) == {"RUNNING": 4, "PENDING": 4}
