"""The filters kv and hydra: words `name=value`."""

from __future__ import annotations

import shlex

import pytest

from hposlurm.render.command import command_line


def words(template: str, params: dict[str, object]) -> list[str]:
    return shlex.split(command_line(template, params, {}))


def test_kv_makes_one_word_of_each_parameter() -> None:
    params = {"optimizer.lr": 1e-05, "name": "a b", "on": True, "none": None}
    found = words("train c.yaml {{ params | kv }} end", params)
    assert found == ["train", "c.yaml", "optimizer.lr=1.0e-05", "name=a b", "on=true", "none=null", "end"]


# Each text and what Hydra 1.3.2 needs to read it as exactly that; see its OverridesParser
HYDRA = {
    "adamw": "x=adamw",
    "/data/set-1.0_a@b": "x=/data/set-1.0_a@b",
    "": "x=''",
    "a b": "x='a b'",
    "a,b": "x='a,b'",
    "[1]": "x='[1]'",
    "a: b=c": "x='a: b=c'",
    "it's": r"x='it\'s'",
    "back\\slash\\": "x='back\\slash\\\\'",
    "\\'": r"x='\\\''",
    "1e5": "x='1e5'",
    "007": "x='007'",
    "True": "x='True'",
    "null": "x='null'",
    "größe": "x='größe'",
    "$(pwd)": "x='$(pwd)'",
}


@pytest.mark.parametrize(("value", "word"), HYDRA.items())
def test_a_text_stays_a_text_in_hydra_s_grammar(value: str, word: str) -> None:
    assert words("{{ params | hydra }}", {"x": value}) == [word]


def test_other_values_keep_their_types_in_hydra_s_grammar() -> None:
    params = {"a.lr": 1e-05, "n": 3, "on": False, "none": None}
    assert words("{{ params | hydra }}", params) == ["a.lr=1.0e-05", "n=3", "on=false", "none=null"]
