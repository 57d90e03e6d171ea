"""The configuration files of a simulated cluster as pure text: nothing here touches the machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# Every process of a cluster carries this variable with the cluster's root: daemons from the start, jobs by TaskProlog.
MARK = "HPOSLURM_CLUSTER"
PARTITIONS = ("batch", "grace", "urgent")
NODE_MEMORY_MB = 64000
KILL_WAIT_S = 5


@dataclass(frozen=True)
class Shape:
    """What a cluster consists of. `port` is the first of the `ports` consecutive ones that it listens on."""

    nodes: int = 4
    gpus: int = 4
    cpus: int = 8
    accounting: bool = True
    port: int = 0

    @property
    def ports(self) -> int:
        return 2 + self.nodes

    @property
    def node_names(self) -> list[str]:
        return [f"n{i}" for i in range(1, self.nodes + 1)]


def config_files(root: Path, shape: Shape, host: str, version: str) -> dict[str, tuple[str, int]]:
    """Name, text and mode of every file in the cluster's etc/. `version` is what `slurmctld -V` says."""
    return {
        "slurm.conf": (slurm_conf(root, shape, host), 0o644),
        "gres.conf": (gres_conf(root, shape), 0o644),
        "cgroup.conf": (cgroup_conf(version), 0o644),
        "slurmdbd.conf": (slurmdbd_conf(root, shape, host), 0o600),
        "my.cnf": (my_cnf(root), 0o600),
        "task-prolog": (f'#!/bin/sh\necho "export {MARK}={root}"\n', 0o755),
    }


def slurm_conf(root: Path, shape: Shape, host: str) -> str:
    accounting = f"""\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={shape.port + 1}
AccountingStoragePass={root}/run/munge.socket
AccountingStorageTRES=gres/gpu
"""
    return f"""\
ClusterName=hposlurm
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={shape.port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# cred_expire is also how long a requeued job waits before it starts again (120 s by default)
AuthInfo=socket={root}/run/munge.socket,cred_expire=20
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/run/slurmctld.pid
SlurmdPidFile={root}/run/slurmd-%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={root}/etc/task-prolog
MpiDefault=none
PropagateResourceLimits=NONE
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU={NODE_MEMORY_MB // shape.cpus}
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
GresTypes=gpu
{accounting if shape.accounting else ""}JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
JobRequeue=1
KillWait={KILL_WAIT_S}
MinJobAge=300
MaxJobCount=50000
MaxArraySize=1001
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdParameters=config_overrides
# All nodes are one machine, which training may keep busy: slow must not be taken for dead.
MessageTimeout=30
TCPTimeout=10
BatchStartTimeout=60
SlurmctldTimeout=60
SlurmdTimeout=60
{_nodes(shape, host)}
{_partitions(shape)}
"""


def _nodes(shape: Shape, host: str) -> str:
    gres = f"Gres=gpu:v100:{shape.gpus} " if shape.gpus else ""
    hardware = f"CPUs={shape.cpus} Sockets=1 CoresPerSocket={shape.cpus} ThreadsPerCore=1 RealMemory={NODE_MEMORY_MB}"
    return "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} {hardware} {gres}State=UNKNOWN"
        for port, name in enumerate(shape.node_names, start=shape.port + 2)
    )


def _partitions(shape: Shape) -> str:
    special = {
        "batch": "PriorityTier=1 Default=YES",
        "grace": "PriorityTier=1 GraceTime=10",
        "urgent": "PriorityTier=10",
    }
    common = f"Nodes=n[1-{shape.nodes}] MaxTime=24:00:00 State=UP"
    return "\n".join(f"PartitionName={name} {common} {special[name]}" for name in PARTITIONS)


def gres_conf(root: Path, shape: Shape) -> str:
    if not shape.gpus:
        return "AutoDetect=off\n"
    return f"AutoDetect=off\nNodeName=n[1-{shape.nodes}] Name=gpu Type=v100 File={root}/gpu/v100_[0-{shape.gpus - 1}]\n"


def cgroup_conf(version: str) -> str:
    """Nothing here uses cgroups, but slurmd loads a plugin for them all the same.

    The one for version 1 touches nothing as long as it is not asked to; the one for version 2 wants to write where
    containers often may not. From 24.05 on it can be done without.
    """
    year, month = (int(part) for part in re.findall(r"\d+", version)[:2])
    return "CgroupPlugin=disabled\n" if (year, month) >= (24, 5) else "CgroupPlugin=cgroup/v1\n"


def slurmdbd_conf(root: Path, shape: Shape, host: str) -> str:
    """The database is found by its socket (MYSQL_UNIX_PORT), which only root can reach: no port and no password."""
    return f"""\
AuthType=auth/munge
AuthInfo=socket={root}/run/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={shape.port + 1}
SlurmUser=root
LogFile={root}/log/slurmdbd.log
PidFile={root}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
"""


def my_cnf(root: Path) -> str:
    """The database server's configuration, with a tmpdir of its own.

    As it starts it removes all `#sql*` files there, those of one that starts beside it too (MariaDB 10.11: "Could not
    remove temporary table", and the installation of the other one is aborted).
    """
    return f"""\
[mysqld]
datadir={root}/mysql
tmpdir={root}/tmp
socket={root}/mysql/socket
pid-file={root}/run/mariadbd.pid
log-error={root}/log/mariadbd.log
skip-networking
user=root
innodb_buffer_pool_size=128M
innodb_log_file_size=32M
innodb_flush_log_at_trx_commit=2
innodb_lock_wait_timeout=900
"""
