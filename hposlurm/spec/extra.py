"""Checks `slurm.extra`: sbatch options must not contradict those that hposlurm sets or relies on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hposlurm.errors import Problem
from hposlurm.spec.fields import quoted

_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# Options that hposlurm sets itself → the key of the study file, or the reason why there is none
_OWN: Mapping[str, str] = {
    **{key: f"use slurm.{key}" for key in ("account", "constraint", "exclude", "partition", "qos")},
    **dict.fromkeys(("cpus-per-task", "cpus-per-gpu"), "use resources.cpus_per_task"),
    **dict.fromkeys(
        ("gpus-per-node", "gpus", "gpus-per-task", "gpus-per-socket", "gres", "tres-per-task"),
        "use resources.gpus_per_node and resources.gpu_type",
    ),
    **dict.fromkeys(("mem", "mem-per-cpu", "mem-per-gpu"), "use resources.mem_gb"),
    "nodes": "use resources.nodes",
    **dict.fromkeys(("time", "time-min"), "use resources.time"),
    **dict.fromkeys(
        ("ntasks", "ntasks-per-node", "ntasks-per-core", "ntasks-per-gpu", "ntasks-per-socket"),
        "each trial is one task; trial.command may start more processes (torchrun)",
    ),
    "chdir": "use trial.workdir",
    **dict.fromkeys(("array", "hold", "dependency"), "hposlurm uses it to submit waves one after another"),
    "job-name": "hposlurm finds a wave by it",
    **dict.fromkeys(("output", "error", "open-mode"), "the logs are in the study's directory, for `hposlurm logs`"),
    "input": "jobs have no standard input; let trial.command read a file",
    "signal": "it warns trials before their time limit",
    **dict.fromkeys(
        ("requeue", "no-requeue"), "jobs are requeued, except where budget.gpu_hours would not count the cost"
    ),
    **dict.fromkeys(
        ("export", "export-file", "get-user-env"),
        "jobs get the environment of `launch`; set variables in slurm.setup or trial.command",
    ),
    **dict.fromkeys(
        ("test-only", "wait", "parsable", "quiet", "verbose", "help", "usage", "version"),
        "it changes what sbatch does or prints, and hposlurm reads that",
    ),
    "wrap": "use trial.command",
    **dict.fromkeys(("clusters", "cluster"), "hposlurm looks for the jobs only on this cluster"),
    **dict.fromkeys(("uid", "gid"), "hposlurm queries only your own jobs"),
}


def extra_problems(extra: Any) -> Iterator[Problem]:
    """Yields the problems of the options in `slurm.extra` and of their values."""
    for option, value in extra.items() if isinstance(extra, dict) else ():
        path, name = f"slurm.extra.{option}", str(option).replace("_", "-").lower()
        if not _OPTION.fullmatch(str(option)):
            yield Problem(path, f"{quoted(option)} is not a long option of sbatch (written without --)")
        elif name in _OWN:
            yield Problem(path, f"hposlurm sets --{name} itself, or relies on its absence", _OWN[name])
        # sbatch accepts unambiguous prefixes of options
        elif meant := next((own for own in sorted(_OWN) if own.startswith(name)), None):
            yield Problem(path, f"sbatch may take --{name} for --{meant}", _OWN[meant])
        elif value is False:
            yield Problem(path, "a false option is not passed to sbatch; remove it")
