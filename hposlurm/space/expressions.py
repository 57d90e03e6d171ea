"""Safe expressions for conditions and constraints: `bs * 2 <= gpu_memory_gb`, `optimizer in ["sgd", "lion"]`.

A text is parsed by `ast` and checked against a short list of node types; it is never given to `eval`. Arithmetic takes
numbers only, and nothing can grow: the text, the nesting and every whole number have a limit.
"""

from __future__ import annotations

import ast
import math
import operator
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hposlurm.trial import ParamValue

MAX_LENGTH = 2000  # characters of one expression
MAX_DEPTH = 50  # levels of nesting
MAX_BITS = 1000  # of a whole number: every such number is also a finite float
# As the YAML around them, and the command line, write these; Python's own words hold as well
_WORDS: Mapping[str, ParamValue] = {"true": True, "false": False, "null": None}

_BINARY: Mapping[type[ast.operator], tuple[str, Callable[..., float | int]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", operator.pow),
}
_ORDER: Mapping[type[ast.cmpop], tuple[str, Callable[..., bool]]] = {
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}
_REFUSED: Mapping[type[ast.AST], str] = {
    ast.Call: "a function call",
    ast.Attribute: "an attribute (a dot behind a name)",
    ast.Subscript: "an index in brackets",
    ast.Lambda: "a lambda",
    ast.JoinedStr: "an f-string",
    ast.NamedExpr: "an assignment (:=)",
    ast.IfExp: "an if … else …",
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), "a comprehension"),
    ast.Dict: "a dictionary",
    ast.Set: "a set (write a list in square brackets)",
    ast.List: "a list outside of `in`",
    ast.Tuple: "a comma outside of `in`",
    ast.Starred: "a star",
}
_ALLOWED = "allowed are comparisons, and, or, not, + - * / // % **, in with a list, numbers, texts and names"


class ExpressionError(ValueError):
    """An expression is not allowed, or has no value for these parameters; the message says which part."""


