"""Expressions: what is refused, that nothing else than ExpressionError comes out, and that values are Python's own."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hposlurm.space.expressions import MAX_BITS, ExpressionError, UnknownName, parse
from hposlurm.trial import ParamValue

HOSTILE = {
    "call": "f(x)",
    "import": "__import__('os').system('true')",
    "method call": "'a'.join(x)",
    "attribute": "x.real",
    "dunder": "x.__class__.__bases__",
    "subscript": "x[0]",
    "slice": "x[1:2]",
    "list comprehension": "[a for a in x]",
    "generator": "(a for a in x)",
    "dict comprehension": "{a: a for a in x}",
    "set": "{1, 2}",
    "dict": "{'a': 1}",
    "f-string": "f'{x}'",
    "lambda": "lambda: 1",
    "walrus": "(y := 1)",
    "await": "await x",
    "yield": "(yield x)",
    "star": "(*x,)",
    "if else": "1 if x else 2",
    "is": "x is None",
    "bit operation": "x << 2",
    "bit inversion": "~x",
    "matrix product": "x @ x",
    "ellipsis": "...",
    "bytes": "b'a' == x",
    "complex": "1j",
    "bare list": "[1, 2]",
    "bare tuple": "1, 2",
    "list compared": "x == [1]",
    "in a text": "x in 'abc'",
    "in a name": "x in y",
    "in within a chain": "x in [1] == True",
    "list in a list": "x in [[1]]",
    "statement": "import os",
    "assignment": "x = 1",
    "two statements": "x; y",
    "empty": "",
    "blanks": "  \n ",
    "null byte": "x\x00",
    "lone surrogate": "\ud800",
    "unfinished": "x <",
    "closing only": ")",
    "10,000 parentheses": "(" * 10_000 + "1" + ")" * 10_000,
    "900 parentheses": "(" * 900 + "1" + ")" * 900,
    "nested minus": "-" * 1900 + "1",
    "nested not": "not " * 400 + "x",
    "long sum": "+".join(["x"] * 900),
    "long number": "9" * 1900,
    "long hexadecimal number": "0x" + "f" * 1900,
    "long text": "x == '" + "a" * 2000 + "'",
}

WITHOUT_VALUE = {
    "tower of powers": "9**9**9",
    "power of a float": "10.0 ** 400",
    "power of a name": "x ** 100000",
    "root of a negative number": "(-8) ** 0.5",
    "zero to a negative power": "0 ** -1",
    "growing product": " * ".join(["9999999999"] * 40),
    "repeated text": "'a' * 1000000000",
    "formatted text": "'%1000000000d' % 1",
    "sum of texts": "'a' + 'b'",
    "negative text": "-'a'",
    "number and text": "x < 'a'",
    "nothing and number": "None < x",
    "division": "x / 0",
    "floor division": "x // 0",
    "remainder": "x % 0",
    "float division": "x / 0.0",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_parsing_refuses_what_is_not_allowed(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text)


@pytest.mark.parametrize("text", WITHOUT_VALUE.values(), ids=WITHOUT_VALUE.keys())
def test_evaluating_an_expression_without_a_value_is_an_error(text: str) -> None:
    expression = parse(text)
    with pytest.raises(ExpressionError):
        expression.evaluate({"x": 3})
    with pytest.raises(ExpressionError):
        expression.violation({"x": 3})


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("f(x) < 2", "a function call"),
        ("x.real", "an attribute"),
        ("x is None", "write == or !="),
        ("x <", "not an expr"),
    ],
)
def test_a_refusal_names_what_is_not_allowed(text: str, part: str) -> None:
    with pytest.raises(ExpressionError, match=part):
        parse(text)


def test_names_are_those_that_the_text_mentions() -> None:
    assert parse("a + b * 2 <= c and d in [e, 'f']").names == {"a", "b", "c", "d", "e"}


@pytest.mark.parametrize(("word", "value"), [("true", True), ("false", False), ("null", None)])
def test_yaml_constants_have_their_meaning_in_yaml(word: str, value: ParamValue) -> None:
    expression = parse(f"x == {word} or x in [{word}, 3]")
    assert expression.names == {"x"}
    assert expression.evaluate({"x": value}) is True
    assert expression.evaluate({"x": "true"}) is False


def test_a_name_without_a_value_is_named() -> None:
    with pytest.raises(UnknownName) as caught:
        parse("a < b").evaluate({"a": 1})
    assert caught.value.name == "b"


def test_a_stray_backslash_causes_no_warning() -> None:
    assert parse(r"x == '\d'").evaluate({"x": "\\d"}) is True


def test_lines_may_be_folded() -> None:
    assert parse("x > 1\n  and x < 3").evaluate({"x": 2}) is True


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("bs * 2 <= 8", {"bs": 4}, 0.0),
        ("bs * 2 <= 8", {"bs": 8}, 8.0),
        ("1 < x < 5", {"x": 7}, 2.0),
        ("1 < x < 5", {"x": -1}, 2.0),
        ("x == 3", {"x": 5}, 2.0),
        ("x != 3", {"x": 3}, 1.0),
        ("x <= 1 and x <= 2", {"x": 4}, 3.0),
        ("x <= 1 or x <= 2", {"x": 4}, 2.0),
        ("x <= 1 or x <= 9", {"x": 4}, 0.0),
        ("not x <= 5", {"x": 4}, 1.0),
        ("o == 'sgd'", {"o": "adamw"}, 1.0),
        ("o in ['a', 'b']", {"o": "c"}, 1.0),
        ("o not in ['a', 'b']", {"o": "c"}, 0.0),
        ("x", {"x": 0}, 1.0),
        ("x != 0 and 1 / x < 2", {"x": 0}, 1.0),
        ("x == 0 or 1 / x < 2", {"x": 0}, 0.0),
    ],
)
def test_violation_is_the_distance_to_being_true(text: str, values: dict[str, float], expected: float) -> None:
    assert parse(text).violation(values) == pytest.approx(expected)


def test_a_strict_comparison_of_equal_numbers_is_violated_a_little() -> None:
    assert 0 < parse("x < 3").violation({"x": 3}) < 1e-9


def test_violation_is_finite_even_for_infinite_numbers() -> None:
    assert math.isfinite(parse("x * 1e308 < 3").violation({"x": 1e308}))
    assert parse("x * 1e308 - x * 1e308 < 3").violation({"x": 1e308}) == 1.0


_NUMBERS = st.one_of(st.integers(-50, 50), st.floats(-50, 50).map(lambda x: round(x, 3)), st.booleans())
_VALUES = st.fixed_dictionaries({"a": _NUMBERS, "b": _NUMBERS, "s": st.sampled_from(["sgd", "adamw"])})


def _numeric(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "/", "//", "%"])
    return st.one_of(
        st.tuples(inner, operators, inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        # no towers: Python itself would compute them to the end
        st.tuples(inner, st.integers(-3, 3)).map(lambda t: f"({t[0]} ** {t[1]})"),
        inner.map(lambda t: f"(-{t})"),
    )


_TERMS = st.recursive(st.one_of(st.sampled_from(["a", "b"]), st.integers(0, 20).map(str)), _numeric, max_leaves=5)
_COMPARED = st.one_of(
    st.tuples(_TERMS, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), _TERMS).map(" ".join),
    st.lists(_TERMS, min_size=1, max_size=3).map(lambda terms: f"a in [{', '.join(terms)}]"),
    st.sampled_from(["s == 'sgd'", "s not in ('sgd', 'lion')", "s < 'b'"]),
    _TERMS,
)


def _logical(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        inner.map(lambda t: f"not ({t})"),
    )


@settings(max_examples=400)
@given(text=st.recursive(_COMPARED, _logical, max_leaves=4), values=_VALUES)
def test_a_value_is_what_python_computes(text: str, values: dict[str, float]) -> None:
    expression = parse(text)
    try:
        expected = eval(text, {"__builtins__": {}}, dict(values))  # noqa: S307  # the generated, harmless text above
    except (ArithmeticError, TypeError):
        with pytest.raises(ExpressionError):
            expression.evaluate(values)
        return
    if isinstance(expected, complex) or (isinstance(expected, int) and expected.bit_length() > MAX_BITS):
        return
    try:
        result = expression.evaluate(values)
    except ExpressionError as error:  # a part of it was complex or too long, which the whole does not show
        assert "not a real number" in str(error) or "bits" in str(error) or "too large" in str(error)
        return
    assert type(result) is type(expected)
    assert result == expected or (result != result and expected != expected)
    violation = expression.violation(values)
    assert math.isfinite(violation) and (violation <= 0) is bool(expected)


@settings(max_examples=1000)
@given(text=st.one_of(st.text(max_size=60), st.text(alphabet="ab<>=!+-*/%()[]'., 019noticrdand:\\\n", max_size=60)))
def test_random_text_raises_nothing_but_expression_errors(text: str) -> None:
    try:
        expression = parse(text)
        expression.evaluate(dict.fromkeys(expression.names, 2))
        expression.violation(dict.fromkeys(expression.names, 2))
    except ExpressionError:
        return


@given(st.integers(-(2**MAX_BITS) + 1, 2**MAX_BITS - 1))
def test_every_allowed_integer_is_a_finite_float(number: int) -> None:
    assert math.isfinite(parse(f"{number} <= x").violation({"x": 1}))


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ('optimizer = "sgd"', "write == to compare"),
        ('bs == 1 and optimizer = "a == b"', "write == to compare"),
        ("bs => 4", "write <= or >="),
        ("bs <> 4", "write != for different"),
        ("bs > 4 && lr < 1", "write and"),
        ("bs > 4 || lr < 1", "write or"),
        ("!flag", "write not"),
    ],
)
def test_an_operator_of_another_language_gets_the_one_that_is_used_here(text: str, instead: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value).endswith(f"; {instead}")


def test_what_is_in_quotes_gives_no_advice() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse('optimizer == "a=b" and')
    assert "write" not in str(caught.value)
