"""Safe expressions for conditions and constraints: `bs * 2 <= gpu_memory_gb`, `optimizer in ["sgd", "lion"]`.

A text is parsed by `ast` and checked against a short list of node types. It is never passed to `eval`. Arithmetic
accepts numbers only. The length of the text, the depth of nesting and the size of every integer are limited, so no
expression can use much memory or time.
"""

from __future__ import annotations

import ast
import math
import operator
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from hposlurm.trial import ParamValue

MAX_LENGTH = 2000  # characters in one expression
MAX_DEPTH = 50  # levels of nesting
MAX_BITS = 1000  # in an integer; each such integer is also a finite float
# YAML's spelling, which the study file and the command line use; Python's own keywords work too
_WORDS: Mapping[str, ParamValue] = {"true": True, "false": False, "null": None}

NO_NAMES: Mapping[str, str] = MappingProxyType({})

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
    ast.Attribute: "an attribute (a dot after a name)",
    ast.Subscript: "an index in brackets",
    ast.Lambda: "a lambda",
    ast.JoinedStr: "an f-string",
    ast.NamedExpr: "an assignment (:=)",
    ast.IfExp: "an if … else …",
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), "a comprehension"),
    ast.Dict: "a dictionary",
    ast.Set: "a set (write a list in square brackets)",
    ast.List: "a list outside `in`",
    ast.Tuple: "a comma outside `in`",
    ast.Starred: "a star",
}
_ALLOWED = "allowed: comparisons, and, or, not, + - * / // % **, in with a list, numbers, strings and names"


class ExpressionError(ValueError):
    """An expression is not allowed, or has no value for these parameters. The message names the part."""


class UnknownName(ExpressionError):
    """An expression mentions `name`, which has no value here."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name!r} has no value here")


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression that passed the check: its text and the names that it mentions."""

    text: str
    names: frozenset[str]
    tree: ast.expr = field(repr=False, compare=False)
    #: How many names, constants and operators it has: the time of an evaluation grows with it.
    size: int = field(default=1, repr=False, compare=False)

    def evaluate(self, values: Mapping[str, ParamValue]) -> ParamValue:
        """Returns the value that Python would compute.

        Raises ExpressionError for wrong types or a division by zero, and UnknownName.
        """
        return _evaluate(self.tree, values)

    def violation(self, values: Mapping[str, ParamValue]) -> float:
        """Returns 0.0 if the expression is true, else its distance from being true: a finite number above 0.

        A false numeric comparison counts as the difference of its sides, anything else that is false as 1.0. `or` has
        the smallest distance of its parts, `and` that of its first false part. Raises the same errors as `evaluate`.
        """
        return _violation(self.tree, values)

    def __str__(self) -> str:
        return self.text


def parse(text: str, names: Mapping[str, str] = NO_NAMES) -> Expression:
    """Returns the expression in `text`. Raises ExpressionError, naming the part that is not allowed.

    `names` has the real name of what cannot be written as it is: optimizer__lr stands for optimizer.lr.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression has at most {MAX_LENGTH} characters, this one has {len(text)}")
    if not text.strip():
        raise ExpressionError("the expression is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no SyntaxWarning on the terminal for a stray backslash
            tree = ast.parse(text.replace("\n", " ").strip(), mode="eval").body
    except SyntaxError as error:
        at = f" at character {error.offset}" if error.offset else ""
        raise ExpressionError(f"not an expression: {error.msg}{at}") from None
    except (ValueError, MemoryError, RecursionError):
        raise ExpressionError("not an expression: it is nested too deeply or has invalid characters") from None
    mentioned, size = _check(tree)
    real = frozenset(names.get(name, name) for name in mentioned)
    return Expression(text, real, _Prepared(names).visit(tree), size)


class _Set(ast.expr):
    """A list of constants after `in`, looked up in one step instead of one by one."""

    def __init__(self, values: frozenset[ParamValue]) -> None:
        super().__init__()
        self.values = values


class _Prepared(ast.NodeTransformer):
    """Puts in real names, and sets for lists of constants."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Name(self._names.get(node.id, node.id), node.ctx)

    def visit_List(self, node: ast.List | ast.Tuple) -> ast.expr:
        try:
            return _Set(frozenset(_evaluate(element, {}) for element in node.elts))
        except ExpressionError:  # an element has a name in it, or no value
            return self.generic_visit(node)  # type: ignore[return-value]

    visit_Tuple = visit_List  # the name is that of the node


def _check(tree: ast.expr) -> tuple[frozenset[str], int]:
    """Returns the names in `tree`, and how many parts it has. Raises ExpressionError for a part that is not allowed.

    Uses a stack instead of recursion, so that deep nesting cannot exhaust Python's own stack.
    """
    names: set[str] = set()
    size = 0
    pending: list[tuple[ast.expr, int]] = [(tree, 1)]
    while pending:
        node, depth = pending.pop()
        size += 1
        if depth > MAX_DEPTH:
            raise ExpressionError(f"nested too deeply: at most {MAX_DEPTH} levels")
        if isinstance(node, ast.Name) and node.id not in _WORDS:
            names.add(node.id)
        pending.extend((child, depth + 1) for child in _parts(node))
    return frozenset(names), size


def _parts(node: ast.expr) -> list[ast.expr]:
    """Returns the sub-expressions of an allowed node. Raises ExpressionError for any other node."""
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
        raise ExpressionError(f"{value!r} is neither a number nor a string")


def _shown(node: ast.expr) -> str:
    try:
        text = ast.unparse(node)
    except (ValueError, RecursionError):
        return "…"
    return text if len(text) <= 60 else text[:57] + "…"


def _evaluate(node: ast.expr, values: Mapping[str, ParamValue]) -> ParamValue:
    match node:
        case ast.Constant(value=value):
            return value  # type: ignore[return-value]  # _check_constant accepts only these types
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
    """Returns whether one link of a comparison chain holds, and the left side of the next link."""
    if isinstance(op, ast.In | ast.NotIn):
        if isinstance(right, _Set):
            found = left in right.values
        else:
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
