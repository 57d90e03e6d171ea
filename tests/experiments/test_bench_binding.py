"""The benchmark of binding, at its smallest: it counts as well as it measures."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import REPOSITORY


def test_it_measures_and_finds_each_trial_taken_once() -> None:
    command = [sys.executable, str(REPOSITORY / "experiments" / "binding" / "bench_binding.py")]
    options = ["--earlier", "3", "--elements", "2", "--algorithm", "random"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    row = [cell.strip() for cell in done.stdout.splitlines()[-1].strip("|").split("|")]
    assert row[:3] == ["3", "2", "random"] and row[-1] == "yes"
