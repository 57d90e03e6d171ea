"""Builds frozen dataclasses from JSON and checks each value against its annotation. Standard library only.

Finds damaged or edited records here, with the place of the error, before they cause a traceback elsewhere.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar, cast

T = TypeVar("T")
_Reader = Callable[[Any], Any]

_LARGEST = 2**63  # SQLite's integers have 64 bits


def structure(kind: type[T], data: object) -> T:
    """Returns the dataclass `kind` that `data` from JSON describes. Raises ValueError with the place of an error."""
    return cast(T, _reader(cast(Any, kind))(data))


@cache
def field_readers(kind: Any) -> Mapping[str, Callable[[Any], Any]]:
    """Returns for each field of the dataclass `kind` the reader of its value, which raises ValueError."""
    hints = typing.get_type_hints(kind)
    return {field.name: _reader(hints[field.name]) for field in dataclasses.fields(kind)}


def _refuse(value: object, wanted: str) -> ValueError:
    shown = repr(value)
    return ValueError(f"{shown if len(shown) <= 60 else f'{shown[:59]}…'} is not {wanted}")


@cache
def _reader(hint: Any) -> _Reader:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in _SINGLE:
        return _SINGLE[hint]
    if origin in (types.UnionType, typing.Union):
        return _any_of(inner)
    if origin is tuple and inner[1:] != (...,):
        return _row_of(tuple(_reader(part) for part in inner))
    if origin is tuple:
        return _list_of(_reader(inner[0]))
    if origin is Mapping:
        return _mapping_of(_reader(inner[1]))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    if dataclasses.is_dataclass(hint):
        return _fields_of(hint)
    raise TypeError(f"cannot read {hint!r} from JSON")


def _any_of(choices: tuple[Any, ...]) -> _Reader:
    readers = tuple(_reader(choice) for choice in choices)
    # by the type of the value, where that is enough: raising an error for each choice before it takes much longer
    is_simple = all(choice in _SINGLE for choice in choices)
    likely = {choice: _reader(choice) for choice in choices if is_simple or choice is type(None)}

    def read(value: Any) -> Any:
        own = likely.get(type(value))
        if own is not None:
            try:
                return own(value)
            except ValueError:
                pass  # the message is that of the last choice
        for reader in readers[:-1]:
            try:
                return reader(value)
            except ValueError:
                continue
        return readers[-1](value)

    return read


def _list_of(reader: _Reader) -> _Reader:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _refuse(value, "a list")
        try:
            return tuple(map(reader, value))
        except ValueError:  # read again for the place of the error
            return tuple(_at(position, reader, item) for position, item in enumerate(value))

    return read


def _row_of(readers: tuple[_Reader, ...]) -> _Reader:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != len(readers):
            raise _refuse(value, f"a list of {len(readers)}")
        return tuple(_at(i, readers[i], item) for i, item in enumerate(value))

    return read


def _mapping_of(reader: _Reader) -> _Reader:
    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _refuse(value, "a mapping")
        try:
            return {_text(key): reader(item) for key, item in value.items()}
        except ValueError:
            return {_text(key): _at(key, reader, item) for key, item in value.items()}

    return read


def _fields_of(kind: Any) -> _Reader:
    readers = field_readers(kind)
    blank = (dataclasses.MISSING, dataclasses.MISSING)
    needed = [field.name for field in dataclasses.fields(kind) if (field.default, field.default_factory) == blank]
    all_needed = frozenset(needed)

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _refuse(value, f"a mapping ({kind.__name__})")
        names = value.keys()
        if not all_needed <= names:
            raise ValueError(f"{', '.join(name for name in needed if name not in names)} is missing")
        if not names <= readers.keys():
            raise ValueError(f"{next(name for name in names if name not in readers)!r:.60} is unknown")
        try:
            return kind(**{name: readers[name](item) for name, item in value.items()})
        except ValueError:
            return kind(**{name: _at(name, readers[name], item) for name, item in value.items()})

    return read


def _at(place: object, reader: _Reader, value: Any) -> Any:
    try:
        return reader(value)
    except ValueError as error:
        raise ValueError(f"{place!s:.60}: {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _refuse(value, "a string")
    if not value.isascii():
        value.encode()  # raises UnicodeEncodeError, a ValueError, for a lone surrogate, which UTF-8 cannot represent
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refuse(value, "an integer")
    if not -_LARGEST <= value < _LARGEST:
        raise ValueError("is out of range")
    return value


def _number(value: Any) -> float:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return value
    except OverflowError:
        raise ValueError("is out of range") from None
    raise _refuse(value, "a finite number")


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _refuse(value, "true or false")
    return value


def _nothing(value: Any) -> None:
    if value is not None:
        raise _refuse(value, "null")


def _anything(value: Any) -> Any:
    """Returns any JSON value. Raises ValueError for what strict JSON cannot represent, such as NaN."""
    if isinstance(value, dict):
        return {_text(key): _anything(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_anything(item) for item in value]
    if isinstance(value, str):
        return _text(value)
    return value if value is None or isinstance(value, bool) else _number(value)


_SINGLE: Mapping[Any, _Reader] = {
    str: _text,
    int: _whole,
    float: _number,
    bool: _truth,
    type(None): _nothing,
    object: _anything,
}
