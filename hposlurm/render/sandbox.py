"""A Jinja2 environment for texts of unknown origin: immutable, sandboxed, and bounded in time and memory.

The sandbox of Jinja2 keeps a template away from Python's own objects, but lets it run for ever and use all memory: by
nested loops, by `"x" * 10**9`, by a value that doubles. Here one rendering has a number of steps. A turn of a loop, a
call, a filter, an operator and 16 characters of text that they read or write are one step each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from types import MappingProxyType
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

#: Characters of a template, and of what is made of it: Linux limits one argument, such as a command, to 128 KiB.
MOST_CHARACTERS = 100_000
_CHARACTERS = 16  # in one step
_WIDEST = 1000  # field of a format such as %9d
# What they return may be as long as the product of two arguments
_AMPLIFIERS = frozenset(
    {"batch", "center", "expandtabs", "indent", "join", "ljust", "replace", "rjust", "slice", "sum", "to_bytes"}
    | {"tojson", "translate", "urlize", "wordwrap", "xmlattr", "zfill"}
)
_FORMATS = ("format", "format_map")
_NO_FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType({})
_LOOP, _TEXT = "_charged_loop", "_charged"  # no template can name a filter of its own with these: they are added here


class TooMuchError(jinja2.exceptions.SecurityError):
    """A template takes more steps than a rendering has."""


class _Budget:
    def __init__(self, steps: int) -> None:
        self.steps = self.left = steps

    def charge(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise TooMuchError(
                f"it takes more than {self.steps} steps; a turn of a loop, a call, or {_CHARACTERS} characters of text "
                "are one each"
            )


_BUDGET: ContextVar[_Budget | None] = ContextVar("budget", default=None)


class BoundedSandbox(ImmutableSandboxedEnvironment):
    """Renders templates with at most `steps` steps each.

    `finalize` is applied to the value of every placeholder; `filters` are added to those of Jinja2.
    """

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(
        self,
        steps: int,
        finalize: Callable[[Any], Any] | None = None,
        filters: Mapping[str, Callable[..., Any]] = _NO_FILTERS,
        **options: Any,
    ) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined, finalize=lambda value: _finalized(value, finalize), **options
        )
        self.steps = steps
        self.template_class = _BoundedTemplate
        del self.globals["lipsum"]  # random text in a command is a mistake, and may be of any length
        given: Mapping[str, Any] = {**self.filters, **filters}
        self.filters = {name: _bounded(name, function) for name, function in given.items()}
        self.tests = {name: _bounded(name, function) for name, function in self.tests.items()}
        self.filters |= {_LOOP: _charged_turns, _TEXT: _charged}

    def compile(self, source: Any, *args: Any, **options: Any) -> Any:
        """Compiles a template; what is constant in it is computed now, within the same limit."""
        if isinstance(source, str) and len(source) > MOST_CHARACTERS:
            raise TooMuchError(f"a template has at most {MOST_CHARACTERS} characters, this one has {len(source)}")
        with _budget(self.steps):
            return super().compile(source, *args, **options)

    def _generate(self, source: nodes.Template, *args: Any, **options: Any) -> str:
        """Makes Python code of a parsed template; Jinja2 documents this as a hook."""
        _Charging(self).visit(source)
        return super()._generate(source, *args, **options)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805, RUF100
        """Calls a method or a macro of a template."""
        method = getattr(__obj, "__wrapped__", __obj)  # Jinja2 wraps str.format
        name, owner = getattr(method, "__name__", ""), getattr(method, "__self__", None)
        given = (owner, *args, *kwargs.values()) if isinstance(owner, str | bytes | int) else (*args, *kwargs.values())
        _charge_for(name, given)
        return _charged(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Applies an operator of a template to two values."""
        if operator in ("*", "**"):
            _charge(_growth(operator, left, right))
        elif operator == "%" and isinstance(left, str):
            _charge_for("format", (left, *(right if isinstance(right, tuple) else (right,))))
        return _charged(super().call_binop(context, operator, left, right))


class _BoundedTemplate(jinja2.Template):
    def render(self, *args: Any, **kwargs: Any) -> str:
        with _budget(self.environment.steps):  # type: ignore[attr-defined]  # every template here is of a BoundedSandbox
            text = super().render(*args, **kwargs)
        if len(text) > MOST_CHARACTERS:
            raise TooMuchError(f"its text has {len(text)} characters; at most {MOST_CHARACTERS} are allowed")
        return text


