"""The directory of a cluster: who may pass, what the daemons read, and what a later call must know."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
from dataclasses import asdict
from pathlib import Path

from tests.devcluster.conf import Shape, config_files
from tests.devcluster.errors import ClusterError


def prepare(root: Path) -> None:
    """Makes the directory of a cluster; raises ClusterError if what is there is somebody else's."""
    with contextlib.suppress(FileExistsError):
        root.mkdir(parents=True)
    if root.is_symlink() or not root.is_dir() or root.stat().st_uid != 0:
        raise ClusterError(f"{root} is not a directory that belongs to root; choose another --root")
    if not (root / "etc").is_dir() and any(p.name != "lock" for p in root.iterdir()):
        raise ClusterError(f"{root} is not empty and holds no cluster; choose another --root")
    # Other users pass through to slurm.conf, munge's socket and the script of their job; nothing else is theirs.
    open_to_all = {"": 0o711, "etc": 0o711, "run": 0o711, "spool": 0o711, "gpu": 0o711}
    for name, mode in {**open_to_all, "log": 0o700, "state": 0o700, "mysql": 0o700, "tmp": 0o700}.items():
        (root / name).mkdir(exist_ok=True)
        (root / name).chmod(mode)


def stored_shape(root: Path) -> Shape | None:
    """The shape that `up` last gave to the cluster, or None if there never was one."""
    try:
        return Shape(**json.loads((root / "etc" / "cluster.json").read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise ClusterError(f"{root}/etc/cluster.json is damaged ({error}); remove {root}") from error


def write_config(root: Path, shape: Shape, version: str) -> None:
    """Writes everything that the daemons read; `version` is what `slurmctld -V` says."""
    etc = root / "etc"
    for i in range(shape.gpus):
        _make_device(root / "gpu" / f"v100_{i}")
    if not (etc / "munge.key").exists():
        _write(etc / "munge.key", os.urandom(1024), 0o400)
    host = socket.gethostname().split(".")[0]
    for name, (text, mode) in config_files(root, shape, host, version).items():
        _write(etc / name, text.encode(), mode)
    _write(etc / "cluster.json", json.dumps(asdict(shape)).encode(), 0o600)


def _make_device(path: Path) -> None:
    """A fake card: Slurm gives jobs CUDA_VISIBLE_DEVICES for character devices only; this one is like /dev/null."""
    with contextlib.suppress(FileExistsError):
        try:
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError as error:
            hint = "a container needs the capability MKNOD, or use --gpus 0"
            raise ClusterError(f"{path} cannot be made ({error}); {hint}") from error


def _write(path: Path, data: bytes, mode: int) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    path.chmod(mode)
