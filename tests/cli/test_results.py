"""collect and best, through the real command line."""

from __future__ import annotations

import csv
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hposlurm.records.layout import StudyLayout
from tests.cli.run import Run
from tests.studies import (
    SPEC,
    add_wave,
    assignment,
    completed,
    failed,
    make_study,
    start,
    study_of_completed,
    write_journal,
)

pytestmark = pytest.mark.usefixtures("mixed")


@pytest.fixture
def mixed(runs: Path) -> StudyLayout:
    layout = make_study(runs, "mixed", 4)
    add_wave(layout, range(4))
    write_journal(layout, 0, failed(0))
    write_journal(layout, 1, completed(1, 2.0, f1=0.25))
    write_journal(layout, 2, completed(2, 1.0, f1=0.5))
    write_journal(layout, 3, [start(3)])
    return layout


def test_collect_json_has_the_documented_keys_best_first(run: Run) -> None:
    rows = json.loads(run("collect", "mixed", "--format", "json").out)
    assert [row["trial"] for row in rows] == [2, 1, 3, 0]
    assert rows[0] == {
        **{"trial": 2, "state": "COMPLETE", "wave": 0, "attempts": 1, "step": 1, "bs": 1, "lr": 3 * 1e-5},
        **{"eval_loss": 1.0, "f1": 0.5, "runtime": 3600.0, "gpu_hours": 2.0, "node": "n2", "reason": None},
        **{"peak_host_gb": None, "peak_gpu_gb": None},
        **{"eval_loss.best": 1.0, "eval_loss.best_step": 1, "eval_loss.last": 1.0},
    }
    assert rows[3]["reason"] == "the command ended with exit status 1: ValueError: no"


def test_collect_csv_has_the_same_columns(run: Run) -> None:
    keys = list(json.loads(run("collect", "mixed", "--format", "json").out)[0])
    rows = list(csv.reader(run("collect", "mixed", "--format", "csv").out.splitlines()))
    assert rows[0] == keys
    assert len(rows) == 5


def test_collect_shows_a_table_and_why_trials_failed(run: Run) -> None:
    lines = run("collect", "mixed").out.splitlines()
    assert lines[0].split()[:2] == ["trial", "state"]
    assert "trial 0 FAIL: the command ended with exit status 1: ValueError: no" in lines


def test_collect_of_several_studies_has_a_column_study(run: Run, runs: Path) -> None:
    study_of_completed(runs, 2, "other")
    rows = json.loads(run("collect", "mixed", "other", "--format", "json").out)
    assert [(row["study"], row["trial"]) for row in rows[:3]] == [("other", 0), ("mixed", 2), ("other", 1)]
    assert list(rows[0])[:2] == ["study", "trial"]


def test_a_study_that_is_named_twice_is_shown_once(run: Run) -> None:
    assert len(json.loads(run("collect", "mixed", "mixed", "--format", "json").out)) == 4


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("r.csv", "trial,state"),
        ("r.json", "[\n"),
        ("r.md", "|   trial |"),
        ("r.tex", "\\begin{tab"),
        ("r.txt", "trial  state"),
    ],
)
def test_collect_writes_a_file_in_the_format_of_its_ending(run: Run, tmp_path: Path, name: str, beginning: str) -> None:
    result = run("collect", "mixed", "-o", str(tmp_path / name))
    assert (result.status, result.out) == (0, "")
    assert (tmp_path / name).read_text().startswith(beginning)
    assert "4 trials" in result.err


def test_the_format_that_is_asked_for_wins_over_the_ending(run: Run, tmp_path: Path) -> None:
    run("collect", "mixed", "-o", str(tmp_path / "r.txt"), "--format", "json")
    assert len(json.loads((tmp_path / "r.txt").read_text())) == 4


@pytest.mark.parametrize("target", ["no/such/r.csv", "."])
def test_collect_refuses_a_place_it_cannot_write_to(run: Run, tmp_path: Path, target: str) -> None:
    result = run("collect", "mixed", "-o", str(tmp_path / target))
    assert result.status == 2
    assert "cannot write" in result.err


