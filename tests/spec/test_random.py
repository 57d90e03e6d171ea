"""Random studies: a valid one is dumped and read back equal, a malformed one raises nothing but SpecError."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hposlurm.errors import SpecError
from hposlurm.spec import StudySpec, dump, load, parse
from hposlurm.spec.definitions import DEFINITIONS
from hposlurm.spec.problems import _SECTIONS
from tests.conftest import examples
from tests.spec.data import OTHERS, changed, data, problems_of

_NAMES = st.from_regex(r"[a-z]{1,6}_p", fullmatch=True)
_LINE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=12).filter(str.strip)
_FINITE = st.floats(-1e12, 1e12)


@st.composite
def _range_definitions(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        low, high = sorted(draw(st.tuples(st.integers(1, 10**9), st.integers(1, 10**9))))
        definition: dict[str, Any] = {"type": "int", "min": low, "max": high, "log": draw(st.booleans())}
        return definition | ({"default": draw(st.integers(low, high))} if draw(st.booleans()) else {})
    low_value, high_value = sorted(draw(st.tuples(_FINITE, _FINITE)))
    definition = {"type": "float", "min": low_value, "max": high_value}
    return definition | ({"default": draw(st.floats(low_value, high_value))} if draw(st.booleans()) else {})


@st.composite
def _choice_definitions(draw: st.DrawFn) -> dict[str, Any]:
    values = st.one_of(st.none(), st.integers(), _FINITE, _LINE)
    choices = draw(st.lists(values, min_size=1, max_size=4, unique=True))
    definition: dict[str, Any] = {"choices": choices}
    if draw(st.booleans()):
        definition["default"] = draw(st.sampled_from(choices))
    return definition | ({"type": "categorical"} if draw(st.booleans()) else {})


@st.composite
def _studies(draw: st.DrawFn) -> dict[str, Any]:
    definitions = st.one_of(_range_definitions(), _choice_definitions())
    names = draw(st.lists(_NAMES, min_size=1, max_size=5, unique=True))
    parameters = {name: draw(definitions) for name in names[:3]}
    study: dict[str, Any] = {
        "name": draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)),
        "objectives": [{"name": "loss", "direction": draw(st.sampled_from(["minimize", "maximize"]))}],
        "parameters": parameters,
        "budget": {"n_trials": draw(st.integers(1, 10**6))},
        "search": {"algorithm": draw(st.sampled_from(["random", "tpe"])), "seed": draw(st.integers(0, 2**32 - 1))},
        "trial": {"command": draw(_LINE.map(lambda text: "run " + text.replace("{", "").replace("#", ""))) + "\n"},
        "tags": draw(st.dictionaries(_LINE, _LINE, max_size=2)),
        "slurm": {"setup": draw(st.lists(_LINE, max_size=2)), "extra": {"reservation": draw(_LINE)}},
        "resources": {"mem_gb": draw(st.floats(0.001, 1e6)), "time": draw(st.integers(1, 10_000))},
    }
    if len(names) > 3:
        condition = f"{names[0]} != 3"
        study["conditionals"] = [{"if": condition, "then": {name: draw(definitions) for name in names[3:]}}]
    if draw(st.booleans()):
        study["trial"]["timeout"] = draw(st.floats(0.001, 1e6))
    return study


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow])
@given(_studies())
def test_a_dumped_study_is_read_back_equal(study: dict[str, Any]) -> None:
    spec = parse(study, "study.yaml")
    text = dump(spec)
    again = parse(data(text), "study.yaml")
    assert again == spec
    assert again.space == spec.space
    assert dump(again) == text


_JUNK = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(
            [
                "{{ lr }}",
                "{% if %}",
                "bs > 1",
                "f(x)",
                "grid",
                "float",
                "1:30",
                "9**9**9",
                "(?P<x>.)",
                "lr.x",
                "asha",
                "pbt",
                "nsga3",
                "overlap",
                "refill",
                "chain",
                "weighted",
                "eval_loss > 1",
            ]
        ),
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.one_of(
                st.text(max_size=4), st.sampled_from(["type", "min", "max", "choices", "default", "if", "then", "name"])
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


def _places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a study at which something else could stand."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, inner in below for place in _places(inner, (*path, key))]


_VALID = data()
_STUDIES = [_VALID, *map(data, OTHERS)]


def test_the_studies_that_are_spoilt_are_valid_and_have_every_key() -> None:
    known = [*_SECTIONS.values(), *DEFINITIONS.values()]
    keys = {field.alias or name for section in known for name, field in section.model_fields.items()}
    assert keys <= {key for study in _STUDIES for place in _places(study) for key in place}, (
        "put it into tests/spec/data"
    )
    for study in _STUDIES:
        spec = parse(study, "study.yaml")
        assert parse(data(dump(spec)), "study.yaml") == spec


@st.composite
def _spoilt(draw: st.DrawFn) -> tuple[dict[str, Any], list[tuple[tuple[str | int, ...], Any]]]:
    """A study, and up to four of its places with what comes to stand there."""
    study = draw(st.sampled_from(_STUDIES))
    return study, draw(st.lists(st.tuples(st.sampled_from(_places(study)), _JUNK), min_size=1, max_size=4))


@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.too_slow])
@given(_spoilt())
def test_a_malformed_study_raises_nothing_but_spec_errors(
    spoilt: tuple[dict[str, Any], list[tuple[tuple[str | int, ...], Any]]],
) -> None:
    study = copy.deepcopy(spoilt[0])
    for path, junk in spoilt[1]:
        target: Any = study
        for key in path[:-1]:
            target = target[key] if _has(target, key) else {}
        if isinstance(target, dict) or _has(target, path[-1]):
            target[path[-1]] = junk
    try:
        assert isinstance(parse(study, "study.yaml"), StudySpec)
    except SpecError as error:
        assert error.problems
        assert all(problem.message for problem in error.problems)


def _has(target: Any, key: str | int) -> bool:
    if isinstance(target, list):
        return isinstance(key, int) and key < len(target)
    return isinstance(target, dict) and key in target


@settings(max_examples=300)
@given(
    st.one_of(
        st.text(max_size=80), st.text(alphabet="ab:- []{}&*!|>'\"%@\n#,?~1.e", max_size=80), st.binary(max_size=60)
    )
)
def test_a_file_of_random_text_raises_nothing_but_spec_errors(tmp_path_factory: Any, content: str | bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    with pytest.raises(SpecError):
        load(path)


@pytest.mark.parametrize("junk", [{1: 2}, {None: 3}, {("a",): 1}, {True: {"x": 1}}])
def test_keys_that_are_no_text_are_unknown_keys(junk: dict[Any, Any]) -> None:
    for study in (_VALID | junk, changed(search=junk), changed(parameters=junk), changed(slurm__extra=junk)):
        assert problems_of(study)
