"""Checks Jinja2 texts before any trial runs: the trial's command, and the user's script template."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hposlurm.errors import Problem
from hposlurm.space import SearchSpace
from hposlurm.spec.problems import suggestion
from hposlurm.trial import ParamValue

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
        "resume_from",
        "seed",
        "study_dir",
        "trial",
        "trial_dir",
    }
)
# Facts that exist only if a key of the study file is set, each with that key
UNSET: Mapping[str, str] = {
    "ds_config": "trial.deepspeed",
    "gpu_memory_gb": "resources.gpu_memory_gb",
    "mem_gb": "resources.mem_gb",
}
_UNDEFINED = re.compile(r"'(\w+)' is undefined")


def command_problems(command: str, names: set[str]) -> list[Problem]:
    """Returns the problems of `trial.command` as a template in which `names` are defined: syntax, unknown names."""
    import jinja2
    from jinja2 import meta, nodes

    from hposlurm.render.environment import for_commands

    path = "trial.command"
    environment = for_commands()
    try:
        tree = environment.parse(command)
        used = meta.find_undeclared_variables(tree)
    except jinja2.TemplateSyntaxError as error:
        return [Problem(path, f"line {error.lineno}: {error.message}", "Jinja2: {{ name }} or {% if … %}…{% endif %}")]
    except (RecursionError, ValueError, OverflowError) as error:
        return [Problem(path, f"not a template: {type(error).__name__}")]
    tests = [test for test in tree.find_all(nodes.Test) if test.name in ("defined", "undefined")]
    asked = {test.node.name for test in tests if isinstance(test.node, nodes.Name)}
    # `{% if ds_config is defined %}` lets one command serve studies with and without DeepSpeed
    unknown = sorted(used - names - environment.globals.keys() - (asked & UNSET.keys()))
    return [Problem(path, f"{name!r} is not defined", name_hint(name, names)) for name in unknown]


def name_hint(name: str, names: Iterable[str]) -> str:
    """Returns what to write instead of the unknown `name`, or what to set."""
    if name in UNSET:
        return f"set {UNSET[name]} to define it"
    return suggestion(name, names, "defined")


def template_problems(path: Path, where: str) -> list[Problem]:
    """Returns a problem unless the file at `path` is a readable Jinja2 template; `where` is the key that names it."""
    import jinja2

    from hposlurm.render.environment import for_files

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return [Problem(where, f"{str(path)!r} cannot be read: {reason}")]
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

    conditions = {p.name: p.condition for p in space.parameters if p.condition is not None}
    if not conditions:
        return []
    stand_ins: dict[str, Any] = dict.fromkeys(facts, "1")
    template = for_commands().from_string(command)
    needed: dict[str, None] = {}
    for params in configurations:
        try:
            template.render({**stand_ins, **space.facts, **params})
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
