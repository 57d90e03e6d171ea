"""A study that was interrupted under format 1 goes on, in this version and with real processes, to its end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.trial import Cause, TrialState
from tests.conftest import REPOSITORY

OLD = REPOSITORY / "tests/data/format-1/asha-local"
RUNS = "/srv/hposlurm-old/runs"
# On the host that its driver ran on: on another one the driver might still live, and would be waited for
ON_NODE01 = "import socket; socket.gethostname = lambda: 'node01'; from hposlurm.cli.main import main; main()"


def moved(runs: Path) -> StudyLayout:
    """A copy of the study, whose journals name its checkpoints where they now lie."""
    shutil.copytree(OLD, runs / OLD.name)
    for journal in (runs / OLD.name / "trials").glob("*/*.jsonl"):
        journal.write_text(journal.read_text().replace(RUNS, str(runs)))
    return StudyLayout(runs / OLD.name)


@pytest.mark.long(30)
def test_an_interrupted_study_of_format_1_is_resumed_to_its_end(tmp_path: Path) -> None:
    layout = moved(tmp_path)
    before = read_history(layout)
    environment = {**os.environ, "HPOSLURM_RUNS": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", ON_NODE01, "resume", OLD.name],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    history = read_history(layout)
    assert history.finished and history.plans[: len(before.plans)] == before.plans
    assert {t.state for t in history.trials} <= {TrialState.COMPLETE, TrialState.PAUSED, TrialState.FAIL}
    for old in before.trials:
        if old.state is TrialState.FAIL:
            assert history.trial(old.number) == old  # nothing was tried again that was over
    assert history.trial(7).state is not TrialState.FAIL  # it ran when the study was interrupted
    last = json.loads((layout.wave(len(history.plans) - 1).plan).read_bytes())
    assert last["format"] == 2
    causes = {a.cause.kind for t in history.trials for a in t.attempts if a.cause}
    assert {Cause.COMMAND_FAILED, Cause.METRIC_NOT_FINITE, Cause.TRIAL_TIMEOUT, Cause.TOLD_TO_STOP} <= causes
