"""A partition in which slurmctld itself refuses sbatch to jobs, although all nodes of the cluster are one machine.

slurmctld knows a host by the address that munged puts into every credential (AllocNode). Jobs of such a partition speak
through a munged of their own, which gives another address of the loopback network: to slurmctld they are on a host that
AllocNodes does not name.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ELSEWHERE = "127.0.0.2"
_DEADLINE_S = 30


@dataclass(frozen=True)
class Closed:
    """`slurm` is what a study says in that section to run there."""

    name: str
    conf: Path

    @property
    def slurm(self) -> dict[str, Any]:
        return {"partition": self.name, "setup": [f"export SLURM_CONF={self.conf}"]}

    def describe(self, directory: Path) -> None:
        """Leaves its name and its configuration there: srun gives the cluster's own configuration to every step."""
        (directory / "partition").write_text(self.name)
        (directory / "conf").write_text(str(self.conf))

    @classmethod
    @contextlib.contextmanager
    def partition(cls, conf: Path, directory: Path) -> Iterator[Closed]:
        """A partition of the cluster that `conf` configures; what it needs lies in `directory`."""
        name = f"closed{uuid.uuid4().hex[:6]}"
        shutil.copytree(conf.parent, directory)
        run = conf.parents[1] / "run"
        munge = Path(f"/tmp/{name}.munge")  # a socket's path must be short
        own = directory / conf.name
        own.write_text(own.read_text().replace(f"socket={run}/munge.socket", f"socket={munge}"))
        files = [f"--{what}-file={directory}/munged.{what}" for what in ("pid", "seed")]
        command = ["munged", "--foreground", f"--socket={munge}", f"--key-file={conf.parent}/munge.key", *files]
        daemon = subprocess.Popen([*command, f"--origin={_ELSEWHERE}", "--force"], stderr=subprocess.DEVNULL)
        try:
            _wait_for(munge, daemon)
            here = f"localhost,{socket.gethostname()}"
            _scontrol(conf, "create", f"PartitionName={name}", "Nodes=n[1-2]", f"AllocNodes={here}", "MaxTime=60")
            yield cls(name, own)
            _scontrol(conf, "delete", f"PartitionName={name}")
        finally:
            daemon.terminate()
            daemon.wait()
            munge.unlink(missing_ok=True)


def _wait_for(munge: Path, daemon: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not munge.exists():
        assert daemon.poll() is None and time.monotonic() < deadline, "munged does not come up"
        time.sleep(0.05)


def _scontrol(conf: Path, *words: str) -> None:
    done = subprocess.run(["scontrol", *words], env={"SLURM_CONF": str(conf), "PATH": "/usr/bin:/bin"})
    if (
        done.returncode and words[0] != "delete"
    ):  # its last jobs may still be in it; the cluster's next start forgets it
        sys.exit(f"scontrol {words}: {done.returncode}")
