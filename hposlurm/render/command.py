"""`trial.command` with a trial's values: Jinja2 (StrictUndefined) → one shell command line.

Every value that a study passes to a shell is quoted here, once, by one rule: the value of `{{ … }}` becomes exactly one
word of the shell. Where that is impossible (for example inside quotes), the command is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import meta

from hposlurm.errors import RequestError
from hposlurm.render.environment import for_commands
from hposlurm.render.shell import QuotingError, marked, quoted, with_values
from hposlurm.trial import Params, ParamValue, param_text

_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%-?\s*(?:if|elif|for|set)\b.*?%\}", re.DOTALL)


class _Shell(str):
    """Text that is shell code already and must not be quoted again."""


def _mark(value: object) -> object:
    if isinstance(value, jinja2.Undefined):
        return value
    if isinstance(value, _Shell):
        return marked(value, is_shell=True)
    return marked(param_text(value))


@lru_cache(maxsize=8)
def _template(text: str) -> jinja2.Template:
    return for_commands(_mark).from_string(text)


def command_line(template: str, params: Params, facts: Mapping[str, ParamValue]) -> str:
    """Returns the shell command line of one trial. The names of `params` and `facts` never collide.

    If the fact `resume_from` is given, it becomes `"$HPOSLURM_RESUME_FROM"`, which the shell expands at the start.
    Raises RequestError for every error while rendering (an undefined name, a division by zero), and for a placeholder
    whose value would not stay one word: inside quotes, in a comment, after `<<` …
    """
    flags = _Shell(" ".join(_flag(name, param_text(value)) for name, value in params.items()))
    values: dict[str, Any] = {**facts, **params, "flags": flags}
    if facts.get("resume_from"):
        values["resume_from"] = _Shell('"$HPOSLURM_RESUME_FROM"')
    try:
        return with_values(_template(template).render(values)).strip()
    except QuotingError as error:
        raise RequestError(f"trial.command: {error}") from error
    except Exception as error:  # a template may do anything that the sandbox lets it
        what = str(error).rstrip(".") if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: {error}"
        where = _failing(template, values, type(error))
        raise RequestError(f"trial.command: {what}{f' in {where}' if where else ''}; params are {dict(params)}") from (
            error
        )


def _flag(name: str, text: str) -> str:
    """Returns `--name value`; with "=" if the value begins with a minus, since argparse reads -9e-05 as an option."""
    return f"--{name}{'=' if text.startswith('-') else ' '}{quoted(text)}"


def _failing(template: str, values: Mapping[str, Any], kind: type[Exception]) -> str:
    """Returns the first `{{ … }}` or `{% if … %}` that fails by itself with an error of that kind; "" if none does."""
    for found in _EXPRESSION.finditer(template):
        text = found[0]
        if text.startswith("{%"):
            condition = re.fullmatch(r"\{%-?\s*(?:el)?if\b(.*?)-?%\}", text, re.DOTALL)
            part = f"{{% if {condition[1]} %}}{{% endif %}}" if condition else ""
        else:
            part = text
        try:
            for_commands().from_string(part).render(values)
        except Exception as error:  # noqa: BLE001, RUF100  # this error is being looked for
            if isinstance(error, kind):
                return " ".join(text.split())
    return ""


@lru_cache(maxsize=64)
def mentions(template: str, name: str) -> bool:
    """True if a valid command template uses `name`."""
    return name in meta.find_undeclared_variables(for_commands().parse(template))
