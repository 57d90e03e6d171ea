"""A file that is not YAML is answered with what to change in it."""

from __future__ import annotations

import pytest

from hposlurm.spec.document import parse_text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: x: y\n", "line 1, column 8: not YAML: a value with ': ' in it must be in quotes, and keys side by"),
        ("name: x\n\ttrial: 3\n", "line 2, column 1: not YAML: a tab cannot indent a line; use spaces"),
        ("name: @x\n", "line 1, column 7: not YAML: a text that begins with @ must be in quotes"),
        ("name: %x\n", "a text that begins with % must be in quotes"),
        ('a: 1\nb: "open\nc: 1\n', "the quote that is opened in line 2 is never closed"),
        ("trial: {command: python a.py --lr {{ lr }}}\n", "{{ … }} inside a mapping in braces must be in quotes"),
        ("a: 1\nlr: {min: 1\nb: 2\n", "the mapping that begins with { in line 2 lacks a comma or its }"),
        ("objectives: [{name: a}\nparameters: 1\n", "the list that begins with [ in line 1 lacks a comma or its ]"),
        ("tags: *foo\n", "a text that begins with * must be in quotes (there is no anchor &foo)"),
        ("tags: * foo\n", "a text that begins with * or & must be in quotes"),
        ("- a\nb: 1\n", "the indent fits no line above, or an entry with - stands among keys"),
        ("a: 1\nb\nc: 2\n", "a key needs a colon, and a text of several lines quotes or |"),
        ('a: "\\d"\n', "\\d is not known in double quotes; use single quotes"),
        ("a: 1\n---\nb: 2\n", "--- begins a second document; a study file is one"),
    ],
)
def test_an_error_of_yaml_says_what_to_change(text: str, told: str) -> None:
    value, (problem,) = parse_text(text)
    assert value is None
    assert told in problem.message
    assert "<" not in problem.message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: x\nsearch {algorithm: tpe, seed: 1}\n", "a colon is missing after search in line 2"),
        ("name: x\nparameters [a, b]\nsearch: {a: 1}\n", "a colon is missing after parameters in line 2"),
        ("name:x\nsearch: {a: 1}\n", "a space is missing after name: in line 1"),
    ],
)
def test_a_colon_or_space_that_is_missing_is_named(text: str, told: str) -> None:
    _, (problem,) = parse_text(text)
    assert problem.message.endswith(f"not YAML: {told}")
