"""Parses what a cluster has and allows: nodes, GPUs, time limits, the length of an array."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """The resources of one node in one partition."""

    partition: str
    node: str
    #: True if the partition is the cluster's default.
    is_default: bool
    cpus: int
    mem_mb: int
    #: The number of GPUs by type; "" for those without a type.
    gpus: dict[str, int]
    #: The partition's time limit.
    time_limit_min: float = math.inf


def parse_sinfo(text: str) -> list[NodeFacts]:
    """Parses the output of `sinfo -h -N -o %P|%N|%c|%m|%G|%l`: one entry per node and partition.

    The last field may be missing.
    """
    facts = []
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) not in (5, 6):
            continue
        partition, node, cpus, mem, gres = fields[:5]
        if not (cpus.rstrip("+").isdecimal() and mem.rstrip("+").isdecimal()):
            continue
        numbers = int(cpus.rstrip("+")), int(mem.rstrip("+"))
        limit = slurm_minutes(fields[5]) if len(fields) == 6 else math.inf
        name, is_default = partition.rstrip("*"), partition.endswith("*")
        facts.append(NodeFacts(name, node, is_default, *numbers, gpus_in_gres(gres), limit))
    return facts


def slurm_minutes(text: str) -> float:
    """Returns the minutes in Slurm's "[days-]hours:minutes:seconds" or "minutes:seconds".

    Returns infinity for "infinite" and "n/a".
    """
    days, _, clock = text.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in parts) or not (days or "0").isdigit():
        return math.inf
    hours, minutes, seconds = ([0, 0, 0] + [int(part) for part in parts])[-3:]
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60


def gpus_in_gres(gres: str) -> dict[str, int]:
    """Returns the number of GPUs by type in "gpu:v100:4(S:0-1),gpu:a100:2,nic:1"."""
    found: dict[str, int] = {}
    for part in re.sub(r"\([^)]*\)", "", gres).split(","):
        fields = part.split(":")
        if fields[0] == "gpu" and fields[-1].isdigit():
            kind = fields[1] if len(fields) == 3 else ""
            found[kind] = found.get(kind, 0) + int(fields[-1])
    return found


def max_array_size(config: str) -> int:
    """Returns MaxArraySize, the limit for index + 1, from `scontrol show config`; 1001, the default, if not shown."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", config, re.MULTILINE)
    return int(found.group(1)) if found else 1001


def kill_wait_s(config: str) -> int:
    """Returns KillWait, the seconds from SIGTERM to SIGKILL, in `scontrol show config`; 30, the default, if absent."""
    found = re.search(r"^KillWait\s*=\s*(\d+)", config, re.MULTILINE)
    return int(found.group(1)) if found else 30
