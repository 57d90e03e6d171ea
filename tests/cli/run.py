"""Runs the command line in this process, as `main()` does it: errors become a message and an exit status."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from hposlurm.cli.main import main


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Run:
    """Callable with the words behind `hposlurm`; studies lie in `runs`."""

    runs: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Result:
        self.monkeypatch.setattr(sys, "argv", ["hposlurm", *words])
        with pytest.raises(SystemExit) as left:
            main()
        captured = self.capsys.readouterr()
        code = left.value.code
        return Result(code if isinstance(code, int) else int(code is not None), captured.out, captured.err)
