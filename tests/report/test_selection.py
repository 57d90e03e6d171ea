"""Which rows and columns of a table are shown."""

from __future__ import annotations

import pytest

from hposlurm.errors import RequestError
from hposlurm.report.selection import Selection, select, without_repetition
from hposlurm.report.tables import Table

COLUMNS = (
    "trial",
    "state",
    "optimizer.lr",
    "bs",
    "loss",
    "loss.best",
    "loss.best_step",
    "loss.last",
    "step",
    "f1",
    "node",
)
ROWS = (
    dict(zip(COLUMNS, (0, "COMPLETE", 1e-5, 8, 2.0, 2.0, 3, 2.5, 4, 0.5, None), strict=True)),
    dict(zip(COLUMNS, (1, "FAIL", 1e-3, 8, None, None, None, "nan", 2, None, None), strict=True)),
    dict(zip(COLUMNS, (2, "COMPLETE", 1e-4, 8, 1.0, 1.0, 4, 1.0, 4, 0.5, None), strict=True)),
)
TABLE = Table(
    COLUMNS, ROWS, ("optimizer.lr", "bs"), ("loss",), ("f1",), 0, {"loss": ("loss.best", "loss.best_step", "loss.last")}
)


def trials(**wanted: object) -> list[object]:
    return [row["trial"] for row in select(TABLE, Selection(**wanted)).rows]  # type: ignore[arg-type]


def test_nothing_wanted_in_particular_is_all() -> None:
    assert select(TABLE, Selection()) == TABLE


def test_states_in_any_case() -> None:
    assert trials(states=("complete",)) == [0, 2]
    assert trials(states=("FAIL", "Complete")) == [0, 1, 2]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("loss < 1.5", [2]),
        ("optimizer__lr > 1e-5 and bs == 8", [1, 2]),
        ("state == 'FAIL' or trial >= 2", [1, 2]),
        ("loss__last < 3", [0, 2]),  # "nan" is no number to compare
        ("trial in [0, 1]", [0, 1]),
    ],
)
def test_an_expression_over_the_columns(where: str, found: list[int]) -> None:
    assert trials(where=where) == found


def test_the_order_and_what_has_no_value_comes_last() -> None:
    assert trials(sort="loss") == [2, 0, 1]
    assert trials(sort="-loss") == [0, 2, 1]
    assert trials(sort="-optimizer.lr") == [1, 2, 0]
    assert trials(sort="loss.last") == [2, 0, 1]


def test_columns_in_the_wanted_order() -> None:
    assert select(TABLE, Selection(columns=("loss", "trial"))).columns == ("loss", "trial")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"states": ("DONE",)}, "--state DONE: is not one of WAITING"),
        ({"where": "los < 1"}, "--where: there is no column 'los' (did you mean loss?); columns: trial, state"),
        ({"where": "loss <"}, "--where 'loss <': not an expression"),
        ({"where": "__import__('os')"}, "a function call is not allowed"),
        ({"sort": "lr"}, "--sort: there is no column 'lr'"),
        ({"columns": ("trail",)}, "--columns: there is no column 'trail' (did you mean trial?"),
    ],
)
def test_a_wrong_name_says_which_there_are(wanted: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        trials(**wanted)
    assert message in str(caught.value)


def test_what_repeats_is_left_out_and_said() -> None:
    table, same = without_repetition(TABLE)
    assert table.columns == ("trial", "state", "optimizer.lr", "loss", "loss.best_step", "loss.last", "step", "f1")
    assert same == {"bs": 8}
    one, nothing = without_repetition(select(TABLE, Selection(where="trial == 2")))
    assert (one.columns, nothing) == (COLUMNS, {})


def test_best_and_last_values_that_are_the_one_that_counts_are_left_out() -> None:
    table, _ = without_repetition(select(TABLE, Selection(where="trial == 2 or state == 'FAIL'")))
    assert {"loss.best", "loss.best_step"}.isdisjoint(table.columns)  # the step of the best is the last one
    assert "loss.last" in table.columns
    same = Table(COLUMNS, (ROWS[2], {**ROWS[2], "trial": 3}), TABLE.params, ("loss",), ("f1",), 0, TABLE.ends)
    assert without_repetition(same)[0].columns == ("trial", "state", "loss", "step")


def test_each_unknown_name_of_a_condition_is_told_with_what_it_may_stand_for() -> None:
    rows = ({"trial": 0, "optimizer": "adamw", "loss": 0.5},)
    table = Table(columns=("trial", "optimizer", "loss"), rows=rows, objectives=("loss",))
    with pytest.raises(RequestError) as caught:
        select(table, Selection(where="los < 1 and optimiser == adamw and zzz"))
    assert str(caught.value) == (
        "--where: there are no columns 'los' (did you mean loss?), 'optimiser' (did you mean optimizer?), "
        "'adamw' (a value of optimizer: text needs quotes, \"adamw\"), 'zzz'; columns: trial, optimizer, loss"
    )
