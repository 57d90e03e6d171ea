"""Checks Jinja2 texts before any trial runs: the trial's command, and the user's script template."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hposlurm.errors import Problem
from hposlurm.records.reading import read_begin
from hposlurm.space import SearchSpace
from hposlurm.space.expressions import NO_NAMES
from hposlurm.space.names import variable
from hposlurm.spec.problems import suggestion
from hposlurm.trial import ParamValue

if TYPE_CHECKING:
    import jinja2

# The facts that every command may use besides parameters; UNSET has those that must be set first
COMMAND_FACTS = frozenset(
    {
        "checkpoint_dir",
        "cpus_per_task",
        "flags",
        "gpus",
        "gpus_per_node",
        "max_resource",
        "max_step",
        "nodes",
        "overrides",
        "params",
        "resume_from",
        "seed",
        "study_dir",
        "trial",
        "trial_dir",
        "trial_seed",
    }
)
# Facts that exist only if a key of the study file is set, each with that key
UNSET: Mapping[str, str] = {
    "ds_config": "trial.deepspeed",
    "gpu_memory_gb": "resources.gpu_memory_gb",
    "mem_gb": "resources.mem_gb",
}
_UNDEFINED = re.compile(r"'(\w+)' is undefined")


def command_problems(
    command: str, names: set[str], written: Mapping[str, str] = NO_NAMES, path: str = "trial.command"
) -> list[Problem]:
    """Returns the problems of a command as a template in which `names` are defined: syntax, unknown names.

    `written` has the real name of what a placeholder writes in another way: optimizer__lr for optimizer.lr.
    """
    import jinja2
    from jinja2 import meta, nodes

    from hposlurm.render.environment import for_commands
    from hposlurm.render.sandbox import MOST_CHARACTERS

    if len(command) > MOST_CHARACTERS:
        return [Problem(path, f"has {len(command)} characters; at most {MOST_CHARACTERS} are allowed")]
    environment = for_commands()
    try:
        tree = environment.parse(command)
        used = meta.find_undeclared_variables(tree)
    except jinja2.TemplateSyntaxError as error:
        return [Problem(path, f"line {error.lineno}: {error.message}", _syntax_hint(command, error.lineno))]
    except (RecursionError, ValueError, OverflowError) as error:
        return [Problem(path, f"not a template: {type(error).__name__}")]
    tests = [test for test in tree.find_all(nodes.Test) if test.name in ("defined", "undefined")]
    asked = {test.node.name for test in tests if isinstance(test.node, nodes.Name)}
    # `{% if ds_config is defined %}` lets one command serve studies with and without DeepSpeed
    unknown = sorted(used - names - environment.globals.keys() - (asked & UNSET.keys()))
    swallowed = list(_swallowed(environment, command, path))
    hints = ((name, _written_hint(name, written) or name_hint(name, names)) for name in unknown)
    return [*swallowed, *(Problem(path, f"{name!r} is not defined", hint) for name, hint in hints)]


def _syntax_hint(command: str, line: int) -> str:
    """Returns what to do about a syntax error of Jinja2 in that line, which may be in text for the shell."""
    text = "\n".join(command.split("\n")[line - 1 :])
    if shell := re.search(r"\{#(?!.*#\})|\{%(?!-?\s*\w+.*%\})", text, re.DOTALL):
        what = "comment" if shell[0] == "{#" else "statement"
        raw = "{% raw %}…{% endraw %}"
        return f"Jinja2 reads {shell[0]} as the begin of a {what}; write {raw} around text for the shell"
    return "Jinja2: {{ name }} or {% if … %}…{% endif %}"


def _swallowed(environment: jinja2.Environment, command: str, path: str) -> Iterator[Problem]:
    """Yields a problem for `${#name}`: Jinja2 takes it, and all up to the next #}, for a comment."""
    before = ""
    for line, kind, text in environment.lex(command):
        if kind == "comment_begin" and before.endswith("$"):
            hint = "write {% raw %}…{% endraw %} around it"
            yield Problem(path, f"line {line}: Jinja2 reads ${text} as the begin of a comment", hint)
        before = text


def _written_hint(name: str, written: Mapping[str, str]) -> str:
    """Returns how a placeholder writes the parameter that begins with the unknown `name`; "" if there is none."""
    found = (own for own, real in sorted(written.items()) if re.split(r"[^\w]", real)[0] == name or real == name)
    return next((f"write {{{{ {own} }}}} for {written[own]}" for own in found), "")


def name_hint(name: str, names: Iterable[str]) -> str:
    """Returns what to write instead of the unknown `name`, or what to set."""
    if name in UNSET:
        return f"set {UNSET[name]} to define it"
    return suggestion(name, names, "defined")


def template_problems(path: Path, where: str) -> list[Problem]:
    """Returns a problem unless the file at `path` is a readable Jinja2 template; `where` is the key that names it."""
    import jinja2

    from hposlurm.render.environment import for_files
    from hposlurm.render.sandbox import MOST_CHARACTERS

    try:
        text = read_begin(path, MOST_CHARACTERS + 1).decode("utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return [Problem(where, f"{str(path)!r} cannot be read: {reason}")]
    if len(text) > MOST_CHARACTERS:
        return [Problem(where, f"{str(path)!r} is too large: at most {MOST_CHARACTERS} characters are allowed")]
    try:
        for_files().parse(text)
    except jinja2.TemplateSyntaxError as error:
        return [Problem(where, f"{str(path)!r}, line {error.lineno}: {error.message}")]
    except RecursionError:
        return [Problem(where, f"{str(path)!r} is nested too deeply")]
    return []


def inactive_problems(
    command: str, space: SearchSpace, facts: Iterable[str], configurations: Iterable[Mapping[str, ParamValue]]
) -> list[Problem]:
    """Returns a problem for each conditional parameter that `command` uses in a configuration in which it is inactive.

    They are found by rendering. Without this check, the planner would fail at a later wave, unattended.
    """
    import jinja2

    from hposlurm.render.environment import for_commands

    conditions = {variable(p.name): p.condition for p in space.parameters if p.condition is not None}
    if not conditions:
        return []
    stand_ins: dict[str, Any] = dict.fromkeys(facts, "1")
    needed: dict[str, None] = {}
    try:
        template = for_commands().from_string(command)
    except jinja2.TemplateError:
        return []  # the command has its own check
    for params in configurations:
        try:
            template.render({**stand_ins, **space.facts, **{variable(name): value for name, value in params.items()}})
        except jinja2.UndefinedError as error:
            match = _UNDEFINED.search(str(error))
            if match and match[1] in conditions:
                needed[match[1]] = None
                stand_ins[match[1]] = "1"  # so that the next rendering finds the next one
        except Exception:  # noqa: BLE001, S112, RUF100  # the error may come from a stand-in value
            continue
    return [
        Problem(
            "trial.command",
            f"{name!r} is inactive and therefore undefined where {conditions[name]} is false",
            f"write {{% if {name} is defined %}}…{{% endif %}} around it, or use {{{{ flags }}}}",
        )
        for name in needed
    ]