def test_a_new_file_has_the_permissions_that_the_umask_leaves(run: Run, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        run("collect", "mixed", "-o", str(tmp_path / "r.csv"))
        run("best", "mixed", "--export", str(tmp_path / "best.yaml"))
    finally:
        os.umask(before)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("r.csv", "best.yaml")} == {0o640}
    (tmp_path / "r.csv").chmod(0o600)
    run("collect", "mixed", "-o", str(tmp_path / "r.csv"))
    assert stat.S_IMODE((tmp_path / "r.csv").stat().st_mode) == 0o600


@pytest.mark.parametrize("words", [("collect", "mixed", "-o"), ("best", "mixed", "--force", "--export")])
def test_a_link_leads_to_the_file_that_is_written(run: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "r.yaml", tmp_path / "r.yaml"
    link.symlink_to(target)
    for _ in range(2):  # the first time there is no target yet
        assert run(*words, str(link)).status == 0
        assert link.is_symlink()
        assert "eval_loss" in target.read_text()
    link.unlink()
    link.symlink_to(tmp_path / "nowhere" / "r.yaml")
    result = run(*words, str(link))
    assert (result.status, "nowhere" in result.err) == (2, True)


@pytest.mark.parametrize("words", [("collect", "mixed", "-o"), ("best", "mixed", "--export")])
def test_a_pipe_is_written_to_and_not_replaced(run: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run(*words, str(pipe)).status == 0
        assert b"eval_loss" in os.read(reader, 1 << 16)
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert run(*words, "/dev/null").status == 0


def test_dev_stdout_is_the_output_itself(runs: Path) -> None:
    command = [sys.executable, "-m", "hposlurm.cli.main", "collect", "mixed", "-o", "/dev/stdout"]
    with (runs / "out.txt").open("w+b") as out:
        out.write(b"before\n")
        out.flush()
        subprocess.run(command, stdout=out, check=True)
    lines = (runs / "out.txt").read_text().splitlines()
    assert (lines[0], lines[1].split()[:2]) == ("before", ["trial", "state"])


@pytest.mark.parametrize("words", [["collect"], ["best"], ["collect", "--format", "markdown"], ["status"]])
def test_a_terminal_that_has_no_such_character_is_no_reason_to_fail(
    words: list[str],
) -> None:
    command = [sys.executable, "-m", "hposlurm.cli.main", words[0], "mixed", *words[1:]]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"1" in done.stdout


def test_an_unknown_study_is_refused_with_the_nearest_name(run: Run) -> None:
    result = run("collect", "mixd")
    assert (result.status, result.out) == (2, "")
    assert "did you mean mixed?" in result.err


def test_collecting_writes_nothing_into_the_study(run: Run, mixed: StudyLayout) -> None:
    before = sorted(mixed.root.rglob("*"))
    run("collect", "mixed")
    run("best", "mixed")
    assert sorted(mixed.root.rglob("*")) == before


def test_best_shows_the_best_configuration(run: Run) -> None:
    assert [line.split() for line in run("best", "mixed").out.splitlines()] == [
        ["trial", "2", "of", "mixed"],
        ["values:"],
        ["eval_loss", "1", "at", "step", "1"],
        ["params:"],
        ["bs", "1"],
        ["lr", "3.0000000000000004e-05"],
        ["metrics:"],
        ["eval_loss", "1"],
        ["f1", "0.5"],
        ["runtime:", "1h00m", "GPU", "hours:", "2"],
    ]


def test_best_in_json_keeps_params_values_and_metrics_apart(run: Run) -> None:
    found = json.loads(run("best", "mixed", "--top", "3", "--format", "json").out)
    assert [one["trial"] for one in found] == [2, 1]
    assert found[0]["values"] == {"eval_loss": 1.0}
    assert found[0]["metrics"] == {"eval_loss": 1.0, "f1": 0.5}
    assert found[0]["params"]["bs"] == 1


def test_the_best_few_are_a_table(run: Run) -> None:
    lines = run("best", "mixed", "--top", "5").out.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["2", "1"]


@pytest.mark.parametrize(("top", "hint"), [(1, "; --top 2 shows them all"), (2, "")])
def test_with_several_objectives_the_best_is_said_to_be_one_of_a_front(
    run: Run, runs: Path, top: int, hint: str
) -> None:
    two = "objectives: [{{name: eval_loss}}, {{name: f1, direction: maximize}}]"
    one = "objectives:\n  - {{name: eval_loss, direction: minimize}}"
    layout = make_study(runs, "front", 3, spec=SPEC.replace(one, two))
    add_wave(layout, range(3), objectives=("eval_loss", "f1"))
    for number, (loss, f1) in enumerate([(1.0, 0.3), (2.0, 0.9), (3.0, 0.8)]):
        write_journal(layout, number, completed(number, loss, f1=f1))
    what = "this is the best one" if top == 1 else "they come first,"
    said = run("best", "front", "--top", str(top)).err
    assert said == f"note: 2 trials are on the Pareto front; {what} by eval_loss{hint}\n"
    assert "(trial 0: bs=1, lr=1e-05); one of 2 on the Pareto front" in " ".join(run("status", "front").out.split())


def test_a_study_without_a_completed_trial_has_no_best(run: Run, runs: Path) -> None:
    layout = make_study(runs, "young")
    add_wave(layout, range(2))
    result = run("best", "young")
    assert (result.status, result.out) == (1, "")
    assert "error: study 'young' has no completed trial yet (2 WAITING)" in result.err


def test_best_exports_yaml_that_reads_back_exactly(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "best.yaml"
    assert run("best", "mixed", "--export", str(target)).status == 0
    exported = yaml.safe_load(target.read_text())
    assert (exported["study"], exported["trial"]) == ("mixed", 2)
    assert exported["params"] == {"bs": 1, "lr": 3 * 1e-5}
    assert (exported["values"], exported["metrics"]["f1"]) == ({"eval_loss": 1.0}, 0.5)


def test_an_export_is_renewed_but_nothing_else_is_replaced(run: Run, mixed: StudyLayout, tmp_path: Path) -> None:
    target = tmp_path / "best.yaml"
    run("best", "mixed", "--export", str(target))
    write_journal(mixed, 3, completed(3, 0.5)[1:])
    assert run("best", "mixed", "--export", str(target)).status == 0
    assert yaml.safe_load(target.read_text())["trial"] == 3

    target.write_text("mine: true\n")
    result = run("best", "mixed", "--export", str(target))
    assert (result.status, target.read_text()) == (2, "mine: true\n")
    assert "--force replaces it" in result.err
    assert run("best", "mixed", "--export", str(target), "--force").status == 0
    assert yaml.safe_load(target.read_text())["trial"] == 3


def test_an_export_of_another_study_is_not_replaced(run: Run, runs: Path, tmp_path: Path) -> None:
    study_of_completed(runs, 2, "other")
    target = tmp_path / "best.yaml"
    run("best", "other", "--export", str(target))
    assert run("best", "mixed", "--export", str(target)).status == 2
    assert yaml.safe_load(target.read_text())["study"] == "other"


def test_what_is_noticed_is_said_on_request(run: Run, runs: Path) -> None:
    study_of_completed(runs, 4, "same")
    layout = make_study(runs, "constant", 4)
    add_wave(layout, range(4))
    for number in range(4):
        write_journal(layout, number, completed(number, 0.7))
    result = run("collect", "constant", "--notes", "--format", "csv")
    assert (
        "noticed: eval_loss is 0.7 in all 4 completed trials, whatever their parameters (4 trials: 0-3): " in result.err
    )
    assert len(result.out.splitlines()) == 5
    assert "noticed" not in run("collect", "constant").err
    shown = " ".join(run("status", "constant").out.split())
    assert "noticed eval_loss is 0.7 in all 4 completed trials" in shown
    (notice,) = json.loads(run("status", "constant", "--format", "json").out)["notices"]
    assert (notice["kind"], notice["trials"]) == ("constant_metric", [0, 1, 2, 3])
    both = run("collect", "same", "constant", "--notes").err
    assert "nothing is noticed in same" in both and "noticed: constant: eval_loss is" in both


def test_collect_shows_what_was_asked_for(run: Run) -> None:
    rows = run("collect", "mixed", "--state", "complete", "--sort", "lr", "--columns", "trial,lr", "--format", "csv")
    assert rows.out.splitlines() == ["trial,lr", "1,2e-05", f"2,{3 * 1e-5!r}"]
    assert "note: 2 of 4 trials" in rows.err
    assert (
        run("collect", "mixed", "--where", "eval_loss < 1.5", "--format", "csv", "--columns", "trial").out
        == "trial\n2\n"
    )
    wrong = run("collect", "mixed", "--where", "eval_lss < 1")
    assert (wrong.status, "did you mean eval_loss?" in wrong.err) == (2, True)


def test_columns_that_say_the_same_everywhere_are_hidden_from_people_only(run: Run, runs: Path) -> None:
    layout = make_study(runs, "same", 2)
    add_wave(layout, [assignment(n, {"bs": 8, "lr": 1e-3 * (n + 1)}) for n in range(2)])
    for number in range(2):
        write_journal(layout, number, completed(number, 1.0 + number, vocab=7.0))
    result = run("collect", "same")
    assert "note: the same in every row: bs=8, vocab=7 (--all-columns)" in result.err
    assert "bs" not in result.out.splitlines()[0].split()
    assert "bs" in run("collect", "same", "--all-columns").out.splitlines()[0].split()
    assert "bs" in json.loads(run("collect", "same", "--format", "json").out)[0]


def test_html_is_escaped_and_parquet_needs_a_file(run: Run, tmp_path: Path) -> None:
    layout = make_study(run.runs, "odd", 1)
    add_wave(layout, [assignment(0, {"opt": "<script>x</script>", "lr": 1e-3})])
    write_journal(layout, 0, completed(0, 1.0))
    page = run("collect", "odd", "--format", "html").out
    assert "<table>" in page and "<script>" not in page and "&lt;script&gt;" in page
    refused = run("collect", "mixed", "--format", "parquet")
    assert (refused.status, "-o FILE.parquet" in refused.err) == (2, True)
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    assert run("collect", "mixed", "-o", str(tmp_path / "t.parquet")).status == 0
    frame = pd.read_parquet(tmp_path / "t.parquet")
    assert list(frame["trial"]) == [2, 1, 3, 0]
    assert frame["eval_loss"].dropna().tolist() == [1.0, 2.0]


def test_compare_studies_and_trials(run: Run, runs: Path) -> None:
    study_of_completed(runs, 3, "other")
    rows = json.loads(run("compare", "mixed", "other", "--baseline", "other", "--format", "json").out)
    assert [(row["study"], row["best"], row["trials"]) for row in rows] == [("mixed", 1.0, 4), ("other", 1.0, 3)]
    assert rows[1]["cost_ratio"] == 1.0
    side = run("compare", "mixed:1", "mixed:2").out
    assert [line.split() for line in side.splitlines() if line.startswith("eval_loss.best ")] == [
        ["eval_loss.best", "*", "2", "1"]
    ]
    for words, error in (
        (["mixed"], "compare needs two studies at least"),
        (["mixed:1", "other"], "compare either studies or trials"),
        (["mixed:1", "mixed:9"], "there is no trial 9"),
        (["mixed:1", "mixed:2", "--baseline", "mixed"], "--baseline is for studies"),
    ):
        result = run("compare", *words)
        assert (result.status, error in result.err) == (2, True), result.err
