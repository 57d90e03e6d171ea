"""One line of text that a terminal shows as it is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hposlurm.report.printable import cleaned, json_safe, no_formula, printable, without_controls


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("a\tb\n c ", "a b c"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        (" 10%|#|\r 20%|##|\r 30%|###|", "30%|###|"),
        ("done\r", "done"),
        ("bell\x07 null\x00", "bell null"),
        ("é 中", "é 中"),
    ],
)
def test_text_from_a_program_cannot_move_the_cursor(text: str, line: str) -> None:
    assert printable(text) == line


CONTROLS = ["\x1b", "\x9b", "\x07", "\r", "\x08", "\x7f", "\u202e", "\u2066", "\x00", "\u2028", "\x85"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\n\tb  c\n", "a\n\tb  c\n"),
        ("\x1b[1;31mred\x1b[0m\n", "red\n"),
        ("10%\r20%\r\n", "10%\n20%\n"),
        ("user\u202egnp.exe", "usergnp.exe"),
        ("\x9b31mred\x85", "31mred"),
        ("é 中 \xa0 👩\u200d🔬", "é 中 \xa0 👩\u200d🔬"),
    ],
)
def test_lines_of_a_text_stay_and_its_controls_go(text: str, lines: str) -> None:
    assert without_controls(text) == lines


@given(
    st.lists(st.one_of(st.sampled_from([*CONTROLS, "\x1b[31m", "\x1b]0;title\x07", "\n"]), st.text(max_size=4))),
    st.data(),
)
def test_a_text_in_pieces_is_cleaned_as_a_whole(parts: list[str], data: st.DataObject) -> None:
    content = "".join(parts).encode("utf-8", "replace")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=4)))
    pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    found = b"".join(cleaned(pieces))
    assert not any(control in found.decode() for control in CONTROLS)
    assert found.decode() == without_controls(content.decode())


def test_bytes_that_are_not_utf_8_pass_but_for_controls_of_8_bit_terminals() -> None:
    assert b"".join(cleaned([b"\xff\xfe caf\xc3", b"\xa9 \x9b31m\n"])) == b"\xff\xfe caf\xc3\xa9 31m\n"


@given(st.text())
def test_json_for_a_screen_has_the_same_value(text: str) -> None:
    shown = json_safe(json.dumps({text: [text]}, ensure_ascii=False, indent=2))
    assert json.loads(shown) == {text: [text]}
    assert not any(control in shown for control in CONTROLS)


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", " =1", "\t=1", "--", "+", "-"])
def test_what_a_spreadsheet_would_compute_is_text(text: str) -> None:
    assert no_formula(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1", "+1.5e3", "-inf", "1", "a=b", "", "e-mail@x", "'=1"])
def test_numbers_and_other_texts_stay(text: str) -> None:
    assert no_formula(text) == text
