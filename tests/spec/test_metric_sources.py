"""trial.metrics: files that training libraries write by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from hposlurm.records.layout import StudyLayout
from hposlurm.records.metric_source import MetricSource
from hposlurm.render.trial import metric_files
from hposlurm.spec import dump, load, parse
from tests.spec.data import changed, problems_of


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("out/trainer_log.jsonl", "jsonl"),
        ("checkpoint-*/trainer_state.json", "trainer_state"),
        ("results_*.json", "json"),
        ("version_*/metrics.csv", "csv"),
        ("runs/events.out.tfevents.*", "tensorboard"),
    ],
)
def test_the_format_is_known_by_the_name(file: str, kind: str) -> None:
    (found,) = parse(changed(trial__metrics={"file": file}), "x").trial.metrics  # one entry needs no list
    assert found.source == MetricSource(kind)


def test_entries_survive_a_round_trip(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    first = {"file": "log", "format": "jsonl", "step": "n", "offset": 1, "map": {"val/loss": "a.b"}}
    study.write_text(dump(parse(changed(trial__metrics=[first, {"file": "x.csv"}]), "x")))
    assert [each.source for each in load(study).trial.metrics] == [
        MetricSource("jsonl", "n", 1, {"val/loss": "a.b"}),
        MetricSource("csv"),
    ]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"file": "log.txt"}, "trial.metrics.0: format is needed, one of jsonl, json, trainer_state, csv, tensorboard"),
        ({"file": "x", "format": "yaml"}, "trial.metrics.0: format must be one of jsonl, json, trainer_state, csv"),
        ({"file": "x.csv", "map": {"a b": "c"}}, "trial.metrics.0.map"),
        ({"path": "x.csv"}, "trial.metrics.0.file"),
        ({"file": "{{ nothing }}/x.csv"}, "trial.metrics: '{{ nothing }}/x.csv': 'nothing' is undefined"),
    ],
)
def test_what_no_worker_could_read_is_refused(entry: dict[str, object], words: str) -> None:
    assert any(problem.startswith(words) for problem in problems_of(changed(trial__metrics=[entry])))


def test_a_file_has_the_placeholders_of_a_command_without_quotes() -> None:
    spec = parse(changed(trial__metrics={"file": "{{ trial_dir }}/lr {{ lr }}/x.csv"}), "x")
    layout = StudyLayout(Path("/runs/my study"))
    found = metric_files(layout, spec.command_template, 7, {"lr": 1e-05}, 0)
    assert found == (f"{layout.trial(7).root}/lr 1.0e-05/x.csv",)
