"""Tables as text: exact for programs, readable for people, safe for both."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from hposlurm.report.numbers import counted, duration, shorten, shown
from hposlurm.report.style import Format
from hposlurm.report.tables import Table
from hposlurm.report.tables_text import content, fitting, latex_escaped, render

COLUMNS = (
    "trial",
    "state",
    "wave",
    "attempts",
    "lr",
    "opt",
    "eval_loss",
    "f1",
    "runtime",
    "gpu_hours",
    "node",
    "reason",
)
TABLE = Table(
    columns=COLUMNS,
    rows=(
        dict(zip(COLUMNS, (7, "COMPLETE", 1, 1, 2e-5, "a_b|c", 1.23456789, 0.5, 192.25, 0.1, "n1", None), strict=True)),
        dict(zip(COLUMNS, (12, "FAIL", 1, 2, 0.1, None, None, None, 3.0, 0.0, None, "no: 100% & $x$"), strict=True)),
    ),
    params=("lr", "opt"),
    objectives=("eval_loss",),
    metrics=("f1",),
)


def test_csv_and_json_have_every_column_and_every_digit() -> None:
    rows = list(csv.DictReader(io.StringIO(render(TABLE, Format.CSV))))
    assert tuple(rows[0]) == COLUMNS
    assert (rows[0]["eval_loss"], rows[0]["lr"], rows[0]["reason"], rows[1]["opt"]) == ("1.23456789", "2e-05", "", "")
    assert json.loads(render(TABLE, Format.JSON)) == list(TABLE.rows)


def test_the_terminal_table_is_aligned_and_ends_with_the_reasons() -> None:
    assert render(TABLE, Format.TABLE, width=100).splitlines() == [
        "trial  state     wave  attempts     lr  opt    eval_loss   f1  runtime  gpu_hours  node",
        "─────  ────────  ────  ────────  ─────  ─────  ─────────  ───  ───────  ─────────  ────",
        "    7  COMPLETE     1         1  2e-05  a_b|c      1.235  0.5    3m12s        0.1  n1",
        "   12  FAIL         1         2    0.1  –              –    –       3s          0  –",
        "trial 12 FAIL: no: 100% & $x$",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_a_narrow_terminal_drops_the_least_telling_columns_and_names_them(width: int) -> None:
    names, hidden = fitting(TABLE, width)
    lines = render(TABLE, Format.TABLE, width=width).splitlines()
    assert all(len(line) <= width for line in lines[:4])
    assert set(names) | set(hidden) | {"reason"} == set(COLUMNS)
    assert {"trial", "state", "eval_loss"} <= set(names)
    end = " ".join(lines[-3:])
    assert bool(hidden) == ("not shown" in end)
    assert all(name in end for name in hidden)


def test_what_goes_first_is_bookkeeping_and_what_stays_is_the_search() -> None:
    names, _ = fitting(TABLE, 60)
    assert names == ["trial", "state", "lr", "opt", "eval_loss", "runtime", "gpu_hours"]


def test_markdown_is_aligned_and_escapes_bars() -> None:
    lines = render(TABLE, Format.MARKDOWN).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].startswith("|--------:|:---------|")
    assert r"a_b\|c" in lines[2]
    assert "runtime (s)" in lines[0]


def test_latex_is_a_tabular_with_everything_escaped() -> None:
    lines = render(TABLE, Format.LATEX).splitlines()
    assert lines[0] == r"\begin{tabular}{rlrrrlrrrrll}"
    assert r"eval\_loss" in lines[2]
    assert r"$2 \times 10^{-5}$ & a\_b|c & 1.235" in lines[4]
    assert r"no: 100\% \& \$x\$" in lines[5]
    assert [line.count(" & ") for line in lines if line.endswith(r"\\")] == [11, 11, 11]


def test_latex_escapes_every_special_character() -> None:
    assert latex_escaped(r"\&%$#_{}~^") == (r"\textbackslash{}\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{}")


def test_program_output_in_a_table_is_harmless() -> None:
    row = {**TABLE.rows[0], "opt": "\x1b[2Jevil\n[bold]x[/nope]"}
    text = render(Table(COLUMNS, (row,), ("lr", "opt"), ("eval_loss",), ("f1",)), Format.TABLE, width=120)
    assert "evil [bold]x[/nope]" in text
    assert "\x1b" not in text


def test_the_names_of_columns_are_harmless_too() -> None:
    odd = "f1\n\x1b[2J"
    row = {**TABLE.rows[0], odd: 0.5, "m" * 200: 0.25}
    table = Table((*COLUMNS, odd, "m" * 200), (row,), ("lr", "opt"), ("eval_loss",), ("f1", odd, "m" * 200))
    for style in (Format.TABLE, Format.MARKDOWN, Format.LATEX):
        text = render(table, style, width=300)
        assert "\x1b" not in text
        assert len(text.splitlines()) == len(render(TABLE, style, width=300).splitlines()) - 1 - (style is Format.TABLE)
    header, _, _ = render(table, Format.TABLE, width=300).splitlines()
    assert header.endswith(f"f1  {'m' * 29}…")
    assert "not shown" in render(table, Format.TABLE, width=60)
    assert max(map(len, render(table, Format.TABLE, width=80).splitlines())) < 200


def test_one_value_that_is_no_number_makes_no_column_of_words() -> None:
    rows = tuple({**TABLE.rows[0], "f1": value} for value in (0.5, 0.25, "nan"))
    text = render(Table(COLUMNS, rows, ("lr", "opt"), ("eval_loss",), ("f1",)), Format.TABLE, width=120)
    lines = text.splitlines()
    begin = lines[1].index("─", lines[0].index("f1") - 3)
    assert [lines[i][begin : begin + 4] for i in (0, 2, 3, 4)] == ["  f1", " 0.5", "0.25", " nan"]


def test_columns_of_the_same_name_stay_apart() -> None:
    table = Table(("f1\n", "f1 "), ({"f1\n": 1.5, "f1 ": "a\\b"},))
    assert render(table, Format.MARKDOWN).splitlines()[2].split() == ["|", "1.5", "|", "a\\\\b", "|"]
    assert render(table, Format.LATEX).splitlines()[2:5:2] == [r"f1 & f1 \\", r"1.5 & a\textbackslash{}b \\"]


def test_an_empty_table_is_its_header() -> None:
    empty = Table(COLUMNS, (), ("lr", "opt"), ("eval_loss",), ("f1",))
    for style in Format:
        assert content(empty, style)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "True"),
        (12, "12"),
        (0.0, "0"),
        (1.23456, "1.235"),
        (123.456, "123.5"),
        (1234.56, "1235"),
        (123456.7, "123457"),
        (1e9, "1e+09"),
        (1.23456e-5, "1.235e-05"),
        ("adamw", "adamw"),
    ],
)
def test_numbers_have_four_digits(value: float | str | None, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (-1, "0s"), (0.4, "0s"), (59.6, "1m00s"), (723, "12m03s"), (3720, "1h02m"), (183600, "2d03h")],
)
def test_durations_are_read_at_a_glance(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_what_is_cut_says_so() -> None:
    assert (shorten("abcdef", 6), shorten("abcdef", 4)) == ("abcdef", "abc…")


def test_one_is_not_many() -> None:
    assert [counted(number, "trial") for number in (0, 1, 2)] == ["0 trials", "1 trial", "2 trials"]


def test_markdown_shows_markup_as_text() -> None:
    table = replace(TABLE, columns=("x",), rows=({"x": "<img src=x> [a](b) *b* `c` _d_ eval_loss A&B ~~e~~"},))
    cell = render(table, Format.MARKDOWN).splitlines()[2]
    assert cell.strip("| ") == r"\<img src=x\> \[a\](b) \*b\* \`c\` \_d\_ eval_loss A\&B \~\~e\~\~"
