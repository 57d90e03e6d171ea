"""Offline runs of W&B, read with its own messages."""

from __future__ import annotations

import json
import math
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.publish.results import PARAMS, begun, grown, publish, reported

wandb = pytest.importorskip("wandb", reason="W&B is not installed: pip install -e '.[trackers]'")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the library's own

SETTING = "[wandb]"


_BLOCK, _HEADER = 2**15, 7


def contents(data: bytes) -> Iterator[bytes]:
    """The records of a file in LevelDB's log format (leveldb/doc/log_format.md), after W&B's own header of 7 bytes."""
    at, parts = 7, b""
    while at + _HEADER <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + _HEADER])
        parts += data[at + _HEADER : at + _HEADER + length]
        at += _HEADER + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def records(path: Path) -> list[Any]:
    from wandb.proto import wandb_internal_pb2

    assert path.read_bytes()[:4] == b":W&B"
    found = []
    for content in contents(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        found.append(record)
    return found


def runs_of(directory: Path) -> dict[str, list[Any]]:
    """The records of each attempt by its place."""
    return {
        "/".join(path.relative_to(directory).parts[:2]): records(path)
        for path in sorted(directory.glob("trial-*/attempt-*/wandb/offline-run-*/run-*.wandb"))
    }


def reports(found: list[Any]) -> list[tuple[int, float]]:
    rows = []
    for record in found:
        if record.WhichOneof("record_type") == "history":
            row = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            value = row.get("eval_loss", math.nan)
            if not math.isnan(value):
                rows.append((row["trial_step"], value))
    return rows


def test_a_run_per_trial_a_directory_per_attempt_every_value(tmp_path: Path) -> None:
    layout = begun(tmp_path)
    assert publish(layout, SETTING) == ()
    assert publish(layout, SETTING) == ()
    directory = layout.root / "wandb"
    first = runs_of(directory)
    assert [*first] == ["trial-00000/attempt-0", "trial-00001/attempt-1", "trial-00001/attempt-2"]
    grown(layout)
    layout.publication("wandb").unlink()  # everything is sent again
    assert publish(layout, SETTING) == ()
    found = runs_of(directory)
    values: dict[int, list[tuple[int, float]]] = {}
    for place, own in found.items():
        number = int(place[6:11])
        (run,) = [record.run for record in own if record.WhichOneof("record_type") == "run"]
        config = {item.key: json.loads(item.value_json) for item in run.config.update}
        assert {name: config[name] for name in PARAMS[number]} == PARAMS[number]
        assert (run.run_group.startswith("demo-"), run.job_type) == (True, "trial")
        assert run.run_id.endswith(f"-{number:05d}")
        values.setdefault(number, []).extend(reports(own))
    assert values == reported(layout)
    assert len({place for place in found if "trial-00001" in place}) == 2
    how_to = (directory / "how-to-sync.txt").read_text()
    assert f"# wandb {wandb.__version__}" in how_to


def test_the_line_that_is_written_is_what_the_installed_version_takes(tmp_path: Path) -> None:
    layout = begun(tmp_path)
    publish(layout, SETTING)
    line = (layout.root / "wandb" / "how-to-sync.txt").read_text().splitlines()[-1]
    assert line.startswith("wandb sync --yes ")
    dry = line.replace("wandb sync", "wandb sync --dry-run", 1)
    done = subprocess.run(["bash", "-c", dry], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr.count("attempt-")) == (0, 3), done.stderr
