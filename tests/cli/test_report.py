"""The verb report: what it writes, what it refuses, and how it follows a study."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from hposlurm.records.layout import StudyLayout
from tests.cli.run import Run
from tests.cli.test_watch import watcher
from tests.studies import add_wave, completed, end, make_study, report, start, study_of_completed, write_journal

pytestmark = pytest.mark.usefixtures("demo")


@pytest.fixture
def demo(runs: Path) -> StudyLayout:
    """A study with a completed and a running trial."""
    layout = make_study(runs)
    add_wave(layout, range(2))
    write_journal(layout, 0, completed(0, 2.0))
    write_journal(layout, 1, [start(1), report(1, eval_loss=3.0)])
    return layout


def data_of(page: Path) -> dict:
    text = page.read_text()
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)[1])


def contents(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_page_is_written_and_the_study_stays_as_it_was(run: Run, demo: StudyLayout, tmp_path: Path) -> None:
    before = contents(demo.root)
    result = run("report", "demo", "-o", "page.html")
    assert (result.status, result.out) == (0, "") and result.err.startswith("page.html: 2 trials, ")
    data = data_of(tmp_path / "page.html")
    assert [study["head"]["study"] for study in data["studies"]] == ["demo"] and data["refresh_s"] is None
    assert contents(demo.root) == before


def test_several_studies_become_one_page_a_name_given_twice_once(run: Run, demo: StudyLayout, tmp_path: Path) -> None:
    study_of_completed(demo.root.parent, 3, "other")
    assert run("report", "demo", "other", "demo").status == 0
    assert [study["head"]["study"] for study in data_of(tmp_path / "report.html")["studies"]] == ["demo", "other"]


def test_a_study_that_does_not_exist_is_refused_and_nothing_is_written(run: Run) -> None:
    assert run("report", "demo", "nothing").status == 2
    assert not Path("report.html").exists()


@pytest.mark.parametrize("name", ["report.html", "waves/0000/x.html"])
def test_the_directory_of_a_study_is_never_written_to(run: Run, demo: StudyLayout, name: str) -> None:
    result = run("report", "demo", "-o", str(demo.root / name))
    assert result.status == 2 and "is in the directory of study demo" in result.err
    result = run("report", "demo", "--figures", str(demo.root / "figures"))
    assert result.status == 2 and not (demo.root / "figures").exists()


def test_a_link_that_another_user_may_have_made_is_not_followed(run: Run, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (shared / "page.html").symlink_to(victim)
    if os.geteuid() == 0:
        os.chown(shared / "page.html", 12345, 12345, follow_symlinks=False)
    result = run("report", "demo", "-o", str(shared / "page.html"))
    assert result.status == 2 and "is a link in a directory that other users may write to" in result.err
    assert victim.read_text() == "precious"


def test_figures_come_beside_the_page(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = run("report", "demo", "--figures", "figures")
    assert result.status == 0 and re.search(r"figures: \d+ files of \d+ figures", result.err)
    assert (tmp_path / "figures" / "timeline.pdf").read_bytes().startswith(b"%PDF")


def test_figures_without_matplotlib_are_refused_before_anything_is_written(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hposlurm.report.page.figures.find_spec", lambda _: None)
    result = run("report", "demo", "--figures", "figures")
    assert result.status == 2 and "pip install 'hposlurm[report]'" in result.err
    assert not Path("report.html").exists() and not Path("figures").exists()


def test_a_watched_page_follows_the_study_to_its_end(demo: StudyLayout, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    with watcher(demo.root.parent, "report", "demo", "-o", str(page), "--watch", "--every", "2") as process:
        assert process.stderr is not None
        assert "2 trials" in _line(process.stderr, "page.html")
        first = data_of(page)
        assert first["refresh_s"] == 2 and first["studies"][0]["head"]["counts"] == {"RUNNING": 1, "COMPLETE": 1}
        write_journal(demo, 1, [end("complete", metrics={"eval_loss": 1.0})])
        add_wave(demo, [], finished="done")
        process.communicate(timeout=60)
    assert process.returncode == 0
    last = data_of(page)
    assert last["refresh_s"] is None and last["studies"][0]["head"]["phase"] == "finished"
    assert last["studies"][0]["head"]["best"]["trial"] == 1


def test_ctrl_c_leaves_a_watched_page_whole(demo: StudyLayout, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    with watcher(demo.root.parent, "report", "demo", "-o", str(page), "--watch", "--every", "60") as process:
        assert process.stderr is not None
        _line(process.stderr, "page.html")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in err
    assert data_of(page)["studies"] and [path.name for path in tmp_path.glob("*.html*")] == ["page.html"]


def _line(stream, word: str) -> str:
    """Returns the first line with that word; notes may come before."""
    return next(line for line in stream if word in line)
