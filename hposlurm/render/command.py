"""`trial.command` with a trial's values: Jinja2 (StrictUndefined) → one shell command line.

Every value that a study passes to a shell is quoted here, once, by one rule: the value of `{{ … }}` becomes exactly one
word of the shell. Where that is impossible (for example inside quotes), the command is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from types import MappingProxyType
from typing import Any

import jinja2
from jinja2 import meta

from hposlurm.errors import RequestError
from hposlurm.render.environment import for_commands
from hposlurm.render.shell import QuotingError, ShellCode, marked, quoted, with_values
from hposlurm.space.names import variable
from hposlurm.trial import Params, ParamValue, float_text, param_text

_NO_FLAGS: Mapping[str, str] = MappingProxyType({})
_MOST_TRIED = 50  # expressions of a command, to find the one that fails
_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%-?\s*(?:if|elif|for|set)\b.*?%\}", re.DOTALL)


class _Number(float):
    """A float that is written as such in texts, too: `{{ "lr=" ~ lr }}`."""

    def __str__(self) -> str:
        return float_text(self)


def _mark(value: object) -> object:
    if isinstance(value, jinja2.Undefined):
        return value
    if isinstance(value, ShellCode):
        return marked(value, is_shell=True)
    return marked(param_text(value))


@lru_cache(maxsize=8)
def _template(text: str) -> jinja2.Template:
    return for_commands(_mark).from_string(text)


def command_line(
    template: str, params: Params, facts: Mapping[str, ParamValue], flags: Mapping[str, str] = _NO_FLAGS
) -> str:
    """Returns the shell command line of one trial. A parameter hides a fact of the same name.

    `flags` has the flags of parameters that have one of their own. If the fact `resume_from` is given, it becomes
    `"$HPOSLURM_RESUME_FROM"`, which the shell expands at the start.

    Raises RequestError for every error while rendering (an undefined name, a division by zero), and for a placeholder
    whose value would not stay one word: inside quotes, in a comment, after `<<` …
    """
    words = [(name, flags.get(name), param_text(value)) for name, value in params.items()]
    values: dict[str, Any] = {
        **facts,
        "overrides": ShellCode(" ".join(quoted(_override(name, flag) + text) for name, flag, text in words)),
        "params": dict(params),
        **{variable(name): _Number(v) if isinstance(v, float) else v for name, v in params.items()},
        "flags": ShellCode(" ".join(_flag(name, flag, text) for name, flag, text in words)),
    }
    if facts.get("resume_from"):
        values["resume_from"] = ShellCode('"$HPOSLURM_RESUME_FROM"')
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


def text_with(template: str, params: Params, facts: Mapping[str, ParamValue], what: str) -> str:
    """Returns the text of `what` with a trial's values in it, which are not quoted. Raises RequestError."""
    values = {**facts, "params": dict(params), **{variable(name): value for name, value in params.items()}}
    try:
        return for_commands(param_text).from_string(template).render(values)
    except Exception as error:  # a template may do anything that the sandbox lets it
        raise RequestError(f"{what}: {template!r}: {error}") from error


def _flag(name: str, flag: str | None, text: str) -> str:
    """Returns `--name value`, or a parameter's own flag with its value, which is one word if the flag ends with "=".

    Also one word if the value begins with a minus: argparse reads -9e-05 as an option.
    """
    flag = flag or f"--{name}"
    if flag.endswith("="):
        return quoted(flag + text)
    is_joined = text.startswith("-") and flag.startswith("--")
    return f"{quoted(flag)}{'=' if is_joined else ' '}{quoted(text)}"


def _override(name: str, flag: str | None) -> str:
    """Returns `name=`, or the parameter's own flag if it is of that form: `+trainer.max_epochs=`."""
    return flag if flag and flag.endswith("=") and not flag.startswith("-") else f"{name}="


def _failing(template: str, values: Mapping[str, Any], kind: type[Exception]) -> str:
    """Returns the first `{{ … }}` or `{% if … %}` that fails by itself with an error of that kind; "" if none does."""
    for found in islice(_EXPRESSION.finditer(template), _MOST_TRIED):
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


def mentions(template: str, name: str) -> bool:
    """True if a valid command template uses `name`."""
    return name in names_in(template)


@lru_cache(maxsize=64)
def names_in(template: str) -> frozenset[str]:
    """Returns the names that a valid command template uses and does not define itself."""
    return frozenset(meta.find_undeclared_variables(for_commands().parse(template)))
