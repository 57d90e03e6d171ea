"""A real Slurm on one machine: munge, MariaDB, slurmdbd, slurmctld and one slurmd per simulated node.

  scripts/slurm-cluster up       installs the packages where they are missing, starts what does not run, mends the
                                 rest; ends with the line "export SLURM_CONF=…" (the only one on stdout)
  scripts/slurm-cluster status   daemons, partitions and nodes; exit status 0 if the cluster is up, 1 if it is not
  scripts/slurm-cluster down     cancels the jobs and stops every process of the cluster; logs and accounts stay

Nodes n1 … nN have 64 GB, --cpus cores and --gpus fake V100s each (gres gpu:v100; jobs that ask for some get
CUDA_VISIBLE_DEVICES, there is no card behind it). Partitions: batch (default), grace (10 s of grace when preempted),
urgent (preempts both: requeue). Clusters with different roots run side by side. For development and teaching, as root
on Debian or Ubuntu; no systemd needed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from tests.devcluster.cluster import MAX_NODES, Cluster
from tests.devcluster.errors import ClusterError

DEFAULT_ROOT = "/var/tmp/hposlurm-cluster"
# Paths of Unix sockets end at 107 bytes, and slurmstepd appends "/spool/n64/n64_1234567.4294967291" to the root.
MAX_ROOT_LENGTH = 70


def root_directory(text: str) -> Path:
    path = Path(text).absolute()
    if len(str(path)) > MAX_ROOT_LENGTH:
        raise argparse.ArgumentTypeError(
            f"{path} is longer than {MAX_ROOT_LENGTH} characters, too long for Slurm's sockets"
        )
    if not re.fullmatch(r"/[A-Za-z0-9._/-]+", str(path)):
        raise argparse.ArgumentTypeError(f"{text!r}: letters, digits and . _ - / only, as it goes into slurm.conf")
    return path


def number(low: int, high: int):
    def parse(text: str) -> int:
        if not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low} to {high}")
        return int(text)

    return parse


def parser() -> argparse.ArgumentParser:
    summary, _, details = __doc__.partition("\n\n")
    top = argparse.ArgumentParser(
        prog="slurm-cluster", description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument("verb", choices=["up", "down", "status"])
    top.add_argument(
        "--root", type=root_directory, default=Path(DEFAULT_ROOT), help=f"its directory (default: {DEFAULT_ROOT})"
    )
    shape = top.add_argument_group("for up", argument_default=argparse.SUPPRESS)
    shape.add_argument("--nodes", type=number(1, MAX_NODES), metavar="N", help="simulated nodes (default: 4)")
    shape.add_argument("--gpus", type=number(0, 64), metavar="N", help="fake V100s of each node (default: 4)")
    shape.add_argument(
        "--cpus", type=number(1, 256), metavar="N", help="cores that each node claims to have (default: 8)"
    )
    shape.add_argument(
        "--no-accounting", dest="accounting", action="store_false", help="no MariaDB, no slurmdbd, no sacct"
    )
    return top


def main() -> int:
    arguments = vars(parser().parse_args())
    verb, cluster = arguments.pop("verb"), Cluster(arguments.pop("root"))
    if os.geteuid() != 0:
        print(f"slurm-cluster: Slurm's daemons need root; try: sudo {sys.argv[0]} {verb}", file=sys.stderr)
        return 1
    try:
        if verb == "up":
            started = cluster.up(arguments)
            print(f"started: {', '.join(started)}" if started else "everything was running", file=sys.stderr)
            print(f"export SLURM_CONF={cluster.conf}")
        elif verb == "down":
            stopped = cluster.down()
            print(
                f"stopped: {', '.join(stopped)}" if stopped else f"nothing of {cluster.root} was running",
                file=sys.stderr,
            )
        else:
            text, is_up = cluster.status()
            print(text)
            return 0 if is_up else 1
    except ClusterError as error:
        print(f"slurm-cluster: {error}", file=sys.stderr)
        return 1
    return 0
