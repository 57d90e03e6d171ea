"""Bytes that are not UTF-8, in paths, arguments and files: a sentence, and nothing half written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hposlurm.records.layout import StudyLayout
from tests.cli.run import Run
from tests.studies import SPEC, study_of_completed

LATIN_1 = os.fsdecode("caf\xe9".encode("latin-1"))
SENTENCE = "caf\\xe9 is not UTF-8, and records are: rename it, or use another one"
VERBS = [
    ("check",), ("launch",), ("status",), ("collect",), ("best",), ("explain",), ("cancel",), ("resume",), ("advance",),
    ("gc",), ("rebuild",),
]  # fmt: skip


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_an_argument_that_is_not_utf_8_is_refused(run: Run, words: tuple[str, ...]) -> None:
    done = run(*words, LATIN_1)
    assert (done.status, done.out) == (2, "")
    assert done.err == f"error: the path {SENTENCE}\n"


def test_a_place_that_is_not_utf_8_is_refused_before_anything_is_written(
    runs: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runs / "demo.yaml").write_text(SPEC.format(name="demo", n_trials=1))
    monkeypatch.setenv("HPOSLURM_RUNS", str(runs / LATIN_1))
    done = run("launch", str(runs / "demo.yaml"))
    assert (done.status, SENTENCE in done.err) == (2, True)
    monkeypatch.setenv("HPOSLURM_RUNS", str(runs))
    (runs / LATIN_1).mkdir()
    monkeypatch.chdir(runs / LATIN_1)
    done = run("launch", str(runs / "demo.yaml"))
    assert (done.status, SENTENCE in done.err) == (2, True)
    assert not (runs / "demo").exists()


@pytest.fixture
def demo(runs: Path) -> StudyLayout:
    """A study with file names that are not UTF-8 wherever a name is read."""
    layout = study_of_completed(runs, 2)
    for folder in (layout.root, layout.root / "waves", layout.wave(0).root, layout.trials, layout.trial(0).root):
        (folder / LATIN_1).touch()
        (folder / f"{LATIN_1}-dir").mkdir()
    (runs / LATIN_1).mkdir()
    (runs / LATIN_1 / "study.yaml").write_bytes(b"name: caf\xe9")
    (layout.trial(1).checkpoints / LATIN_1).mkdir(parents=True)
    return layout


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize("verb", ["status", "list", "collect", "best", "explain", "gc", "rebuild"])
def test_names_that_are_not_utf_8_in_a_study_stop_no_verb(run: Run, verb: str) -> None:
    done = run(verb, *([] if verb == "list" else ["demo"]))
    assert done.status == 0, done.err
    assert "Traceback" not in done.err
