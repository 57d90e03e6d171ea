"""The definitions of parameters, and conditionals: parameters that exist only under a condition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from hposlurm.space import UNSET, CategoricalParameter, FloatParameter, IntParameter, Parameter
from hposlurm.space.expressions import Expression
from hposlurm.space.expressions import parse as parse_expression
from hposlurm.spec.fields import (
    Flag,
    Number,
    PositiveNumber,
    PositiveWhole,
    Scalar,
    ScalarOrUnset,
    Section,
    Text,
    Whole,
)

# Samplers and readers of SQLite convert whole numbers to floats, which are exact up to this number
_INT_LIMIT = 2**53


class FloatDefinition(Section):
    """A real number. `flag` is how `{{ flags }}` passes it: `--lr` (as its own word), or `optimizer.lr=`."""

    type: Literal["float"]
    min: Number
    max: Number
    log: bool = False
    step: PositiveNumber | None = None
    default: Number | None = None
    mutable: bool = False
    flag: Flag | None = None

    def parameter(self, name: str, condition: Expression | None) -> Parameter:
        return FloatParameter(name, self.min, self.max, self.log, self.step, self.default, condition)


class IntDefinition(Section):
    type: Literal["int"]
    min: Annotated[Whole, Field(ge=-_INT_LIMIT, le=_INT_LIMIT)]
    max: Annotated[Whole, Field(ge=-_INT_LIMIT, le=_INT_LIMIT)]
    log: bool = False
    step: PositiveWhole = 1
    default: Whole | None = None
    mutable: bool = False
    flag: Flag | None = None

    def parameter(self, name: str, condition: Expression | None) -> Parameter:
        return IntParameter(name, self.min, self.max, self.log, self.step, self.default, condition)


class CategoricalDefinition(Section):
    """A categorical parameter. `default` UNSET means no default; `default: null` is the choice null."""

    type: Literal["categorical"] = "categorical"
    choices: tuple[Scalar, ...]
    default: ScalarOrUnset = UNSET
    mutable: bool = False
    flag: Flag | None = None

    def parameter(self, name: str, condition: Expression | None) -> Parameter:
        default = self.default
        if default in self.choices:  # 1.0 given for the choice 1 becomes that choice
            default = self.choices[self.choices.index(default)]
        return CategoricalParameter(name, self.choices, default, condition)


def _definition_type(value: Any) -> str | None:
    """Returns the type of the definition `value`: its `type`, or "categorical" if it has `choices` but no `type`."""
    if not isinstance(value, Mapping):
        return getattr(value, "type", None)
    if "type" in value:
        return str(value["type"])
    return "categorical" if "choices" in value else None


Definition = Annotated[
    Annotated[FloatDefinition, Tag("float")]
    | Annotated[IntDefinition, Tag("int")]
    | Annotated[CategoricalDefinition, Tag("categorical")],
    Discriminator(_definition_type),
]
DEFINITIONS: Mapping[str, type[Section]] = {
    "float": FloatDefinition,
    "int": IntDefinition,
    "categorical": CategoricalDefinition,
}


class Conditional(Section):
    """Parameters that exist where `if` is true, and `conditionals` that apply only there."""

    condition: Text = Field(alias="if")
    then: dict[str, Definition] = Field(min_length=1)
    conditionals: tuple[Conditional, ...] = ()


def within(outer: str, condition: str) -> str:
    """Returns a condition that is nested in the condition `outer` ("": not nested)."""
    return f"({outer}) and ({condition})" if outer else condition


def conditional_parameters(conditional: Conditional, outer: str, names: Mapping[str, str]) -> dict[str, Parameter]:
    """Returns the parameters of `conditional`, which is nested in the condition `outer` ("": not nested).

    `names` has the real name of what expressions cannot write as it is.
    """
    text = within(outer, conditional.condition)
    condition = parse_expression(text, names)
    parameters = {name: d.parameter(name, condition) for name, d in conditional.then.items()}
    for inner in conditional.conditionals:
        parameters |= conditional_parameters(inner, text, names)
    return parameters


def all_definitions(
    definitions: Mapping[str, Definition], conditionals: Iterable[Conditional]
) -> Iterator[tuple[str, Definition]]:
    """Yields the name and definition of every parameter, including conditional ones, in the order of the file."""
    yield from definitions.items()
    for conditional in conditionals:
        yield from all_definitions(conditional.then, conditional.conditionals)
