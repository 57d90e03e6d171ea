"""scripts/bench_search.py on a task that needs no data: the score, and the same result again."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "bench_search.py"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=300)


def test_it_scores_a_synthetic_task_the_same_way_twice(tmp_path):
    out = tmp_path / "bench.json"
    common = ("--tasks", "discrete", "--algorithms", "random", "--seeds", "2", "--workers", "4", "--out", str(out))
    one = _run(*common)
    assert one.returncode == 0, one.stderr
    (row,) = json.loads(out.read_text())
    assert row["regret"] == sorted(row["regret"], reverse=True) and len(row["regret"]) == 3
    assert f"| discrete | random | 4 | 2 | {'/'.join(f'{r:.3f}' for r in row['regret'])} |" in one.stdout
    assert _run(*common).stdout == one.stdout


def test_it_says_what_is_missing_for_a_task_of_the_surrogate():
    found = _run("--tasks", "126026")
    assert found.returncode == 1
    assert "say with --curves where the surrogate lies" in found.stderr
