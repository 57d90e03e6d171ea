"""The section `publish`: where a study's results are written, and the table of publishers."""

from __future__ import annotations

from dataclasses import dataclass
from types import GenericAlias
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer, PlainValidator, TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails

from hposlurm.spec.fields import Section, complaint, quoted


class NoOptions(Section):
    """The options of a publisher that has none."""


@dataclass(frozen=True, slots=True)
class PublisherKind:
    """The facts about a publisher."""

    #: "module:Class", imported when the study is published. The class is constructed with the options
    #: (publish/base.py).
    implementation: str
    #: True for files in the study directory, False for a service outside of it.
    is_local: bool
    #: The keys below the publisher's name in the study file.
    options: type[Section] = NoOptions


#: A new publisher needs a row here and its class.
PUBLISHERS: dict[str, PublisherKind] = {
    "sqlite": PublisherKind("hposlurm.publish.sqlite:Database", is_local=True),
    "csv": PublisherKind("hposlurm.publish.csv:Tables", is_local=True),
}


@dataclass(frozen=True, slots=True)
class PublisherEntry:
    """One entry of the section: the publisher's name and its options."""

    name: str
    options: Section

    @property
    def kind(self) -> PublisherKind:
        """Returns the publisher's row in the table."""
        return PUBLISHERS[self.name]


def options_of(pattern: str) -> type[Section] | None:
    """Returns the options of the publisher at `pattern` ("publish.*.csv"); None for any other pattern."""
    name = pattern.removeprefix("publish.*.")
    return PUBLISHERS[name].options if name != pattern and name in PUBLISHERS else None


def _entry(value: Any) -> PublisherEntry:
    """Reads "csv" or {"csv": {…}}. Raises ValidationError with all problems, each at its path below the entry."""
    if isinstance(value, PublisherEntry):
        return value
    if isinstance(value, dict) and len(value) != 1:
        raise complaint(f"must be a publisher's name, or a mapping of one name to its options, not {quoted(value)}")
    name, given = next(iter(value.items())) if isinstance(value, dict) else (value, None)
    if not isinstance(name, str) or name not in PUBLISHERS:
        expected = " or ".join(f"'{known}'" for known in PUBLISHERS)
        wrong = InitErrorDetails(type="literal_error", loc=(), input=name, ctx={"expected": expected})
        raise ValidationError.from_exception_data("publish", [wrong])
    options = {} if given is None else given
    if isinstance(options, dict):  # null unsets an option, as everywhere in the file
        options = {str(key): option for key, option in options.items() if option is not None}
    # a mapping, so that the problems are found at NAME.OPTION
    kind: Any = GenericAlias(dict, (str, PUBLISHERS[name].options))
    mapping: TypeAdapter[dict[str, Section]] = TypeAdapter(kind)
    return PublisherEntry(name, mapping.validate_python({name: options})[name])


def _dumped(entry: PublisherEntry) -> str | dict[str, Any]:
    options = entry.options.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {entry.name: options} if options else entry.name


def _each_once(entries: tuple[PublisherEntry, ...]) -> tuple[PublisherEntry, ...]:
    """Returns `entries` without duplicates.

    Options must not differ: what a publisher was sent is recorded by its name.
    """
    found: dict[str, PublisherEntry] = {}
    for entry in entries:
        if found.setdefault(entry.name, entry) != entry:
            raise complaint(f"{entry.name} is listed twice, with different options")
    return tuple(found.values())


PublishSection = Annotated[
    tuple[Annotated[PublisherEntry, PlainValidator(_entry), PlainSerializer(_dumped)], ...], AfterValidator(_each_once)
]
DEFAULT: tuple[PublisherEntry, ...] = (PublisherEntry("sqlite", NoOptions()), PublisherEntry("csv", NoOptions()))
