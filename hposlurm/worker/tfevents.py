"""Reads the scalars of TensorBoard's event files, without TensorFlow or TensorBoard. Standard library only.

A file is a row of records: the length (8 bytes), its checksum (4), the data, its checksum (4). The data are a protocol
buffer, tensorflow.Event. https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

_HEAD, _TAIL = 12, 4
_MOST = 64 * 2**20  # bytes of a record: images and histograms may be large
_FLOAT, _DOUBLE = 1, 2  # tensorflow.DataType
_FIXED64, _BYTES, _FIXED32 = 1, 2, 5  # wire types of protocol buffers


def records(data: bytes) -> tuple[list[bytes], int]:
    """Returns the whole records at the beginning of `data`, and how many bytes they have together.

    A record that is longer than any real one ends the reading for good: all bytes count as read.
    """
    found: list[bytes] = []
    place = 0
    while place + _HEAD <= len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        if length > _MOST:
            return found, len(data)
        end = place + _HEAD + length + _TAIL
        if end > len(data):
            break
        found.append(data[place + _HEAD : end - _TAIL])
        place = end
    return found, place


def scalars(event: bytes) -> dict[str, float | int]:
    """Returns the scalars of an event by tag, with its `step`; {} for an event without any, and for a damaged one."""
    try:
        return _scalars(event)
    except (ValueError, struct.error, IndexError, UnicodeDecodeError):
        return {}


def _scalars(event: bytes) -> dict[str, float | int]:
    step, found = 0, {}
    for number, value in _fields(event):
        if number == 2 and isinstance(value, int):
            step = value
        elif number == 5 and isinstance(value, bytes):  # the summary
            for _, entry in _fields(value):
                found.update(_value(entry) if isinstance(entry, bytes) else {})
    return {**found, "step": step} if found else {}


def _value(data: bytes) -> dict[str, float]:
    tag, number = "", None
    for key, value in _fields(data):
        if key == 1 and isinstance(value, bytes):
            tag = value.decode()
        elif key == 2 and isinstance(value, float):
            number = value
        elif key == 8 and isinstance(value, bytes):
            number = _of_tensor(value)
    return {tag: number} if tag and number is not None else {}


def _of_tensor(data: bytes) -> float | None:
    """Returns the number of a tensor with a single one, as TensorFlow 2 writes scalars; None for any other."""
    fields: dict[int, Any] = dict(_fields(data))
    kind = {_FLOAT: "<f", _DOUBLE: "<d"}.get(fields.get(1, 0))
    raw = fields.get(4) or fields.get(5 if kind == "<f" else 6)
    if isinstance(raw, float):
        return raw
    if kind is None or not isinstance(raw, bytes) or len(raw) != struct.calcsize(kind):
        return None
    return float(struct.unpack(kind, raw)[0])


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Yields the number and the value of each field of a message. Raises ValueError for one that is damaged."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield number, value
        elif kind in (_FIXED64, _FIXED32):
            layout = "<d" if kind == _FIXED64 else "<f"
            yield number, float(struct.unpack_from(layout, data, place)[0])
            place += struct.calcsize(layout)
        elif kind == _BYTES:
            length, place = _varint(data, place)
            if place + length > len(data):
                raise ValueError("a field goes past its message")
            yield number, data[place : place + length]
            place += length
        else:
            raise ValueError(f"wire type {kind}")


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if not byte & 128:
            return value, place
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
