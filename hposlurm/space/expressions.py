"""Safe expressions for conditions and constraints: `bs * 2 <= gpu_memory_gb`, `optimizer in ["sgd", "lion"]`.

A text is parsed by `ast` and checked against a short list of node types. It is never passed to `eval`. Arithmetic
accepts numbers only. The length of the text, the depth of nesting and the size of every integer are limited, so no
expression can use much memory or time.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from hposlurm.space.evaluation import (
    BINARY,
    MAX_BITS,
    ORDER,
    WORDS,
    ConstantSet,
    ExpressionError,
    UnknownName,
    bounded,
    evaluate,
    shown,
    violation,
)
from hposlurm.trial import ParamValue

__all__ = ["MAX_BITS", "MAX_DEPTH", "MAX_LENGTH", "NO_NAMES", "Expression", "ExpressionError", "UnknownName", "parse"]

MAX_LENGTH = 2000  # characters in one expression
MAX_DEPTH = 50  # levels of nesting
NO_NAMES: Mapping[str, str] = MappingProxyType({})

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
# What other languages write, and what is written here
_FOREIGN: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?<![=!<>:])=(?![=<>])"), "write == to compare"),
    (re.compile(r"==="), "write == to compare"),
    (re.compile(r"=[<>]"), "write <= or >="),
    (re.compile(r"<>"), "write != for different"),
    (re.compile(r"&&"), "write and"),
    (re.compile(r"\|\|"), "write or"),
    (re.compile(r"!(?!=)"), "write not"),
)
_STRINGS = re.compile(r"'[^']*'|\"[^\"]*\"")
_ALLOWED = "allowed: comparisons, and, or, not, + - * / // % **, in with a list, numbers, strings and names"


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
        return evaluate(self.tree, values)

    def violation(self, values: Mapping[str, ParamValue]) -> float:
        """Returns 0.0 if the expression is true, else its distance from being true: a finite number above 0.

        A false numeric comparison counts as the difference of its sides, anything else that is false as 1.0. `or` has
        the smallest distance of its parts, `and` that of its first false part. Raises the same errors as `evaluate`.
        """
        return violation(self.tree, values)

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
        raise ExpressionError(f"not an expression: {error.msg}{at}{_instead(text)}") from None
    except (ValueError, MemoryError, RecursionError):
        raise ExpressionError("not an expression: it is nested too deeply or has invalid characters") from None
    mentioned, size = _check(tree)
    real = frozenset(names.get(name, name) for name in mentioned)
    return Expression(text, real, _Prepared(names).visit(tree), size)


def _instead(text: str) -> str:
    """Returns what to write instead of an operator of another language in `text`; "" if there is none."""
    code = _STRINGS.sub("", text)
    return next((f"; {instead}" for pattern, instead in _FOREIGN if pattern.search(code)), "")


class _Prepared(ast.NodeTransformer):
    """Puts in real names, and sets for lists of constants."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Name(self._names.get(node.id, node.id), node.ctx)

    def visit_List(self, node: ast.List | ast.Tuple) -> ast.expr:
        try:
            return ConstantSet(frozenset(evaluate(element, {}) for element in node.elts))
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
        if isinstance(node, ast.Name) and node.id not in WORDS:
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
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            return [left, right]
        case ast.Compare():
            return _compare_parts(node)
    what = _REFUSED.get(type(node), "this")
    raise ExpressionError(f"{what} is not allowed: {shown(node)}; {_ALLOWED}")


def _compare_parts(node: ast.Compare) -> list[ast.expr]:
    parts = [node.left]
    for op, right in zip(node.ops, node.comparators, strict=True):
        if isinstance(op, ast.In | ast.NotIn):
            if len(node.ops) > 1:
                raise ExpressionError(f"`in` cannot be part of a chain: {shown(node)}; join the two with `and`")
            if not isinstance(right, ast.List | ast.Tuple):
                raise ExpressionError(f"`in` needs a list in square brackets, not {shown(right)}")
            parts.extend(right.elts)
        elif type(op) in ORDER:
            parts.append(right)
        else:
            raise ExpressionError(f"`is` is not allowed: {shown(node)}; write == or !=")
    return parts


def _check_constant(value: object) -> None:
    if isinstance(value, int):
        bounded(value)
    elif not isinstance(value, float | str | None):
        raise ExpressionError(f"{value!r} is neither a number nor a string")
