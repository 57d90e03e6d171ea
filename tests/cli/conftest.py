"""A directory of studies, and the command line that looks at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.run import Run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory in which studies lie; the terminal has 80 columns."""
    directory = tmp_path / "runs"
    directory.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPOSLURM_RUNS", str(directory))
    monkeypatch.setenv("COLUMNS", "80")
    return directory


@pytest.fixture
def run(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(runs, monkeypatch, capsys)
