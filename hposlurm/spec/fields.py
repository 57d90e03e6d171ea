"""Validates single values of a study file: numbers, texts and times, each with its own message."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

from hposlurm.space import Unset
from hposlurm.space.expressions import MAX_BITS
from hposlurm.trial import ParamValue

COMPLAINT = "complaint"  # the pydantic error type of messages that are complete
LATER = "later"  # the same, for features that this version does not support yet

_MAX_TIME_S = 366 * 86400
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_WITH_UNITS = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+", re.ASCII)
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NAME_LENGTH = 64


class Section(BaseModel):
    """The base of all sections: frozen, without unknown keys and infinities; `partition: 1` is the text "1"."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False, validate_default=False
    )


#: What a training script may choose to be asked to save and exit by.
STOP_SIGNALS = ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2")


def quoted(value: Any) -> str:
    """Returns `value` as it looks in the file, cut to a readable length."""
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    names: dict[Any, str] = {True: "true", False: "false", None: "null"}
    text = names[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def complaint(message: str) -> PydanticCustomError:
    """Returns an error with a text that is shown unchanged."""
    return PydanticCustomError(COMPLAINT, "{message}", {"message": message})


def _not_a_truth_value(value: Any) -> Any:
    # pydantic would accept true as 1
    if isinstance(value, bool):
        raise complaint(f"must be a number, not {quoted(value)}")
    return value


def control_character(text: str, allowed: str = "") -> str | None:
    """Returns the first character in `text` that a command line, script or table should not contain; None if none."""
    for character in text:
        if character not in allowed and unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            return character
    return None


def _plain_text(value: str) -> str:
    if not value.strip():
        raise complaint("must not be empty")
    return _without_control(value)


def _without_control(value: str, allowed: str = "\t") -> str:
    if (bad := control_character(value, allowed)) is not None:
        raise complaint(f"must be one line of text without control characters; {quoted(value)} has {bad!r}")
    return value


def _flag(value: str) -> str:
    if not value or any(c.isspace() for c in value):
        raise complaint(f'must be one word such as "--lr" or "optimizer.lr=", not {quoted(value)}')
    return _without_control(value, allowed="")


def _command(value: str) -> str:
    if not value.strip():
        raise complaint("must not be empty")
    return _without_control(value, allowed="\t\n")


def _study_name(value: str) -> str:
    if len(value) > _NAME_LENGTH or not _NAME.fullmatch(value):
        raise complaint(
            f"names a directory and Slurm jobs: must be at most {_NAME_LENGTH} of the characters A-Z a-z 0-9 . _ -, "
            f"starting with a letter or digit, not {quoted(value)}"
        )
    return value


def single_value(value: Any) -> ParamValue:
    """Returns `value` if it is a number, text, truth value or null; its type does not change."""
    if isinstance(value, str):
        return _without_control(value, allowed="")
    if isinstance(value, float) and not math.isfinite(value):
        raise complaint(f"must be a finite number, not {quoted(value)}")
    if isinstance(value, int):
        return _bounded(value, MAX_BITS)
    if value is None or isinstance(value, float):
        return value
    raise complaint(f"must be a single value (number, text, true, false or null), not {quoted(value)}")


def duration_s(value: Any, unit_s: int) -> float:
    """Returns the seconds of "30m", "1h30m", "90s", Slurm's "1:30:00", "30:00" (min:s), "1-00:00:00" or a plain number.

    The unit of a plain number is `unit_s` seconds. Raises ValueError for any other value, and for 0 or less.
    """
    seconds = _parse_duration(value, unit_s)
    if seconds is None or not 0 < seconds <= _MAX_TIME_S:
        raise ValueError(value)
    return seconds


def _parse_duration(value: Any, unit_s: int) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) * unit_s if abs(value) <= _MAX_TIME_S else None
    if not isinstance(value, str):
        return None
    text = value.strip()
    if _WITH_UNITS.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)([dhms])", text))
    if not (match := _CLOCK.fullmatch(text)):
        return None
    days, *parts = match.groups()
    numbers = [float(part) for part in parts if part is not None]
    if days is not None:  # D-H, D-H:M, D-H:M:S
        hours, minutes, seconds = (*numbers, 0.0, 0.0)[:3]
        return float(days) * 86400 + hours * 3600 + minutes * 60 + seconds
    if len(numbers) == 1:
        return numbers[0] * unit_s
    hours, minutes, seconds = ([0.0] * (3 - len(numbers)) + numbers)[:3]  # M:S, H:M:S
    return hours * 3600 + minutes * 60 + seconds


