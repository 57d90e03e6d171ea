"""The ids in the records of jobs become words of scancel, squeue and sbatch."""

from __future__ import annotations

import json

import pytest

from hposlurm.records.jobs import read_jobs
from hposlurm.records.layout import WaveLayout

OPTIONS = [
    "--user=root",
    "-u root",
    "812 813",
    "812,813",
    "812\n#SBATCH --uid=0",
    "",
    "٣",
    "812_[0-9]",
    "$(id)",
    "812;id",
]


@pytest.fixture
def wave(tmp_path) -> WaveLayout:
    return WaveLayout(tmp_path, 0)


def write(wave: WaveLayout, array: object = "812", planner: object = "813") -> None:
    wave.jobs.write_text(json.dumps({"arrays": [{"job_id": array, "offset": 0, "count": 3}]}))
    wave.planner_job.write_text(json.dumps({"job_id": planner}))


@pytest.mark.parametrize("job_id", ["812", "node-7.4711.99000.0"])
def test_ids_of_both_backends_are_read(wave: WaveLayout, job_id: str) -> None:
    write(wave, job_id)
    found = read_jobs(wave)
    assert found is not None
    assert (found.arrays[0].job_id, found.planner) == (job_id, "813")


@pytest.mark.parametrize("word", OPTIONS)
def test_anything_else_is_a_damaged_record(wave: WaveLayout, word: str) -> None:
    write(wave, array=word)
    assert read_jobs(wave) is None


@pytest.mark.parametrize("word", [*OPTIONS, None, ["812"], {"a": 1}])
def test_a_planner_with_another_id_is_none(wave: WaveLayout, word: object) -> None:
    write(wave, planner=word)
    found = read_jobs(wave)
    assert found is not None and found.planner is None


def test_the_token_is_that_of_the_intent(wave: WaveLayout) -> None:
    write(wave)
    assert read_jobs(wave).token == ""
    wave.intent.write_text(json.dumps({"token": "abc"}))
    assert read_jobs(wave).token == "abc"
