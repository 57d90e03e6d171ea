"""Compares what the nodes of a study's partition have with what its trials request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hposlurm.backend import queries
from hposlurm.backend.cluster_facts import NodeFacts, parse_sinfo
from hposlurm.errors import Problem

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


def problems(spec: StudySpec) -> list[Problem]:
    """Returns the requests that no node of the study's partition can fulfil, and the partitions that do not exist.

    Raises BackendError if sinfo gives no answer.
    """
    facts = _node_facts()
    partitions = sorted({f.partition for f in facts})
    wanted = spec.slurm.partition
    nodes = _in_partition(spec, facts)
    if wanted and not nodes:
        message = f"there is no partition {wanted!r} here; there are {', '.join(partitions)}"
        return [Problem("slurm.partition", message)]
    planner = spec.slurm.planner
    if planner.partition and planner.partition not in partitions:
        message = f"there is no partition {planner.partition!r} here; there are {', '.join(partitions)}"
        return [Problem("slurm.planner.partition", message)]
    return _too_much(spec, nodes) if nodes else []


def fitting_nodes(spec: StudySpec) -> tuple[str, ...]:
    """Returns the nodes of the study's partition that have what one trial requests.

    Raises BackendError if sinfo gives no answer.
    """
    nodes = _in_partition(spec, _node_facts())
    return tuple(sorted({n.node for n in nodes if not _too_much(spec, [n])}))


def _node_facts() -> list[NodeFacts]:
    """Returns what every node has in each of its partitions; without -a sinfo leaves out hidden partitions."""
    return parse_sinfo(queries.ask("sinfo", "-a", "-h", "-N", "-o", "%P|%N|%c|%m|%G|%l"))


def _in_partition(spec: StudySpec, facts: Sequence[NodeFacts]) -> list[NodeFacts]:
    """Returns the nodes of the study's partitions; those of the default partition if it names none."""
    wanted = spec.slurm.partition
    return [f for f in facts if f.partition in wanted.split(",")] if wanted else [f for f in facts if f.is_default]


def _too_much(spec: StudySpec, nodes: Sequence[NodeFacts]) -> list[Problem]:
    resources = spec.resources
    where = f"partition {nodes[0].partition!r}"
    kind = resources.gpu_type
    if kind and not any(kind in node.gpus for node in nodes) and resources.gpus_per_node:
        kinds = sorted({k for node in nodes for k in node.gpus if k})
        return [
            Problem("resources.gpu_type", f"{where} has no GPUs of type {kind!r}; it has {', '.join(kinds) or 'none'}")
        ]
    most_gpus = max(node.gpus.get(kind, 0) if kind else sum(node.gpus.values()) for node in nodes)
    most_cpus, most_mem_mb = max(node.cpus for node in nodes), max(node.mem_mb for node in nodes)
    checks = [
        ("gpus_per_node", resources.gpus_per_node, most_gpus, "GPUs"),
        ("cpus_per_task", resources.cpus_per_task, most_cpus, "CPUs"),
        ("mem_gb", resources.mem_gb or 0, most_mem_mb / 1024, "GiB of memory"),
        ("time", resources.time_min, max(node.time_limit_min for node in nodes), "minutes as its limit"),
    ]
    return [
        Problem(
            f"resources.{name}",
            f"{asked:g} requested, but the largest node of {where} has {most:g} {unit}",
            "see sinfo -N -l",
        )
        for name, asked, most, unit in checks
        if asked > most
    ]
