"""scripts/bench_search.py on a task that needs no data: the score, the same result again, and going on."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "bench_search.py"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=300)


def test_it_scores_a_task_the_same_way_twice_and_goes_on_where_it_was(tmp_path):
    out, again = tmp_path / "bench.jsonl", tmp_path / "again.jsonl"
    common = ("--tasks", "discrete", "--algorithms", "random", "optuna-random", "--workers", "4")
    first = _run(*common, "--seeds", "1", "--out", str(out))
    assert first.returncode == 0, first.stderr
    one = out.read_text()
    second = _run(*common, "--seeds", "2", "--out", str(out))
    assert second.returncode == 0, second.stderr
    assert out.read_text().startswith(one)  # not a study of the first call was run again
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    names = ["random", "optuna-random"]
    assert [(row["algorithm"], row["seed"]) for row in rows] == [(name, seed) for seed in (0, 1) for name in names]
    for row in rows:
        assert row["regret"] == sorted(row["regret"], reverse=True) and len(row["regret"]) == 3
        assert list(row["ended_at"]) == ["27"]
    assert _run(*common, "--seeds", "2", "--out", str(again)).stdout == second.stdout


def test_it_says_what_is_missing_for_a_task_of_the_surrogate():
    found = _run("--tasks", "126026")
    assert found.returncode == 1
    assert "say with --curves where the surrogate lies" in found.stderr


def test_it_says_what_is_missing_for_another_tool(tmp_path):
    found = _run("--tasks", "discrete", "--algorithms", "ray-asha", "--cache", str(tmp_path))
    assert found.returncode == 1
    assert f"ray 2.60.0 is not installed under {tmp_path}: --peers ray installs it" in found.stderr
    found = _run("--tasks", "discrete", "--algorithms", "ray-tpe", "--cache", str(tmp_path))
    assert found.returncode == 1
    assert "ray-tpe is none of the other tools' algorithms" in found.stderr
