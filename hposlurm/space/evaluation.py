"""Computes the value of a parsed expression, and how far it is from being true.

Only nodes that `expressions.parse` has let through have a value. The bounds on numbers hold here too: a power of two
bounded integers need not be bounded.
"""

from __future__ import annotations

import ast
import math
import operator
import sys
from collections.abc import Callable, Mapping

from hposlurm.trial import ParamValue

MAX_BITS = 1000  # in an integer; each such integer is also a finite float
# YAML's spelling, which the study file and the command line use; Python's own keywords work too
WORDS: Mapping[str, ParamValue] = {"true": True, "false": False, "null": None}

BINARY: Mapping[type[ast.operator], tuple[str, Callable[..., float | int]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", operator.pow),
}
ORDER: Mapping[type[ast.cmpop], tuple[str, Callable[..., bool]]] = {
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}


class ExpressionError(ValueError):
    """An expression is not allowed, or has no value for these parameters. The message names the part."""


class UnknownName(ExpressionError):
    """An expression mentions `name`, which has no value here."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name!r} has no value here")


class ConstantSet(ast.expr):
    """A list of constants after `in`, looked up in one step instead of one by one."""

    def __init__(self, values: frozenset[ParamValue]) -> None:
        super().__init__()
        self.values = values


def evaluate(node: ast.expr, values: Mapping[str, ParamValue]) -> ParamValue:
    """Returns the value of `node`. Raises ExpressionError, and UnknownName for a name without a value."""
    match node:
        case ast.Constant(value=value):
            return value  # type: ignore[return-value]  # _check_constant accepts only these types
        case ast.Name(id=name):
            if name in WORDS:
                return WORDS[name]
            if name not in values:
                raise UnknownName(name)
            return values[name]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not evaluate(operand, values)
        case ast.UnaryOp(op=op, operand=operand):
            number = _number(evaluate(operand, values), "-" if isinstance(op, ast.USub) else "+")
            return -number if isinstance(op, ast.USub) else +number
        case ast.BoolOp(op=op, values=operands):
            return _bool_op(isinstance(op, ast.And), operands, values)
        case ast.BinOp(left=left, op=op, right=right):
            symbol, function = BINARY[type(op)]
            return _arithmetic(symbol, function, evaluate(left, values), evaluate(right, values))
        case ast.Compare(ops=ops, comparators=comparators):
            left_value = evaluate(node.left, values)
            for link, right in zip(ops, comparators, strict=True):
                holds, left_value = _compare(link, left_value, right, values)
                if not holds:
                    return False
            return True
    raise ExpressionError(f"{shown(node)} is not allowed")


def _bool_op(is_and: bool, operands: list[ast.expr], values: Mapping[str, ParamValue]) -> ParamValue:
    value: ParamValue = is_and
    for operand in operands:
        value = evaluate(operand, values)
        if bool(value) is not is_and:
            break
    return value


def _compare(
    op: ast.cmpop, left: ParamValue, right: ast.expr, values: Mapping[str, ParamValue]
) -> tuple[bool, ParamValue]:
    """Returns whether one link of a comparison chain holds, and the left side of the next link."""
    if isinstance(op, ast.In | ast.NotIn):
        if isinstance(right, ConstantSet):
            found = left in right.values
        else:
            elements = right.elts if isinstance(right, ast.List | ast.Tuple) else [right]
            found = left in [evaluate(element, values) for element in elements]
        return found is isinstance(op, ast.In), None
    right_value = evaluate(right, values)
    symbol, function = ORDER[type(op)]
    try:
        return function(left, right_value), right_value
    except TypeError:
        raise ExpressionError(f"{left!r} {symbol} {right_value!r} cannot be compared") from None


def _number(value: ParamValue, symbol: str) -> float | int:
    if isinstance(value, int | float):
        return value
    raise ExpressionError(f"{symbol} needs numbers, not {value!r}")


def bounded(value: int) -> int:
    """Returns `value`; raises ExpressionError if it has too many bits."""
    if value.bit_length() > MAX_BITS:
        raise ExpressionError(f"an integer has more than {MAX_BITS} bits")
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
    return bounded(result) if isinstance(result, int) else result


def _number_text(value: float | int) -> str:
    text = repr(value)
    return text if len(text) <= 30 else text[:27] + "…"


def violation(node: ast.expr, values: Mapping[str, ParamValue]) -> float:
    """Returns how far `node` is from being true, as `Expression.violation` says."""
    match node:
        case ast.BoolOp(op=ast.And(), values=operands):
            return next((v for operand in operands if (v := violation(operand, values)) > 0), 0.0)
        case ast.BoolOp(op=ast.Or(), values=operands):
            nearest = math.inf
            for operand in operands:
                nearest = min(nearest, violation(operand, values))
                if nearest <= 0:
                    break
            return nearest
        case ast.Compare(ops=ops, comparators=comparators):
            left = evaluate(node.left, values)
            for op, right in zip(ops, comparators, strict=True):
                holds, right_value = _compare(op, left, right, values)
                if not holds:
                    return _distance(op, left, right_value)
                left = right_value
            return 0.0
    return 0.0 if evaluate(node, values) else 1.0


def _distance(op: ast.cmpop, left: ParamValue, right: ParamValue) -> float:
    """Returns how far a false comparison is from true: above 0 and finite; 1.0 if there is no such distance."""
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        return 1.0
    if isinstance(op, ast.NotEq | ast.In | ast.NotIn):
        return 1.0
    a, b = float(left), float(right)
    distance = abs(a - b)
    if math.isnan(distance):
        return 1.0
    # `<` is false for two equal numbers, whose distance is 0; the result must still be above 0
    smallest = sys.float_info.epsilon * max(1.0, abs(a) if math.isfinite(a) else 1.0)
    return min(max(distance, smallest), sys.float_info.max)


def shown(node: ast.expr) -> str:
    """Returns the text of a part for a message, cut to a readable length."""
    try:
        text = ast.unparse(node)
    except (ValueError, RecursionError):
        return "…"
    return text if len(text) <= 60 else text[:57] + "…"
