"""Collects what is known about where an attempt runs: job, host, GPUs, the version of the code."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hposlurm.records.reading import read_whole

_COMMIT = re.compile(r"[0-9a-f]{40,64}")


@dataclass(frozen=True, slots=True)
class Facts:
    """Where an attempt runs. `gpu_ids` are the node's own numbers of its GPUs, where they are known."""

    host: str
    job_id: str
    restart: int
    gpus: int
    gpu_ids: str
    git_commit: str | None


def gather(environ: Mapping[str, str], planned_gpus: int, workdir: Path) -> Facts:
    """Reads the facts from the variables of Slurm and of the backends."""
    visible = environ.get("CUDA_VISIBLE_DEVICES") or environ.get("SLURM_JOB_GPUS")
    return Facts(
        host=environ.get("SLURMD_NODENAME") or os.uname().nodename,
        job_id=_job_id(environ),
        restart=_number(environ.get("SLURM_RESTART_COUNT"), 0),
        gpus=_number(environ.get("HPOSLURM_GPUS"), planned_gpus if visible else 0),
        gpu_ids=_first(environ, "HPOSLURM_GPU_IDS", "SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES"),
        git_commit=git_commit(workdir),
    )


def _job_id(environ: Mapping[str, str]) -> str:
    """The job id; the backend's own variable wins, as a local study may be driven from inside an array element."""
    if given := environ.get("HPOSLURM_JOB_ID"):
        return given
    array, task = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else environ.get("SLURM_JOB_ID", "")


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((environ[name] for name in names if name in environ), "")


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdecimal() else otherwise


def git_commit(directory: Path) -> str | None:
    """Returns the commit that is checked out around `directory`; None if there is none or it cannot be read.

    Reads git's files: git itself may be missing on a compute node, and is slow on a shared file system.
    """
    try:
        for folder in (directory, *directory.parents):
            if (folder / ".git").exists():
                return _head(folder / ".git")
    except (OSError, ValueError):
        pass
    return None


def _head(git: Path) -> str | None:
    if git.is_file():  # a worktree or a submodule
        git = git.parent / _text(git).removeprefix("gitdir:").strip()
    common = git / _text(git / "commondir") if (git / "commondir").exists() else git
    head = _text(git / "HEAD")
    if not head.startswith("ref:"):
        return head if _COMMIT.fullmatch(head) else None
    name = head.removeprefix("ref:").strip()
    for place in (git, common):
        if (place / name).is_file():
            return _text(place / name)
    packed = _text(common / "packed-refs").splitlines() if (common / "packed-refs").exists() else []
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), None)


def _text(path: Path) -> str:
    return read_whole(path).decode().strip()