class _Charging(NodeTransformer):
    """Makes the parts of a template count that Jinja2 has no hook for."""

    def __init__(self, environment: BoundedSandbox) -> None:
        self._environment = environment

    def visit_For(self, node: nodes.For) -> nodes.Node:
        text = sum(len(part.data) for part in node.find_all(nodes.TemplateData))
        turn = 1 + sum(1 for _ in node.find_all(nodes.Node)) + text // _CHARACTERS
        self.generic_visit(node)
        node.iter = self._filter(node.iter, _LOOP, turn)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        node.nodes = [self._filter(part, _TEXT) for part in node.nodes]
        return self._filter(node, _TEXT)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = self._filter(node.expr, _TEXT)
        for operand in node.ops:
            operand.expr = self._filter(operand.expr, _TEXT)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = self._filter(node.node, _TEXT)
        return node

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.Node:
        self.generic_visit(node)
        node.filter = self._filter(node.filter, _TEXT)
        return node

    def _filter(self, node: Any, name: str, *args: int) -> nodes.Filter:
        found = nodes.Filter(node, name, [nodes.Const(arg) for arg in args], [], None, None)
        found.set_environment(self._environment)
        found.set_lineno(1 if node is None else node.lineno)
        return found


@contextmanager
def _budget(steps: int) -> Iterator[None]:
    token = _BUDGET.set(_Budget(steps))
    try:
        yield
    finally:
        _BUDGET.reset(token)


def _charge(steps: int) -> None:
    if budget := _BUDGET.get():
        budget.charge(steps)


def _finalized(value: Any, finalize: Callable[[Any], Any] | None) -> Any:
    return finalize(_charged(value)) if finalize else _charged(value)


def _charged(value: Any) -> Any:
    """Returns `value` after its size was charged."""
    _charge(_size(value))
    return value


def _charged_turns(values: Iterable[Any], steps: int) -> Iterator[Any]:
    for value in values:
        _charge(steps)
        yield value


def _bounded(name: str, function: Any) -> Callable[..., Any]:
    """Returns the filter or test `function`, which charges for what it is given and for what it returns."""

    @wraps(function)
    def charging(*args: Any, **kwargs: Any) -> Any:
        _charge_for(name, (*args, *kwargs.values()))
        return _charged(function(*args, **kwargs))

    return charging


def _charge_for(name: str, given: tuple[Any, ...]) -> None:
    """Charges for a call of `name` with the values `given`, before it is made."""
    _charge(sum(map(_size, given)))
    if name in _FORMATS:
        _check_widths(next((value for value in given if isinstance(value, str)), ""))
    elif name in _AMPLIFIERS:
        _charge(_product(*given))


def _check_widths(text: str) -> None:
    """Raises TooMuchError for a format with a wide field: %999999d, {:>999999}, or a width that is a value."""
    widths = [int(digits[:9]) for digits in re.findall(r"\d+", text)]
    if max(widths, default=0) > _WIDEST or re.search(r"%[-+ #0]*\.?\*|%\d*\.\*|\{[^{}]*\{", text):
        raise TooMuchError(f"a format has fields of at most {_WIDEST} characters, with the width written in it")


def _size(value: Any) -> int:
    """Returns the steps for one value with everything in it, counted at most until they exceed what is left."""
    budget = _BUDGET.get()
    most = budget.left if budget else MOST_CHARACTERS
    total, pending = 0, [value]
    while pending and total <= most:
        one = pending.pop()
        total += 1
        if isinstance(one, str | bytes):
            total += len(one) // _CHARACTERS
        elif isinstance(one, int):
            total += one.bit_length() // 64
        elif isinstance(one, range):
            total += len(one)
        elif (parts := _parts(one)) is not None:
            total += len(parts)
            pending += parts if total <= most else ()
    return total


def _parts(value: Any) -> list[Any] | None:
    if isinstance(value, Namespace):
        value = object.__getattribute__(value, "_Namespace__attrs")  # printed with everything in it
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | AbstractSet) or type(value) is type({}.values()):
        return [*value]
    return None


def _growth(operator: str, left: Any, right: Any) -> int:
    """Returns the steps for a product or a power."""
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        return max(bits, 0) // 64
    are_numbers = isinstance(left, int | float) and isinstance(right, int | float)
    return 0 if are_numbers else _product(left, right)


def _product(*values: Any) -> int:
    """Returns the steps for what is as long as the two largest of `values` multiplied."""
    extents: list[int] = []
    for value in values:
        if isinstance(value, str | bytes):
            extents.append(len(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            extents += [abs(value) if value.bit_length() < 64 else 2**64, value.bit_length() // 8]
        elif (parts := _parts(value)) is not None:
            extents += [len(parts), _size(value)]
    first, second = [*sorted(extents), 1, 1][-2:] if len(extents) < 2 else sorted(extents)[-2:]
    return first * second // _CHARACTERS
