"""The filters `kv` and `hydra`: a mapping as words `name=value`, as OmegaConf, Hydra and many scripts take them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hposlurm.render.shell import ShellCode, quoted
from hposlurm.trial import param_text

# What Hydra reads as a text without quotes, and does not take for a number, a truth value or nothing
_PLAIN = re.compile(r"[A-Za-z_/][\w./@%+-]*", re.ASCII)
_OTHER_TYPES = re.compile(r"true|false|null|nan|inf", re.IGNORECASE)
_BEFORE_QUOTE = re.compile(r"(\\*)('|$)")


def kv(params: Mapping[str, object]) -> ShellCode:
    """Returns `name=value` for each entry, each one word of the shell."""
    return ShellCode(" ".join(quoted(f"{name}={param_text(value)}") for name, value in params.items()))


def hydra(params: Mapping[str, object]) -> ShellCode:
    """Returns `name=value` for each entry, each one word of the shell; texts are such to Hydra's grammar, too.

    https://hydra.cc/docs/advanced/override_grammar/basic/
    """
    return ShellCode(" ".join(quoted(f"{name}={_hydra_text(value)}") for name, value in params.items()))


def _hydra_text(value: object) -> str:
    """Returns a value in Hydra's grammar: a text is quoted if it would be something else, or an error, without."""
    if not isinstance(value, str) or (_PLAIN.fullmatch(value) and not _OTHER_TYPES.fullmatch(value)):
        return param_text(value)
    # in quotes, backslashes count only before a quote
    return "'" + _BEFORE_QUOTE.sub(lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value) + "'"
