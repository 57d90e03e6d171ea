"""The Jinja2 environments of the package, and files made from templates.

All of them are sandboxed: a template from a third party can neither reach Python's own objects nor change a value, and
a rendering has a limited number of steps (hposlurm.render.sandbox). In all of them an undefined name is an error.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

import jinja2

from hposlurm.errors import RequestError
from hposlurm.render.overrides import hydra, kv
from hposlurm.render.sandbox import BoundedSandbox

# A check renders a command some hundred times, in about 0.02 s each if it takes all of its steps; 200 placeholders with
# a filter take 1,000
_COMMAND_STEPS = 20_000
_FILE_STEPS = 200_000
# The digits before an exponent that follows no dot; texts are passed over
_EXPONENT = re.compile(r'"(?:[^"\\]|\\.)*"|\d+\.\d+e|(\d+)e')


def for_commands(finalize: Callable[[object], object] | None = None) -> jinja2.Environment:
    """Returns the environment of `trial.command`; `finalize` is applied to the value of every placeholder.

    `json`, `kv` and `hydra` are filters. Unlike Jinja2's own `tojson`, `json` does not write < > & ' as escapes.
    """
    return BoundedSandbox(_COMMAND_STEPS, finalize, filters={"json": json_text, "kv": kv, "hydra": hydra})


def json_text(value: object, **options: Any) -> str:
    """Returns `value` as JSON whose numbers YAML 1.1 reads as well. `options` are those of `json.dumps`."""
    return _EXPONENT.sub(lambda found: f"{found[1]}.0e" if found[1] else found[0], json.dumps(value, **options))


def for_files() -> jinja2.Environment:
    """Returns the environment of whole files: lines with only `{% … %}` are removed, and `quote` is a filter."""
    filters = {"quote": lambda value: shlex.quote(str(value))}
    return BoundedSandbox(
        _FILE_STEPS, filters=filters, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )


def shipped(name: str) -> str:
    """Returns the text of a template that ships with hposlurm."""
    return (files("hposlurm") / "templates" / name).read_text("utf-8")


def filled(text: str, source: str, values: Mapping[str, object], what: str) -> str:
    """Returns the text of a file's template with `values` in it.

    Raises RequestError with the line of a mistake in the template. The message calls the template `source` and the
    file `what` ("a batch script").
    """
    try:
        return for_files().from_string(text).render(values)
    except jinja2.TemplateSyntaxError as error:
        raise RequestError(f"{source}, line {error.lineno}: {error.message}") from error
    except jinja2.UndefinedError as error:
        known = ", ".join(sorted(values))
        raise RequestError(f"{source}{_line(error)}: {error.message}; {what}'s template may use: {known}") from error
    except Exception as error:  # a template may do anything that the sandbox lets it
        raise RequestError(f"{source}{_line(error)}: {type(error).__name__}: {error}") from error


def _line(error: Exception) -> str:
    """Returns the place of an error in the template; Jinja2 puts the template's own lines into the traceback."""
    trace, line = error.__traceback__, ""
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = f", line {trace.tb_lineno}"
        trace = trace.tb_next
    return line