class UnknownName(ExpressionError):
    """An expression mentions a name that has no value here; `name` is that name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name!r} has no value here")


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed, allowed expression: its text and the names that it mentions."""

    text: str
    names: frozenset[str]
    tree: ast.expr = field(repr=False, compare=False)

    def evaluate(self, values: Mapping[str, ParamValue]) -> ParamValue:
        """The value, as Python would compute it; raises ExpressionError (types, division by zero) or UnknownName."""
        return _evaluate(self.tree, values)

    def violation(self, values: Mapping[str, ParamValue]) -> float:
        """0.0 where the expression is true, else how far it is from it: a finite number above 0.

        A numeric comparison counts the distance by which it is missed, anything else 1.0; `or` takes its nearest part,
        `and` its first part that is false. Raises as `evaluate` does.
        """
        return _violation(self.tree, values)

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> Expression:
    """The expression in `text`; raises ExpressionError with what is not allowed in it."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression has at most {MAX_LENGTH} characters, this one has {len(text)}")
    if not text.strip():
        raise ExpressionError("the expression is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a stray backslash is the text's business, not a warning on the terminal
            tree = ast.parse(text.replace("\n", " ").strip(), mode="eval").body
    except SyntaxError as error:
        at = f" at character {error.offset}" if error.offset else ""
        raise ExpressionError(f"not an expression: {error.msg}{at}") from None
    except (ValueError, MemoryError, RecursionError):
        raise ExpressionError(
            "not an expression: it is nested too deeply or has characters that mean nothing"
        ) from None
    return Expression(text, _check(tree), tree)


def _check(tree: ast.expr) -> frozenset[str]:
    """The names in `tree`; raises ExpressionError for a part that is not on the list. Not recursive on purpose."""
    names: set[str] = set()
    pending: list[tuple[ast.expr, int]] = [(tree, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise ExpressionError(f"nested too deeply: at most {MAX_DEPTH} levels")
        if isinstance(node, ast.Name) and node.id not in _WORDS:
            names.add(node.id)
        pending.extend((child, depth + 1) for child in _parts(node))
    return frozenset(names)


def _parts(node: ast.expr) -> list[ast.expr]:
    """The sub-expressions of an allowed node; raises ExpressionError for any other."""
    match node:
        case ast.Name():
            return []
        case ast.Constant(value=value):
            _check_constant(value)
            return []
        case ast.BoolOp(values=values):
            return list(values)
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=operand):
            return [operand]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return [left, right]
        case ast.Compare():
            return _compare_parts(node)
    what = _REFUSED.get(type(node), "this")
    raise ExpressionError(f"{what} is not allowed: {_shown(node)}; {_ALLOWED}")


def _compare_parts(node: ast.Compare) -> list[ast.expr]:
    parts = [node.left]
    for op, right in zip(node.ops, node.comparators, strict=True):
        if isinstance(op, ast.In | ast.NotIn):
            if len(node.ops) > 1:
                raise ExpressionError(f"`in` cannot be part of a chain: {_shown(node)}; join the two with `and`")
            if not isinstance(right, ast.List | ast.Tuple):
                raise ExpressionError(f"`in` needs a list in square brackets, not {_shown(right)}")
            parts.extend(right.elts)
        elif type(op) in _ORDER:
            parts.append(right)
        else:
            raise ExpressionError(f"`is` is not allowed: {_shown(node)}; write == or !=")
    return parts


def _check_constant(value: object) -> None:
    if isinstance(value, int):
        _bounded(value)
    elif not isinstance(value, float | str | None):
        raise ExpressionError(f"{value!r} is neither a number nor a text")


def _shown(node: ast.expr) -> str:
    try:
        text = ast.unparse(node)
    except (ValueError, RecursionError):
        return "…"
    return text if len(text) <= 60 else text[:57] + "…"


def _evaluate(node: ast.expr, values: Mapping[str, ParamValue]) -> ParamValue:
    match node:
        case ast.Constant(value=value):
            return value  # type: ignore[return-value]  # _check_constant let only these types in
        case ast.Name(id=name):
            if name in _WORDS:
                return _WORDS[name]
            if name not in values:
                raise UnknownName(name)
            return values[name]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluate(operand, values)
        case ast.UnaryOp(op=op, operand=operand):
            number = _number(_evaluate(operand, values), "-" if isinstance(op, ast.USub) else "+")
            return -number if isinstance(op, ast.USub) else +number
        case ast.BoolOp(op=op, values=operands):
            return _bool_op(isinstance(op, ast.And), operands, values)
        case ast.BinOp(left=left, op=op, right=right):
            symbol, function = _BINARY[type(op)]
            return _arithmetic(symbol, function, _evaluate(left, values), _evaluate(right, values))
        case ast.Compare(ops=ops, comparators=comparators):
            left_value = _evaluate(node.left, values)
            for link, right in zip(ops, comparators, strict=True):
                holds, left_value = _compare(link, left_value, right, values)
                if not holds:
                    return False
            return True
    raise ExpressionError(f"{_shown(node)} is not allowed")


def _bool_op(is_and: bool, operands: list[ast.expr], values: Mapping[str, ParamValue]) -> ParamValue:
    value: ParamValue = is_and
    for operand in operands:
        value = _evaluate(operand, values)
        if bool(value) is not is_and:
            break
    return value


def _compare(
    op: ast.cmpop, left: ParamValue, right: ast.expr, values: Mapping[str, ParamValue]
) -> tuple[bool, ParamValue]:
    """Whether one link of a comparison chain holds, and the value that the next link starts from."""
    if isinstance(op, ast.In | ast.NotIn):
        elements = right.elts if isinstance(right, ast.List | ast.Tuple) else [right]
        found = left in [_evaluate(element, values) for element in elements]
        return found is isinstance(op, ast.In), None
    right_value = _evaluate(right, values)
    symbol, function = _ORDER[type(op)]
    try:
        return function(left, right_value), right_value
    except TypeError:
        raise ExpressionError(f"{left!r} {symbol} {right_value!r} cannot be compared") from None


def _number(value: ParamValue, symbol: str) -> float | int:
    if isinstance(value, int | float):
        return value
    raise ExpressionError(f"{symbol} needs numbers, not {value!r}")


def _bounded(value: int) -> int:
    if value.bit_length() > MAX_BITS:
        raise ExpressionError(f"a whole number has more than {MAX_BITS} bits")
    return value


def _arithmetic(symbol: str, function: Callable[..., float | int], left: ParamValue, right: ParamValue) -> float | int:
    a, b = _number(left, symbol), _number(right, symbol)
    if symbol == "**" and isinstance(a, int) and isinstance(b, int) and b > 0 and a.bit_length() * b > 2 * MAX_BITS:
        raise ExpressionError(f"{_number_text(a)} ** {_number_text(b)} is too large")
    try:
        result = function(a, b)
    except ZeroDivisionError:
        raise ExpressionError(f"{_number_text(a)} {symbol} {_number_text(b)} divides by zero") from None
    except OverflowError:
        raise ExpressionError(f"{_number_text(a)} {symbol} {_number_text(b)} is too large") from None
    if isinstance(result, complex):
        raise ExpressionError(f"{_number_text(a)} ** {_number_text(b)} is not a real number")
    return _bounded(result) if isinstance(result, int) else result


def _number_text(value: float | int) -> str:
    text = repr(value)
    return text if len(text) <= 30 else text[:27] + "…"


def _violation(node: ast.expr, values: Mapping[str, ParamValue]) -> float:
    match node:
        case ast.BoolOp(op=ast.And(), values=operands):
            return next((v for operand in operands if (v := _violation(operand, values)) > 0), 0.0)
        case ast.BoolOp(op=ast.Or(), values=operands):
            nearest = math.inf
            for operand in operands:
                nearest = min(nearest, _violation(operand, values))
                if nearest <= 0:
                    break
            return nearest
        case ast.Compare(ops=ops, comparators=comparators):
            left = _evaluate(node.left, values)
            for op, right in zip(ops, comparators, strict=True):
                holds, right_value = _compare(op, left, right, values)
                if not holds:
                    return _distance(op, left, right_value)
                left = right_value
            return 0.0
    return 0.0 if _evaluate(node, values) else 1.0


def _distance(op: ast.cmpop, left: ParamValue, right: ParamValue) -> float:
    """By how much a false comparison is missed: above 0 and finite, 1.0 where that means nothing."""
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        return 1.0
    if isinstance(op, ast.NotEq | ast.In | ast.NotIn):
        return 1.0
    a, b = float(left), float(right)
    distance = abs(a - b)
    if math.isnan(distance):
        return 1.0
    # `<` is false for two equal numbers, which lie 0 apart; "missed" must still be more than 0
    smallest = sys.float_info.epsilon * max(1.0, abs(a) if math.isfinite(a) else 1.0)
    return min(max(distance, smallest), sys.float_info.max)
