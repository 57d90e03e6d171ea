"""Jinja2 (StrictUndefined) → script text and command lines. Pure functions: text and values in, text out.

Every value that a study puts into a shell is quoted here, once, by one rule: what `{{ … }}` gives becomes exactly one
word of the shell. A placeholder inside quotes would break that rule, so it is refused.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import jinja2
from jinja2 import meta

from hposlurm.errors import RequestError
from hposlurm.trial import Params, ParamValue

# Around each value while a command is rendered; control characters are not allowed in parameters (hposlurm.spec).
_OPEN, _CLOSE = "\x01", "\x02"
_PLACEHOLDER = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}")


class _Shell(str):
    """Text that is shell code already and must not be quoted again."""


def word(value: object) -> str:
    """A value as the text that a command receives: YAML's words for true, false and null, else Python's `str`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _mark(value: object) -> object:
    if isinstance(value, (_Shell, jinja2.Undefined)):
        return value
    return f"{_OPEN}{word(value)}{_CLOSE}"


@lru_cache(maxsize=8)
def _command_template(text: str) -> jinja2.Template:
    return jinja2.Environment(undefined=jinja2.StrictUndefined, finalize=_mark).from_string(text)


def command(template: str, params: Params, facts: Mapping[str, ParamValue]) -> str:
    """The shell command line of one trial. Parameters win over nothing: names never collide with facts.

    A fact `resume_from` that is given becomes `"$HPOSLURM_RESUME_FROM"`, which the shell expands at the start.
    Raises RequestError for a name that is undefined here, or a placeholder inside quotes or in a comment.
    """
    flags = _Shell(" ".join(f"--{name} {shlex.quote(word(value))}" for name, value in params.items()))
    values: dict[str, object] = {**facts, **params, "flags": flags}
    if facts.get("resume_from"):
        values["resume_from"] = _Shell('"$HPOSLURM_RESUME_FROM"')
    try:
        marked = _command_template(template).render(values)
    except jinja2.TemplateError as error:
        raise RequestError(f"trial.command: {error}; params are {dict(params)}") from error
    return _quote_marked(marked).strip()


def mentions(template: str, name: str) -> bool:
    """Whether a valid command template uses `name`."""
    return name in meta.find_undeclared_variables(jinja2.Environment().parse(template))


def _quote_marked(text: str) -> str:
    """Replaces every marked value by its shell-quoted form, after making sure that it stands outside of quotes."""
    quote = ""
    position = 0
    while position < len(text):
        character = text[position]
        if character == _OPEN and quote:
            value = _PLACEHOLDER.match(text, position)
            shown = value.group(1) if value else ""
            raise RequestError(
                f"trial.command: a placeholder stands inside {quote} quotes (here it is {shown!r}); "
                "hposlurm quotes every value itself, so leave the quotes around it out"
            )
        if character == "\\" and quote != "'":
            position += 2
            continue
        if character in "'\"" and quote in ("", character):
            quote = "" if quote else character
        if character == _OPEN:  # what is inside a value is no shell code
            position = text.index(_CLOSE, position)
        position += 1
    return _PLACEHOLDER.sub(lambda match: shlex.quote(match.group(1)), text)


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
        raise RequestError(f"{source}: {error.message}; a batch script's template may use: {known}") from error
