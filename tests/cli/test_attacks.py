"""Whatever lies in a study directory: no verb ends in a traceback, and what only looks changes nothing."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hposlurm import backend
from hposlurm.planner import ends
from hposlurm.records.layout import StudyLayout
from tests.cli import attack
from tests.cli.attack import READ_VERBS, WRITE_VERBS, Attack, everything, hposlurm
from tests.conftest import examples
from tests.planner.fake import FakeCluster

LOOSE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
# What makes a study a study: no verb but the one that wrote it may ever touch it
TRUTH = ("study.yaml", "wave.json", "trial.json", ".jsonl", "jobs.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study before it is damaged."""
    return attack.build(tmp_path_factory.mktemp("whole")).root


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("runs")
    with (
        pytest.MonkeyPatch.context() as patch,
        mock.patch.object(backend, "choose", lambda _name: FakeCluster()),
        mock.patch.multiple(ends, LOST_AFTER_S=0, SETTLE_S=0),
    ):
        patch.setenv("HPOSLURM_RUNS", str(directory))
        patch.setenv("COLUMNS", "80")
        patch.chdir(directory)
        yield directory


def attacked(runs: Path, whole: Path, *attacks: Attack) -> StudyLayout:
    shutil.rmtree(runs / "demo", ignore_errors=True)
    shutil.copytree(whole, runs / "demo")
    layout = StudyLayout(runs / "demo")
    for damage in attacks:
        damage(layout)
    return layout


@pytest.mark.parametrize("verb", [*READ_VERBS, *WRITE_VERBS], ids=" ".join)
def test_a_study_file_with_other_objectives(runs: Path, whole: Path, verb: tuple[str, ...]) -> None:
    def exchange(layout: StudyLayout) -> None:
        text = layout.spec().read_text()
        layout.spec().write_text(text.replace("objectives:", "objectives:\n  - {name: f1, direction: maximize}", 1))

    attacked(runs, whole, exchange)
    status, _, err = hposlurm(*verb)
    assert status in (0, 1, 2), err
    if verb[0] in ("status", "collect", "best", "advance", "rebuild"):
        assert (status, "restore the file that launch wrote" in err) == (1, True), err


def look_and_go_on(
    runs: Path,
    look: tuple[str, ...],
    go_on: tuple[str, ...],
    watched: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
) -> None:
    before = everything(runs)
    with watched():
        status, _, err = hposlurm(*look)
    assert status in (0, 1, 2), f"{look}: {err}"
    assert bool(status) <= bool(err.strip()), f"{look} failed without a word"
    assert everything(runs) == before, f"{look} changed files"
    with watched():
        status, _, err = hposlurm(*go_on)
    assert status in (0, 1, 2), f"{go_on}: {err}"
    assert bool(status) <= bool(err.strip()), f"{go_on} failed without a word"
    after = everything(runs)
    changed = [name for name in before if name.endswith(TRUTH) and after.get(name) != before[name]]
    assert not changed, f"{go_on} changed {changed}"
    assert not [name for name in after if name.endswith(".tmp")]


looks, goes = st.sampled_from(READ_VERBS), st.sampled_from(WRITE_VERBS)


@settings(max_examples=examples(80), suppress_health_check=LOOSE)
@given(st.data(), looks, goes)
def test_damaged_journals(runs: Path, whole: Path, data: st.DataObject, look: tuple, go_on: tuple) -> None:
    attacked(runs, whole, data.draw(attack.damaged_journal(whole)))
    look_and_go_on(runs, look, go_on)


@settings(max_examples=examples(60), suppress_health_check=LOOSE)
@given(st.data(), looks, goes)
def test_damaged_databases(runs: Path, whole: Path, data: st.DataObject, look: tuple, go_on: tuple) -> None:
    attacked(runs, whole, data.draw(attack.damaged_database(whole)))
    look_and_go_on(runs, look, go_on)


def published(layout: StudyLayout) -> tuple[list[str], bytes, bytes]:
    with closing(sqlite3.connect(layout.database)) as connection:
        return list(connection.iterdump()), layout.results.read_bytes(), layout.reports.read_bytes()


@settings(max_examples=examples(20), suppress_health_check=LOOSE)
@given(st.data())
def test_rebuilding_restores_what_was_published_row_for_row(runs: Path, whole: Path, data: st.DataObject) -> None:
    layout = attacked(runs, whole)
    assert hposlurm("rebuild", "demo")[0] == 0
    expected = published(layout)
    data.draw(attack.damaged_database(whole))(layout)
    for path in (layout.results, layout.reports):
        path.write_bytes(data.draw(st.binary(max_size=30)))
    assert hposlurm("rebuild", "demo")[0] == 0
    assert published(layout) == expected


@settings(max_examples=examples(80), suppress_health_check=LOOSE)
@given(st.data(), looks, goes)
def test_damaged_plans_and_records(runs: Path, whole: Path, data: st.DataObject, look: tuple, go_on: tuple) -> None:
    attacked(runs, whole, data.draw(attack.damaged_json(whole, "*/*/*.json")))
    look_and_go_on(runs, look, go_on)


@settings(max_examples=examples(40), suppress_health_check=LOOSE)
@given(st.data(), looks, goes)
def test_damaged_summaries(runs: Path, whole: Path, data: st.DataObject, look: tuple, go_on: tuple) -> None:
    attacked(runs, whole, data.draw(attack.damaged_json(whole, "summary.json")))
    look_and_go_on(runs, look, go_on)


@settings(max_examples=examples(50), suppress_health_check=LOOSE)
@given(st.data(), looks, goes)
def test_foreign_and_missing_files(runs: Path, whole: Path, data: st.DataObject, look: tuple, go_on: tuple) -> None:
    things = data.draw(st.lists(attack.foreign_things(whole), min_size=1, max_size=2))
    layout = attacked(runs, whole)
    for damage in things:
        with contextlib.suppress(OSError):  # an earlier one took its folder away
            damage(layout)
    look_and_go_on(runs, look, go_on)


@settings(max_examples=examples(50), suppress_health_check=LOOSE)
@given(st.data(), looks, st.sampled_from([*WRITE_VERBS, ("check",), ("launch", "--dry-run")]))
def test_damaged_study_files(runs: Path, whole: Path, data: st.DataObject, look: tuple, go_on: tuple) -> None:
    content = data.draw(attack.damaged_study_file(whole))
    layout = attacked(runs, whole)
    layout.spec().write_bytes(content)
    if go_on in WRITE_VERBS:
        look_and_go_on(runs, look, go_on)
        return
    before = everything(runs)
    status, _, err = hposlurm(*go_on, str(layout.spec()))
    assert status in (0, 1, 2), err
    assert everything(runs) == before
