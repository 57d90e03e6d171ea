"""Batch scripts from Jinja2 templates. Pure functions: text and values in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hposlurm.errors import RequestError
from hposlurm.records.reading import read_begin
from hposlurm.render.environment import filled, shipped
from hposlurm.render.sandbox import MOST_CHARACTERS


def template_text(name: str, custom: Path | None = None) -> str:
    """Returns the text of the user's own template file, or of the one that ships with hposlurm.

    Raises RequestError if the user's file cannot be read.
    """
    if custom is None:
        return shipped(name)
    try:
        return read_begin(custom, MOST_CHARACTERS + 1).decode("utf-8")  # longer texts are refused later
    except OSError as error:
        raise RequestError(f"slurm.template: {custom} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RequestError(f"slurm.template: {custom} is not UTF-8 text (byte {error.start})") from error


def script(text: str, source: str, values: Mapping[str, object]) -> str:
    """Returns the batch script from a template's text; raises RequestError with the line of a mistake in it."""
    return filled(text, source, values, what="a batch script")
