"""Tables of results that other programs wrote are understood, or their reader says what it could not understand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hposlurm.decisions.foreign import read_study
from hposlurm.decisions.result_table import read_table
from hposlurm.decisions.warm import WarmStart, gather
from hposlurm.errors import RequestError, SpecError
from hposlurm.records.layout import StudyLayout
from hposlurm.spec import parse
from hposlurm.trial import CountedReport, Objective
from tests.studies import add_wave, assignment, end, make_study, report, start, write_journal

WANDB = """\
"Name","ID","State","Created","Runtime","lr","bs","optimizer","val_loss"
"brisk-1","a1","finished","2025-11-01T10:00:00.000Z","360","0.0001","16","adam","0.51"
"calm-2","a2","crashed","2025-11-01T10:00:00.000Z","12","0.009","16","sgd","0.05"
"dim-3","a3","failed","2025-11-01T10:00:00.000Z","12","0.0003","32","adam",""
"odd-4","a4","finished","2025-11-01T10:00:00.000Z","360","3e-4","32","adam","NaN"
"ok-5","a5","running","2025-11-01T10:00:00.000Z","360","5.0e-04","32.0","sgd","0.61"
"wet-6","a6","crashed","2025-11-01T10:00:00.000Z","360","5.0e-04","32","sgd","0.01"
"""
WANDB_API = """\
,lr,bs,optimizer,val_loss,name,state
0,0.0001,16,adam,0.51,brisk-1,finished
1,0.0003,32.0,adam,0.44,calm-2,finished
2,0.0009,32,sgd,0.94,dim-3,crashed
"""
MLFLOW = """\
Start Time,Duration,Run ID,Name,Source Type,Status,lr,bs,optimizer,val_loss
2025-11-01 10:00:00,6.0min,abc,brisk,LOCAL,FINISHED,0.0001,16,adam,0.51
2025-11-01 10:00:00,6.0min,abd,calm,LOCAL,FAILED,0.0003,32,adam,0.44
"""
MLFLOW_SEARCH = """\
run_id,status,metrics.val_loss,params.lr,params.bs,params.optimizer
abc,FINISHED,0.51,0.0001,16,adam
abd,KILLED,0.1,0.0003,32,adam
"""
OPTUNA = """\
number,value,datetime_start,duration,params_bs,params_lr,params_optimizer,state
0,0.51,2025-11-01 10:00:00,0 days 00:06:00,16,0.0001,adam,COMPLETE
1,0.44,2025-11-01 10:00:00,0 days 00:06:00,32,0.0003,adam,COMPLETE
2,,2025-11-01 10:00:00,,32,0.0009,sgd,FAIL
3,0.2,2025-11-01 10:00:00,,32,0.0009,sgd,PRUNED
"""
RAY = """\
val_loss,training_iteration,trial_id,done,config/lr,config/bs,config/optimizer
0.51,5,a,True,0.0001,16,adam
0.44,5,b,True,0.0003,32,adam
0.10,2,c,False,0.0003,32,adam
"""
EXCEL_DE = "lr;bs;optimizer;val_loss\r\n0,0001;16;adam;0,51\r\n0,0003;32;adam;0,44\r\n"
TABS = "lr\tbs\toptimizer\tval_loss\n0.0001\t16\tadam\t0.51\n0.0003\t32\tadam\t0.44\n"
SPACES = "lr,bs,optimizer,val_loss\n0.0001, 16,adam ,0.51\n 0.0003 ,32, adam, 0.44\n"
TWO = [({"lr": 0.0001, "bs": 16, "optimizer": "adam"}, 0.51), ({"lr": 0.0003, "bs": 32, "optimizer": "adam"}, 0.44)]


def taken(tmp_path: Path, content: str | bytes, **source: Any) -> WarmStart:
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    study = {
        "name": "newer",
        "objectives": [{"name": "val_loss"}],
        "parameters": {
            "lr": {"type": "float", "min": 1e-5, "max": 1e-2, "log": True},
            "bs": {"choices": [16, 32]},
            "optimizer": {"choices": ["adam", "sgd"]},
        },
        "search": {"algorithm": "tpe", "warm_start": [{"csv": str(path), **source}]},
        "budget": {"n_trials": 2},
        "trial": {"command": "true {{ flags }}"},
    }
    return gather(StudyLayout(tmp_path / "newer"), parse(study, "newer.yaml"))


def rows(warm: WarmStart) -> list[tuple[dict[str, Any], float]]:
    return [(dict(trial.params), trial.values[0]) for trial in warm.trials if trial.values]


@pytest.mark.parametrize(
    ("content", "source", "expected", "left_out"),
    [
        pytest.param(
            WANDB, {}, TWO[:1], {"crashed": 2, "failed": 1, "without val_loss": 1, "running": 1}, id="W&B's interface"
        ),
        pytest.param(WANDB_API, {}, TWO, {"crashed": 1}, id="W&B's API"),
        pytest.param(MLFLOW, {}, TWO[:1], {"failed": 1}, id="MLflow's interface"),
        pytest.param(MLFLOW_SEARCH, {}, TWO[:1], {"killed": 1}, id="mlflow.search_runs"),
        pytest.param(OPTUNA, {"columns": {"val_loss": "value"}}, TWO, {"fail": 1, "pruned": 1}, id="Optuna"),
        pytest.param(RAY, {}, TWO, {"not done": 1}, id="Ray"),
    ],
)
def test_a_table_of_another_tool_is_read_and_what_did_not_finish_is_left_out_by_its_word(
    tmp_path: Path, content: str, source: dict[str, Any], expected: Any, left_out: dict[str, int]
) -> None:
    warm = taken(tmp_path, content, **source)
    assert rows(warm) == expected
    assert warm.sources[0].left_out == left_out


def test_what_was_left_out_is_said_by_its_word(tmp_path: Path) -> None:
    text = str(taken(tmp_path, WANDB).sources[0])
    assert text.endswith("table.csv (left out: 2 crashed, 1 failed, 1 without val_loss, 1 running)")
    assert text.startswith("1 of 6 trials of ")


@pytest.mark.parametrize(
    ("content", "read_as"),
    [
        pytest.param(EXCEL_DE, "separated by semicolons, with decimal commas", id="German Excel"),
        pytest.param(f"sep=;\r\n{EXCEL_DE}", "separated by semicolons, with decimal commas", id="Excel's sep="),
        pytest.param(EXCEL_DE.encode("utf-16"), "UTF-16, separated by semicolons, with decimal commas", id="UTF-16"),
        pytest.param(TABS, "separated by tabs", id="tabs"),
        pytest.param(TABS.encode("utf-16-le"), "UTF-16, separated by tabs", id="UTF-16 without a mark"),
        pytest.param(TABS.encode("utf-16-be"), "UTF-16, separated by tabs", id="big-endian UTF-16 without a mark"),
        pytest.param(SPACES, "", id="spaces around cells"),
        pytest.param(SPACES.encode("utf-8-sig"), "", id="UTF-8 with a mark"),
        pytest.param(SPACES.replace("\n", "\r"), "", id="old Macintosh lines"),
    ],
)
def test_separators_encodings_and_decimal_commas_are_found_and_told(
    tmp_path: Path, content: str | bytes, read_as: str
) -> None:
    warm = taken(tmp_path, content)
    assert rows(warm) == TWO
    assert warm.sources[0].read_as == read_as
    assert (f"({read_as})" in str(warm.sources[0])) == bool(read_as)


def test_a_comma_in_a_cell_is_a_decimal_comma_only_where_commas_do_not_separate(tmp_path: Path) -> None:
    warm = taken(tmp_path, 'lr,bs,optimizer,val_loss\n"0,001",16,adam,0.5\n')
    assert warm.sources[0].left_out == {"without lr": 1}
    warm = taken(tmp_path, "lr;bs;optimizer;val_loss\n0,001;16;adam;1.234,5\n")
    assert rows(warm) == [({"lr": 0.001, "bs": 16, "optimizer": "adam"}, 1234.5)]


def test_a_row_with_more_cells_than_columns_is_left_out(tmp_path: Path) -> None:
    """A decimal comma in a table that commas separate would otherwise move every later cell."""
    warm = taken(tmp_path, "lr,bs,optimizer,val_loss\n0,001,16,adam,0,51\n0.001,16,adam,0.51\n")
    assert len(warm.trials) == 1
    assert warm.sources[0].left_out == {"with more cells than columns": 1}


@pytest.mark.parametrize(
    ("content", "source", "message"),
    [
        ("", {}, "is empty; it must begin with a line of column names"),
        (b"\xff\xfe", {}, "is empty"),
        (OPTUNA, {}, r"has no column val_loss; if its column is value, add columns: \{val_loss: value\}"),
        (
            "lr;valloss\n1;2\n",
            {},
            r"no column val_loss; did you mean valloss\? \(another column: columns: \{val_l",
        ),
        (
            OPTUNA,
            {"columns": {"val_los": "value"}},
            "columns.val_los: this study has no objective or parameter val_l",
        ),
        (
            OPTUNA,
            {"columns": {"val_loss": "valu"}},
            r"columns.val_loss: .* has no column valu; did you mean value\?",
        ),
        ("größe,val_loss\n1,2\n".encode("latin-1"), {}, "byte 2 is not UTF-8; save it as UTF-8"),
    ],
)
def test_what_cannot_be_understood_is_named(
    tmp_path: Path, content: str | bytes, source: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        taken(tmp_path, content, **source)


def test_a_pipe_in_place_of_a_table_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RequestError, match="is not a file"):
        read_table(tmp_path / "pipe", "search.warm_start.0.csv", ())


def test_columns_belong_to_a_table() -> None:
    with pytest.raises(SpecError, match="columns are for a csv; a study's own names are known"):
        parse({"search": {"warm_start": [{"study": "a", "columns": {"a": "b"}}]}}, "newer.yaml")


def test_very_many_words_for_a_state_do_not_become_very_many_reasons(tmp_path: Path) -> None:
    body = "".join(f"0.001,16,adam,0.5,word {n}\n" for n in range(1000))
    (source,) = taken(tmp_path, f"lr,bs,optimizer,val_loss,state\n{body}").sources
    assert len(source.left_out) == 11
    assert source.left_out["in other states"] == 990


def test_the_apostrophe_before_a_formula_in_a_published_table_is_not_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("'=x,opt,loss\n'@a,'quoted',-1.5\n")
    found = read_table(tmp_path / "results.csv", "here", ["opt"])
    assert dict(found.rows[0]) == {"=x": "@a", "opt": "'quoted'", "loss": "-1.5"}


def test_the_best_value_of_an_older_study_counts_although_it_had_another_objective(tmp_path: Path) -> None:
    """An older study kept what its own objective needed of very many reports."""
    layout = make_study(tmp_path / "runs", "older")
    add_wave(layout, [assignment(0, {"lr": 0.0001, "bs": 16, "optimizer": "adam"})])
    losses = {step: 0.2 if step == 1237 else 0.9 for step in range(5000)}
    reports = [report(step, eval_loss=1.0, val_loss=loss) for step, loss in losses.items()]
    write_journal(layout, 0, [start(0), *reports, end("complete", metrics={"eval_loss": 1.0, "val_loss": 0.9})])
    found, _ = read_study(layout, [Objective("val_loss", report=CountedReport.BEST)])
    assert found[0].values == (0.2,)
    found, _ = read_study(layout, [Objective("val_loss")])
    assert found[0].values == (0.9,)
