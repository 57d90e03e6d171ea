"""What Slurm 22.05 printed, shortened; and Answers made of it."""

from __future__ import annotations

from dataclasses import replace

from hposlurm.doctor.answers import NEEDED, Answers, CommandAnswer

CONFIG = """\
Configuration data as of 2026-11-21T09:58:54
AccountingStorageEnforce = associations,limits,qos
AccountingStorageTRES   = cpu,mem,energy,node,billing,fs/disk,vmem,pages,gres/gpu
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = hposlurm
JobRequeue              = 1
KillWait                = 30 sec
MaxArraySize            = 1001
MaxJobCount             = 10000
MinJobAge               = 300 sec
PreemptMode             = REQUEUE
PreemptParameters       = (null)
PreemptType             = preempt/partition_prio
SchedulerParameters     = sched_interval=2,bf_interval=2
SLURM_VERSION           = 22.05.8

Slurmctld(primary) at vm is UP
"""
PARTITIONS = """\
PartitionName=batch AllocNodes=ALL Default=YES QoS=N/A GraceTime=0 MaxTime=1-00:00:00 PriorityTier=1 PreemptMode=REQUEUE State=UP
PartitionName=grace AllocNodes=ALL Default=NO QoS=N/A GraceTime=120 MaxTime=1-00:00:00 PriorityTier=1 PreemptMode=REQUEUE State=UP
PartitionName=urgent AllocNodes=ALL Default=NO QoS=rush GraceTime=0 MaxTime=UNLIMITED PriorityTier=10 PreemptMode=REQUEUE State=UP
"""  # noqa: E501
NODES = """\
batch*|n1|8|64000|gpu:v100:4(S:0-1)|idle
batch*|n2|8|64000|gpu:v100:4(S:0-1)|mixed-
grace|n1|8|64000|gpu:v100:4(S:0-1)|idle
grace|n2|8|64000|gpu:v100:4(S:0-1)|down*
urgent|n3|16|128000|(null)|drained
"""
ASSOCIATION = "k01||50|200||||normal,long\nk02|urgent||20||||rush\n"
QOS = "normal|||gres/gpu=8|||\nrush||5||||\nother||1||||\n"


def answers(**changes: str) -> Answers:
    """A cluster that answers everything, with these texts instead; "!words" is an error."""
    texts = {
        "version": "slurm-wlm 22.05.8\n",
        "config": CONFIG,
        "partitions": PARTITIONS,
        "nodes": NODES,
        "queue": "7|RUNNING\n",
        "sacct": "",
        "association": ASSOCIATION,
        "qos": QOS,
        **changes,
    }
    given = {
        name: CommandAnswer(error=text[1:]) if text.startswith("!") else CommandAnswer(text)
        for name, text in texts.items()
    }
    return Answers(frozenset({*NEEDED, "sacct", "sacctmgr"}), **given)


def without(*commands: str) -> Answers:
    full = answers()
    return replace(full, commands=full.commands - set(commands))


def config(**settings: str) -> Answers:
    """A cluster whose configuration has these values instead."""
    lines = [line for line in CONFIG.splitlines() if line.split("=")[0].strip() not in settings]
    return answers(config="\n".join([*lines, *(f"{name} = {value}" for name, value in settings.items())]))
