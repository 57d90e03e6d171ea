"""Installs the Debian packages of Slurm where they are missing, without starting the services that come with them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.devcluster.errors import ClusterError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SLURM_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "sinfo")
SLURM_PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins")
ACCOUNTING_PROGRAMS = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb-admin", "mariadb-install-db")
ACCOUNTING_PACKAGES = ("slurmdbd", "slurm-wlm-mysql-plugin", "mariadb-server")
SERVICES = ("munge", "mariadb", "slurmctld", "slurmd", "slurmdbd")


def program(name: str) -> str:
    """The path of a program; raises ClusterError if it is not installed."""
    path = shutil.which(name, path=PATH)
    if path is None:
        raise ClusterError(f"{name} is not installed")
    return path


def install_missing(accounting: bool) -> None:
    """Installs what is not there yet; raises ClusterError where this is not Debian or Ubuntu, or apt-get fails."""
    programs = SLURM_PROGRAMS + (ACCOUNTING_PROGRAMS if accounting else ())
    missing = [name for name in programs if shutil.which(name, path=PATH) is None]
    if not missing:
        return
    if shutil.which("apt-get", path=PATH) is None:
        found = f"{', '.join(missing)} not found, and this is not Debian or Ubuntu"
        raise ClusterError(f"{found}: install Slurm and MariaDB by hand, then try again")
    packages = SLURM_PACKAGES + (ACCOUNTING_PACKAGES if accounting else ())
    print(f"installing {' '.join(packages)}", file=sys.stderr)
    were_there = [service for service in SERVICES if _has_service(service)]
    with _services_do_not_start():
        if _apt_get("install", "--no-install-recommends", *packages):
            _apt_get("update")
            if log := _apt_get("install", "--no-install-recommends", *packages):
                raise ClusterError(f"apt-get could not install {' '.join(packages)}:\n{log}")
    if Path("/run/systemd/system").is_dir():  # nor after the next boot
        new = [service for service in SERVICES if service not in were_there and _has_service(service)]
        subprocess.run(["systemctl", "disable", "--quiet", *new], check=False)


def _has_service(name: str) -> bool:
    return any(Path(folder, f"{name}.service").exists() for folder in ("/lib/systemd/system", "/etc/systemd/system"))


def _apt_get(*arguments: str) -> str:
    """Nothing if it went well, else the end of what it said."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", *arguments]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return "\n".join(done.stdout.splitlines()[-15:]) if done.returncode else ""


@contextlib.contextmanager
def _services_do_not_start() -> Iterator[None]:
    """policy-rc.d is Debian's own way to say so; one that is there already is respected."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)
