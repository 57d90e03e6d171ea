"""One line of text that a terminal shows as it is."""

from __future__ import annotations

import pytest

from hposlurm.report.printable import printable


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