def _seconds(value: Any) -> float:
    try:
        return duration_s(value, 1)
    except ValueError:
        raise complaint(
            f'must be a time such as "30m", "90s", "1:30:00" or a number of seconds (at most 366 days), '
            f"not {quoted(value)}"
        ) from None


def _minutes(value: Any) -> int:
    try:
        return math.ceil(duration_s(value, 60) / 60)
    except ValueError:
        raise complaint(
            f'must be a time such as "00:30:00", "1-00:00:00", "30m" or a number of minutes (at most 366 days), '
            f"not {quoted(value)}"
        ) from None


def _switch(value: Any) -> str:
    """Returns "on" or "off". YAML 1.2 reads on and off as text, and people may write true or false."""
    words = {True: "on", False: "off", "on": "on", "off": "off"}
    if not isinstance(value, bool | str) or value not in words:
        raise complaint(f"must be on or off, not {quoted(value)}")
    return words[value]


def _stop_signal(value: Any) -> str:
    """Returns the name of a signal without SIG."""
    name = value.upper().removeprefix("SIG") if isinstance(value, str) else value
    if name not in STOP_SIGNALS:
        raise complaint(f"must be one of {', '.join(STOP_SIGNALS)}, not {quoted(value)}")
    return str(name)


def _command_seed(value: Any) -> int | str:
    if value == "trial" or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32):
        return value  # type: ignore[no-any-return]
    raise complaint(f'must be a number from 0 to {2**32 - 1}, or "trial" for each trial\'s own, not {quoted(value)}')


def _one_node(value: int) -> int:
    if value > 1:
        raise PydanticCustomError(LATER, "more than one node per trial is not supported in this version")
    if value < 1:
        raise complaint(f"must be at least 1, not {value}")
    return value


def _bounded(value: int, bits: int = 63) -> int:
    if value.bit_length() > bits:
        raise complaint(f"must be a whole number of at most {bits} bits; this one has {value.bit_length()}")
    return value


def _memory_gb(value: float) -> float:
    if value * 1024 < 1:  # would round to --mem=0, which is all of a node's memory in Slurm
        raise complaint(f"must be at least 1 MiB (0.001), not {quoted(value)}")
    return value


Number = Annotated[float, BeforeValidator(_not_a_truth_value)]
Whole = Annotated[int, BeforeValidator(_not_a_truth_value), AfterValidator(_bounded)]
PositiveNumber = Annotated[Number, Field(gt=0)]
PositiveWhole = Annotated[Whole, Field(ge=1)]
Text = Annotated[str, AfterValidator(_plain_text)]
Command = Annotated[str, AfterValidator(_command)]
Flag = Annotated[str, AfterValidator(_flag)]
CommandSeed = Annotated[int | str, PlainValidator(_command_seed)]
StudyName = Annotated[str, AfterValidator(_study_name)]
Scalar = Annotated[ParamValue, PlainValidator(single_value)]
ScalarOrUnset = Annotated[ParamValue | Unset, PlainValidator(single_value)]
MemoryGb = Annotated[Number, AfterValidator(_memory_gb)]
Switch = Annotated[str, BeforeValidator(_switch)]
StopSignal = Annotated[str, BeforeValidator(_stop_signal)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Minutes = Annotated[int, BeforeValidator(_minutes)]
NodeCount = Annotated[Whole, AfterValidator(_one_node)]
