"""Batch scripts from Jinja2 templates (StrictUndefined). Pure functions: text and values in, text out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import jinja2

from hposlurm.errors import RequestError


def template_text(name: str, custom: Path | None = None) -> str:
    """The text of a template: the user's own file, or the one that ships with hposlurm."""
    if custom is not None:
        try:
            return custom.read_text()
        except OSError as error:
            raise RequestError(f"slurm.template: {custom} cannot be read: {error.strerror}") from error
    return (files("hposlurm") / "templates" / name).read_text()


def script(text: str, source: str, values: Mapping[str, object]) -> str:
    """A batch script from a template's text; raises RequestError with the line of a mistake in it."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["quote"] = lambda value: shlex.quote(str(value))
    try:
        return environment.from_string(text).render(values)
    except jinja2.TemplateSyntaxError as error:
        raise RequestError(f"{source}, line {error.lineno}: {error.message}") from error
    except jinja2.UndefinedError as error:
        known = ", ".join(sorted(values))
        raise RequestError(
            f"{source}{_line(error)}: {error.message}; a batch script's template may use: {known}"
        ) from error
    except Exception as error:  # a template may do anything that Python can
        raise RequestError(f"{source}{_line(error)}: {type(error).__name__}: {error}") from error


def _line(error: Exception) -> str:
    """Where in the template an error came up: Jinja2 puts the template's own lines into the traceback."""
    trace, line = error.__traceback__, ""
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = f", line {trace.tb_lineno}"
        trace = trace.tb_next
    return line
