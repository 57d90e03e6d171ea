"""What the verbs say of studies of format 1 is what the version that wrote them said."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest

from tests.cli.run import Run
from tests.conftest import REPOSITORY

STUDIES = sorted(path for path in (REPOSITORY / "tests/data/format-1").iterdir() if path.is_dir())
RUNS = "/srv/hposlurm-old/runs"  # where they were made, on a host of the name below


@pytest.mark.parametrize("verb", ["status", "collect", "explain"])
@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_a_study_of_format_1_is_read_as_its_own_version_read_it(
    run: Run, runs: Path, monkeypatch: pytest.MonkeyPatch, study: Path, verb: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "node01")
    shutil.copytree(study, runs / study.name)
    expected = json.loads((study / "expected.json").read_text().replace(RUNS, str(runs)))[verb]
    found = run(verb, study.name, "--format", "json")
    assert (found.status, found.err) == (expected["exit_status"], expected["stderr"])
    answer, before = json.loads(found.out), expected["stdout"]
    if verb == "collect":  # keys may have been added since
        answer = [{key: row[key] for key in old} for row, old in zip(answer, before, strict=True)]
    else:
        answer = {key: answer[key] for key in before}
    if verb == "status":  # summed in another order
        assert answer.pop("gpu_hours") == pytest.approx(before.pop("gpu_hours"))
    assert answer == before
