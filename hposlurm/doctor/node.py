"""Runs inside the probe job: checks the compute node and records the results. Standard library only.

`python -m hposlurm.doctor.node DIRECTORY TOKEN [sbatch options]`. Appends one line per part to `node.jsonl`, the slow
parts last, so that a job that ends early has recorded the fast ones.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hposlurm import __version__
from hposlurm.backend.queries import ask, scrubbed_environment, submitted_id
from hposlurm.doctor.mounts import mount_of, parse_mounts
from hposlurm.errors import BackendError, LimitError
from hposlurm.records.journal import append, open_journal

_SBATCH_TIMEOUT_S = 20.0
_TORCH_TIMEOUT_S = 45.0


def look(directory: Path, token: str, options: Sequence[str]) -> None:
    """Appends one record per part to `node.jsonl`: "node", "sbatch", "torch"."""
    fd = open_journal(directory / "node.jsonl")
    append(fd, {"part": "node", **_node(directory)})
    append(fd, {"part": "sbatch", **_sbatch(token, options)})
    append(fd, {"part": "torch", **_torch()})
    os.close(fd)


def _node(directory: Path) -> dict[str, Any]:
    temporary = Path(tempfile.gettempdir()).resolve()
    mount = mount_of(temporary, parse_mounts(Path("/proc/mounts").read_text()))
    return {
        "host": socket.gethostname(),
        "name": os.environ.get("SLURMD_NODENAME", ""),
        "python": platform.python_version(),
        "version": __version__,
        "token": (directory / "token").read_text().strip(),
        "gpu_ids": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "has_driver": Path("/proc/driver/nvidia/version").exists(),
        "tmpdir": str(temporary),
        "tmpdir_kind": mount.kind if mount else "",
        "tmpdir_free": shutil.disk_usage(temporary).free,
    }


def _sbatch(token: str, options: Sequence[str]) -> dict[str, Any]:
    """Submits a job on hold and cancels it: the only way to know whether this node may submit."""
    held = ["--parsable", "--hold", f"--job-name={token}", "--time=1", "--output=/dev/null", *options, "--wrap=true"]
    try:
        with scrubbed_environment():
            job_id = submitted_id(ask("sbatch", *held, timeout_s=_SBATCH_TIMEOUT_S))
            ask("scancel", "--quiet", job_id, timeout_s=_SBATCH_TIMEOUT_S)
    except BackendError as error:
        return {"error": " ".join(str(error).split()), "is_limit": isinstance(error, LimitError)}
    return {"job_id": job_id}


def _torch() -> dict[str, Any]:
    """Returns the output of integrations.torch_facts; {"error": …} if it crashes or takes too long."""
    command = [sys.executable, "-P", "-m", "hposlurm.integrations.torch_facts"]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=_TORCH_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return {"error": f"importing torch took longer than {_TORCH_TIMEOUT_S:g} s", "is_slow": True}
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"importing torch ended with exit status {done.returncode}"]
        return {"error": last[0]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    look(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
