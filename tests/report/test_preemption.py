"""Which job took the node of a trial that waits again: Slurm does not say it, the node's jobs do."""

from __future__ import annotations

import datetime
import signal
from pathlib import Path

import pytest

from hposlurm import Study
from hposlurm.backend import ElementState
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.report.preemption import lost_nodes
from hposlurm.trial import JobState
from tests.fake_slurm import FakeSlurm, fake_slurm
from tests.studies import BEGIN, SPEC, add_wave, end, failed, make_study, start, write_journal

__all__ = ["fake_slurm"]
SLURM = SPEC.replace("backend: local", "backend: slurm")
ASKED = {"kind": "told_to_stop", "signal": int(signal.SIGTERM)}
PENDING = ElementState(JobState.PENDING, "BeginTime")


def study(tmp_path: Path) -> StudyLayout:
    layout = make_study(tmp_path, spec=SLURM)
    add_wave(layout, range(4))
    write_journal(layout, 0, [{**start(0), "host": "n1"}, end("interrupted", cause=ASKED)])
    write_journal(layout, 1, [{**start(1), "host": "n2"}])  # killed without a word
    write_journal(layout, 2, [{**start(2), "host": "n3"}])
    write_journal(layout, 3, failed(3))
    return layout


def test_a_trial_that_waits_after_a_signal_or_without_an_end_has_lost_its_node(tmp_path: Path) -> None:
    queue = {f"100_{n}": PENDING for n in (0, 1, 3)} | {"100_2": ElementState(JobState.RUNNING)}
    found = lost_nodes(read_history(study(tmp_path)), queue)
    assert [(one.node, one.trials) for one in found] == [("n1", (0,)), ("n2", (1,))]
    assert found[1].line == "trial 1 had to leave n2 and waits; no job that you may see has started there since"


def test_status_names_the_jobs_that_started_on_the_node_since(tmp_path: Path, fake_slurm: FakeSlurm) -> None:
    layout = study(tmp_path)
    for job_id, array, states, at, more in (
        ("100", True, ["PENDING", "PENDING", "RUNNING", "FAILED"], 0.0, {}),
        ("150", False, ["PENDING"], 0.0, {}),
        ("812", False, ["RUNNING"], BEGIN + 3600.0, {"user": "anna", "node": "n1"}),
        ("811", False, ["RUNNING"], BEGIN - 60.0, {"user": "old", "node": "n1"}),
    ):
        job = {"id": job_id, "name": "x", "comment": "", "after": [], "array": array, "held": False, "reason": ""}
        began = datetime.datetime.fromtimestamp(at).isoformat(timespec="seconds")
        (fake_slurm.home / f"job-{job_id}.json").write_text("{}")
        fake_slurm.change(job_id, **job, states=states, start=began, **more)
    view = Study.open(layout.root).status()
    clock = datetime.datetime.fromtimestamp(BEGIN + 3600).strftime("%H:%M")
    line = f"trial 0 had to leave n1 and waits; there runs job 812 (user anna, partition urgent, since {clock})"
    assert view.lost[0].line == line
    assert [job["job_id"] for job in view.to_json()["lost"][0]["jobs"]] == ["812"]


@pytest.mark.usefixtures("fake_slurm")
def test_nothing_is_asked_about_nodes_while_no_trial_has_lost_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = make_study(tmp_path, spec=SLURM)
    add_wave(layout, range(1))
    monkeypatch.setattr("hposlurm.backend.slurm.SlurmBackend.running_on", None)
    assert Study.open(layout.root).status().lost == ()
