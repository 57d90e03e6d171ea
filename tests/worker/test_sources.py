"""Metrics from the files that training libraries write by themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hposlurm.records.metric_source import MetricSource
from hposlurm.worker.sources import MetricFiles, value_at
from hposlurm.worker.tfevents import scalars
from tests.worker.study import Study

Report = tuple[int | None, dict[str, float]]


def source(directory: Path, file: str, kind: str, **more: Any) -> MetricFiles:
    return MetricFiles(MetricSource(kind, **more), file, directory)


def new(found: MetricFiles, *, is_over: bool = False) -> list[Report]:
    return [(report["step"], report["metrics"]) for report in found.new(is_over=is_over)]


def test_lines_of_json_are_read_once_they_are_whole(tmp_path: Path) -> None:
    """As LLaMA-Factory writes trainer_log.jsonl."""
    log = tmp_path / "trainer_log.jsonl"
    log.write_text('{"current_steps": 5, "loss": 9.0}\n')  # an earlier attempt's
    found = source(
        tmp_path, log.name, "jsonl", step="current_steps", map={"train/loss": "loss", "eval_loss": "eval_loss"}
    )
    assert new(found) == []
    with log.open("a") as file:
        file.write(
            '{"current_steps": 10, "loss": 2.5, "lr": 0.1}\n{"current_steps": 10, "eval_loss": 2.0}\nno JSON\n{"cur'
        )
    assert new(found) == [(10, {"train/loss": 2.5}), (10, {"eval_loss": 2.0})]
    assert new(found) == []
    with log.open("a") as file:
        file.write('rent_steps": 20, "eval_loss": "1.5"}')
    assert new(found) == []
    assert new(found, is_over=True) == [(20, {"eval_loss": 1.5})]


def test_a_file_that_is_begun_again_is_read_from_its_start(tmp_path: Path) -> None:
    """As verl does at each start; its metrics are one level deeper, and their names have slashes."""
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 100, "data": {"val/score": 0.123456789}}\n')
    found = source(tmp_path, "log.jsonl", "jsonl", map={"score": "data.val/score"})
    log.write_text('{"step": 1, "data": {"val/score": 0.5}}\n')
    assert new(found) == [(1, {"score": 0.5})]


def state(directory: Path, step: int, *history: Mapping[str, object]) -> Path:
    path = directory / f"checkpoint-{step}" / "trainer_state.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"global_step": step, "log_history": history}))
    return path


def test_the_trainer_s_history_is_read_from_its_newest_checkpoint_each_entry_once(tmp_path: Path) -> None:
    first = {"epoch": 1.0, "step": 10, "eval_loss": 2.0, "eval_runtime": 3.0}
    half = {"epoch": 0.5, "step": 5, "loss": 2.5}
    second = {"epoch": 1.9999999999, "step": 20, "eval_loss": 1.5}
    found = source(
        tmp_path, "checkpoint-*/trainer_state.json", "trainer_state", step="epoch", map={"eval_loss": "eval_loss"}
    )
    steps = source(tmp_path, "checkpoint-*/trainer_state.json", "trainer_state")
    state(tmp_path, 10, half, first)
    assert new(found) == [(1, {"eval_loss": 2.0})]
    assert found.uneven_step == "0.5"
    state(tmp_path, 20, half, first, second)
    assert new(found)[-1] == (2, {"eval_loss": 1.5})
    assert (10, {"epoch": 1.0, "eval_loss": 2.0, "eval_runtime": 3.0}) in new(steps)


def test_the_newest_result_of_an_evaluation_is_read_by_its_path(tmp_path: Path) -> None:
    """As lm-eval writes results_DATE.json, under a folder with the model's name."""
    found = source(tmp_path, "**/results_*.json", "json", map={"acc": "results.gsm8k.exact_match,strict-match"})
    out = tmp_path / "model" / "results_2026-11-30.json"
    out.parent.mkdir()
    out.write_text('{"results": {"gsm8k": {"exact_match,strict-match": 0.25}}')
    assert new(found) == []  # half written
    out.write_text('{"results": {"gsm8k": {"exact_match,strict-match": 0.25, "alias": "gsm8k"}}, "n": {"a": 1}}')
    assert new(found) == [(None, {"acc": 0.25})]
    assert new(found, is_over=True) == []


def test_rows_of_a_table_are_read_once_they_are_whole(tmp_path: Path) -> None:
    """As Lightning's CSVLogger writes them: epochs from 0 on, and a row per call with empty cells."""
    table = tmp_path / "version_0" / "metrics.csv"
    found = source(tmp_path, "version_*/metrics.csv", "csv", step="epoch", offset=1)
    table.parent.mkdir()
    table.write_text("epoch,step,train_loss,val_loss\n0,9,2.5,\n0,9,,2.25\n1,19,")
    assert new(found) == [(1, {"step": 9, "train_loss": 2.5}), (1, {"step": 9, "val_loss": 2.25})]
    table.write_text("epoch,step,train_loss,val_loss\n0,9,2.5,\n0,9,,2.25\n1,19,,2.0\n")
    assert new(found) == [(2, {"step": 19, "val_loss": 2.0})]


