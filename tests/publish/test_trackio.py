"""Fragments for Trackio: what its own reader makes of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.publish.results import PARAMS, begun, grown, publish, reported

READ = """
import json, trackio.fragments as f
from trackio.sqlite_storage import SQLiteStorage as s
f.import_inbox_dir()
runs = {r["name"]: r["id"] for r in s.get_run_records("demo")}
read = lambda name, i: [s.get_logs("demo", name, run_id=i), s.get_run_config("demo", name, run_id=i)]
print(json.dumps({name: read(name, i) for name, i in runs.items()}))
"""


def setting(directory: Path) -> str:
    return f"[{{trackio: {{dir: '{directory}'}}}}]"


def lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in directory.rglob("*.jsonl") for line in path.read_text().splitlines()]


def test_a_line_for_each_report_with_an_id_of_its_own(tmp_path: Path) -> None:
    layout = begun(tmp_path)
    assert publish(layout, setting(tmp_path / "t")) == ()
    found = [line for line in lines(tmp_path / "t") if "eval_loss" in line["metrics"]]
    values = sorted(
        (line["config"]["hposlurm.trial"], line["step"], str(line["metrics"]["eval_loss"])) for line in found
    )
    expected = [(n, step, str(value)) for n, pairs in reported(layout).items() for step, value in pairs]
    assert values == sorted([*expected, (2, 1, "nan")])
    assert len({line["log_id"] for line in found}) == len(found)
    assert publish(layout, setting(tmp_path / "t")) == ()
    assert len([line for line in lines(tmp_path / "t") if "eval_loss" in line["metrics"]]) == len(found)


def test_trackio_itself_reads_every_value_once(tmp_path: Path) -> None:
    pytest.importorskip("trackio", reason="Trackio is not installed: pip install trackio")
    layout, directory = begun(tmp_path), tmp_path / "t"
    publish(layout, setting(directory))
    layout.publication("trackio").unlink()  # everything is written again
    grown(layout)
    assert publish(layout, setting(directory)) == ()
    environment = {**os.environ, "TRACKIO_DIR": str(directory)}
    done = subprocess.run(
        [sys.executable, "-c", READ], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    runs = json.loads(done.stdout.splitlines()[-1])
    found = {}
    for logs, config in runs.values():
        number = config["hposlurm.trial"]
        assert {name: config[name] for name in PARAMS[number]} == PARAMS[number]
        found[number] = [(log["step"], log["eval_loss"]) for log in logs if isinstance(log.get("eval_loss"), float)]
    assert {n: sorted(pairs) for n, pairs in found.items()} == {n: sorted(p) for n, p in reported(layout).items()}
    assert "1 bs=2 lr=0.00025" in runs
