"""Reading and writing YAML, overlays and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hposlurm.spec.document import dump, parse_text, read
from hposlurm.spec.merge import apply_setting, merge


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("5e-6", 5e-6),
        ("2E+3", 2000.0),
        ("5.0e-6", 5e-6),
        (".5", 0.5),
        ("-1.", -1.0),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("+7", 7),
        ("1:30:00", "1:30:00"),
        ("00:30:00", "00:30:00"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        ("null", None),
        ("2026-01-02", "2026-01-02"),
        ("1_000", "1_000"),
        ("1e", "1e"),
        ("'1e-5'", "1e-5"),
        ("", None),
    ],
)
def test_single_values_are_read_by_yaml_1_2(text: str, value: object) -> None:
    read_back, problems = parse_text(f"key: {text}")
    assert (read_back, problems) == ({"key": value}, [])
    assert type(read_back["key"]) is type(value)


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a: 1\nb: [1, 2", "line 2, column 9", "lacks a comma or its ]"),
        ("a: b: c", "line 1, column 5", "must be in quotes"),
        ("a: 1\n\tb: 2", "line 2, column 1", "use spaces"),
        ("a: 1\n--- \nb: 2", "line 2, column 1", "a second document"),
        ("a: *nowhere", "line 1, column 4", "no anchor &nowhere"),
        ("a: !!python/object:os.system x", "line 1, column 4", "not allowed"),
        ("a: " + "9" * 5000, "line 1, column 4", "cannot be read as a number"),
        ("1: x", "line 1, column 1", "put it in quotes"),
        ("? [a, b]\n: x", "line 1, column 3", "put it in quotes"),
        ("a: &a [*a]", "line 1", "contains itself"),
        ("a: {<<: 5}", "line 1, column 9", "`<<` needs a mapping"),
    ],
)
def test_text_that_does_not_parse_is_located(text: str, where: str, what: str) -> None:
    _, problems = parse_text(text)
    assert len(problems) == 1
    assert where in problems[0].message
    assert what in problems[0].message


def test_a_key_given_twice_is_refused_with_both_lines() -> None:
    data, problems = parse_text("a: {x: 1}\nb:\n  c: 1\n  d: 2\n  c: 3\na: 2\n")
    assert [(p.path, p.message) for p in problems] == [
        ("b.c", "is given twice, on line 3 and on line 5; keep one of them"),
        ("a", "is given twice, on line 1 and on line 6; keep one of them"),
    ]
    assert data == {"a": {"x": 1}, "b": {"c": 1, "d": 2}}


def test_merge_keys_work_and_are_not_duplicates() -> None:
    data, problems = parse_text("base: &base {x: 1, y: 2}\nother: {<<: *base, y: 3}\nboth: {<<: [{z: 1}, *base]}")
    assert problems == []
    assert data["other"] == {"x": 1, "y": 3}
    assert data["both"] == {"z": 1, "x": 1, "y": 2}


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "\n".join(f"{n}: &{n} [{','.join(['*' + p] * 10)}]" for p, n in ["ab", "bc", "cd", "de", "ef", "fg"]),
        "[" * 5000,
        "a: " + "{b: " * 3000,
    ],
    ids=["multiplying aliases", "5,000 brackets", "3,000 mappings"],
)
def test_texts_that_blow_up_are_refused(text: str) -> None:
    data, problems = parse_text(text)
    assert data is None
    assert len(problems) == 1 and ("too large" in problems[0].message or "nested" in problems[0].message)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"- a\n- b\n", "holds a list"),
        (b"just text", "holds a str"),
        (b"a: \xff\xfe", "not UTF-8"),
        (b"a: \x00", "not YAML"),
        (b"a: [", "line 1, column 5"),
    ],
)
def test_a_file_without_a_mapping_is_a_problem(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    data, problems = read(path)
    assert data is None
    assert len(problems) == 1 and what in problems[0].message


def test_a_file_that_is_not_there_or_a_directory_is_a_problem(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "none.yaml", "No such file"),
        (tmp_path, "Is a directory"),
        (Path("a\0b"), "null"),
    ):
        data, problems = read(path)
        assert data is None
        assert reason in problems[0].message


# A study has no control characters (tests/test_spec.py), except for these two in its command
_TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], include_characters="\n\t"), max_size=20)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    _TEXT,
    st.sampled_from(["1e-5", "no", "1:30:00", "0o17", "010", "2026-01-02", "~", "", "<<", "null", "a\nb\n", " x "]),
)
_DATA = st.dictionaries(
    _TEXT,
    st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3)),
    max_size=4,
)


@given(_DATA)
def test_what_is_written_is_read_back_equal(data: dict[str, Any]) -> None:
    assert parse_text(dump(data)) == (data, [])


@given(_DATA)
def test_what_is_written_is_the_same_for_other_readers_of_yaml(data: dict[str, Any]) -> None:
    assert yaml.safe_load(dump(data)) == data


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_keep_every_digit(number: float) -> None:
    assert repr(parse_text(dump({"x": number}))[0]["x"]) == repr(number)


def test_a_small_float_is_written_so_that_yaml_1_1_reads_a_number() -> None:
    assert dump({"lr": 5e-06}) == "lr: 5.0e-06\n"


def test_commands_of_several_lines_stay_readable() -> None:
    assert dump({"command": "export A=1\ntorchrun x\n"}) == "command: |\n  export A=1\n  torchrun x\n"


def test_overlays_merge_mappings_and_replace_lists_and_values() -> None:
    base = {"a": {"x": 1, "y": {"p": 1, "q": 2}}, "list": [1, 2], "keep": 1}
    overlay = {"a": {"y": {"q": 3}, "z": 4}, "list": [9], "new": {"n": 1}}
    assert merge(base, overlay) == {
        "a": {"x": 1, "y": {"p": 1, "q": 3}, "z": 4},
        "list": [9],
        "keep": 1,
        "new": {"n": 1},
    }
    assert base == {"a": {"x": 1, "y": {"p": 1, "q": 2}}, "list": [1, 2], "keep": 1}


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        ({"type": "float", "min": 0, "max": 1}, {"max": 2}, {"type": "float", "min": 0, "max": 2}),
        ({"type": "float", "min": 0, "max": 1}, {"choices": [1, 2]}, {"choices": [1, 2]}),
        ({"type": "float", "min": 0, "max": 1}, {"type": "int", "max": 3}, {"type": "int", "max": 3}),
        ({"choices": [1, 2], "default": 2}, {"choices": [2, 3]}, {"choices": [2, 3], "default": 2}),
        ({"choices": [1, 2], "default": 2}, {"default": 1}, {"choices": [1, 2], "default": 1}),
        ({"choices": [1, 2]}, {"min": 1, "max": 2}, {"min": 1, "max": 2}),
        ({"choices": [1, 2]}, None, None),
    ],
)
def test_an_overlay_that_changes_a_parameters_kind_replaces_it(old: Any, new: Any, merged: Any) -> None:
    assert merge({"parameters": {"p": old}}, {"parameters": {"p": new}}) == {"parameters": {"p": merged}}


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("search.seed=7", ("search", "seed"), 7),
        ("search.seed = 7", ("search", "seed"), 7),
        ("parameters.lr.max=1e-3", ("parameters", "lr", "max"), 1e-3),
        ("objectives.0.name=f1", ("objectives", 0, "name"), "f1"),
        ("objectives.0={name: f1}", ("objectives", 0), {"name": "f1"}),
        ("trial.command=a --x=b=c", ("trial", "command"), "a --x=b=c"),
        ("empty.below=1", ("empty", "below"), 1),
        ("budget.n_trials=", ("budget", "n_trials"), None),
        ("new.path.below=[1, 2]", ("new", "path", "below"), [1, 2]),
    ],
)
def test_a_setting_reaches_its_place(setting: str, path: tuple[str | int, ...], value: object) -> None:
    data: dict[str, Any] = {"search": {}, "objectives": [{"name": "loss"}], "trial": {"command": "x"}, "empty": None}
    assert apply_setting(data, setting) is None
    target: Any = data
    for key in path:
        target = target[key]
    assert target == value


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ("search.seed", "form key=value"),
        ("=3", "form key=value"),
        ("a..b=3", "form key=value"),
        ("name.x=3", "has no keys"),
        ("objectives.1.name=f1", "a list of 1"),
        ("objectives.-1=f1", "not an index of it"),
        ("objectives.²=f1", "not an index of it"),
        ("objectives.99999999999999999999=f1", "not an index of it"),
        ("search.seed=[1", "not YAML"),
        ("search={a: 1, a: 2}", "given twice"),
    ],
)
def test_a_setting_without_a_place_or_value_is_a_problem(setting: str, what: str) -> None:
    data: dict[str, Any] = {"search": {}, "objectives": [{"name": "loss"}], "name": "x"}
    problem = apply_setting(data, setting)
    assert problem is not None and what in str(problem)