# Written by torch.utils.tensorboard 2.13: `l` is 1.5 at step 1, and 0.25 at step 300
EVENTS = bytes.fromhex(
    "4800000000000000fe92489d0970ac3d7875c3da411a0d627261696e2e4576656e743a32522e0a2c74656e736f72626f6172642e73756d6d"
    "6172792e7772697465722e6576656e745f66696c655f777269746572e948c2991700000000000000e7cef81e09a2b63d7875c3da4110012a"
    "0a0a080a016c150000c03f1ac8b8991800000000000000a37f4b22090ab73d7875c3da4110ac022a0a0a080a016c150000803e94ca9c7d"
)


@pytest.mark.parametrize("cut", [80, 100, 130, len(EVENTS)])
def test_an_event_counts_once_it_is_whole(tmp_path: Path, cut: int) -> None:
    found = source(tmp_path, "events.out.tfevents.1", "tensorboard")
    file = tmp_path / "events.out.tfevents.1"
    file.write_bytes(EVENTS[:cut])
    first = new(found)
    file.write_bytes(EVENTS)
    assert first + new(found, is_over=True) == [(1, {"l": 1.5}), (300, {"l": 0.25})]


def test_a_scalar_of_tensorflow_2_is_a_tensor() -> None:
    value = b"\x0a\x01l" + b"\x42\x08" + b"\x08\x01" + b"\x22\x04" + b"\x00\x00\xc0\x3f"
    summary = b"\x0a" + bytes([len(value)]) + value
    assert scalars(b"\x10\x07\x2a" + bytes([len(summary)]) + summary) == {"l": 1.5, "step": 7}


@pytest.mark.train
def test_event_files_are_read_as_tensorboard_reads_them(tmp_path: Path) -> None:
    writer = pytest.importorskip("torch.utils.tensorboard").SummaryWriter(str(tmp_path / "runs"))
    found = source(tmp_path, "runs/events.out.tfevents.*", "tensorboard", map={"val/loss": "val/loss"})
    for step in (1, 2, 300):
        writer.add_scalar("val/loss", 1.5 / step, step)
        writer.add_scalar("other", step, step)
        writer.add_text("note", "text", step)
    writer.flush()
    assert new(found) == [(step, {"val/loss": pytest.approx(1.5 / step)}) for step in (1, 2, 300)]
    writer.add_scalar("val/loss", 0.25, 301)
    writer.close()
    assert new(found) == [(301, {"val/loss": 0.25})]


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "trainer_state", "tensorboard"])
@pytest.mark.parametrize("data", [b"", b"\x00" * 40, b"[1, 2]", b'{"step": {}}\n', b'"', b"\xff\xfe\n,\n", b"[" * 5000])
def test_what_is_no_such_file_has_no_metrics(tmp_path: Path, kind: str, data: bytes) -> None:
    found = source(tmp_path, "file", kind)
    (tmp_path / "file").write_bytes(data)
    assert new(found, is_over=True) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [("a.b", 1), ("a.c.d", 2), ("e.f", 3), ("g.1", 5), ("g.-1.h", 6), ("g.9", None), ("a.x", None), ("a.b.c", None)],
)
def test_a_path_leads_through_keys_that_may_have_dots(path: str, value: object) -> None:
    data = {"a": {"b": 1, "c.d": 2}, "e": {"f": 3}, "g": [4, 5, {"h": 6}]}
    assert value_at(data, path) == value


# ------------------------------------------------------------------------------------------------ in the real worker


def test_several_files_report_beside_the_output_and_a_result_without_a_step_belongs_to_the_last(study: Study) -> None:
    lines = "".join(f'{{"step": {step}, "eval_loss": {3 - step}}}\\n' for step in (1, 2))
    study.plan(
        f"printf '{lines}' > log.jsonl; echo acc 0.5; echo '{{\"f1\": 30, \"n\": 7}}' > all_results.json",
        metric_pattern="acc (?P<acc>.*)",
        sources=(MetricSource("jsonl"), MetricSource("json", map={"f1": "f1"})),
        assignment={"metric_files": ("log.jsonl", "all_*.json")},
    )
    assert study.run()[0] == 0
    assert study.end() == ("complete", "")
    reports = study.reports()
    assert [each for each in reports if "eval_loss" in each[1]] == [(1, {"eval_loss": 2.0}), (2, {"eval_loss": 1.0})]
    assert (2, {"f1": 30.0}) in reports and (1, {"acc": 0.5}) in reports


def test_a_file_is_read_while_the_command_runs(study: Study) -> None:
    seen = f"until grep -q '\"report\"' {study.trial().journal(0)}; do sleep 0.02; done"
    study.plan(
        f"""echo '{{"step": 1, "eval_loss": 2}}' > log.jsonl; {seen}""",
        sources=(MetricSource("jsonl"),),
        assignment={"metric_files": ("log.jsonl",)},
    )
    assert study.run()[0] == 0
    assert study.reports() == [(1, {"eval_loss": 2.0})]
