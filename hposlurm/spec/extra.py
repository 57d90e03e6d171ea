"""Checks of `slurm.extra`: sbatch options that would contradict what hposlurm writes, or what it counts on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hposlurm.errors import Problem
from hposlurm.spec.fields import quoted

_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# Options that hposlurm writes itself → the key of the study file, or why there is none
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
        "every trial is one task; what it starts itself (torchrun) is up to trial.command",
    ),
    "chdir": "use trial.workdir",
    **dict.fromkeys(("array", "hold", "dependency"), "this is how a wave is submitted and the next one follows"),
    "job-name": "a wave is found again by it",
    **dict.fromkeys(("output", "error", "open-mode"), "the logs lie in the study's directory, for `hposlurm logs`"),
    "input": "nothing is read from there; let trial.command read a file",
    "signal": "trials are told of their time limit by it",
    **dict.fromkeys(
        ("requeue", "no-requeue"), "jobs are requeued, but where budget.gpu_hours would not see what that costs"
    ),
    **dict.fromkeys(
        ("export", "export-file", "get-user-env"),
        "jobs get the environment that `launch` is given; set variables in slurm.setup or trial.command",
    ),
    **dict.fromkeys(
        ("test-only", "wait", "parsable", "quiet", "verbose", "help", "usage", "version"),
        "it changes what sbatch does or says, which hposlurm waits for and reads",
    ),
    "wrap": "use trial.command",
    **dict.fromkeys(("clusters", "cluster"), "the jobs would be looked for on this cluster alone"),
    **dict.fromkeys(("uid", "gid"), "hposlurm asks for your own jobs alone"),
}


def extra_problems(extra: Any) -> Iterator[Problem]:
    """What is wrong with the options in `slurm.extra` and their values."""
    for option, value in extra.items() if isinstance(extra, dict) else ():
        path, name = f"slurm.extra.{option}", str(option).replace("_", "-").lower()
        if not _OPTION.fullmatch(str(option)):
            yield Problem(path, f"{quoted(option)} is no long option of sbatch (written without --)")
        elif name in _OWN:
            yield Problem(path, f"hposlurm sets --{name} itself, or counts on its not being set", _OWN[name])
        elif meant := next((own for own in sorted(_OWN) if own.startswith(name)), None):  # sbatch completes a beginning
            yield Problem(path, f"sbatch may take --{name} for --{meant}", _OWN[meant])
        elif value is False:
            yield Problem(path, "an option that is false is not given at all; take it out")
