"""Checks Slurm itself: its commands, its controller, its partitions, and sbatch inside jobs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from hposlurm.doctor.answers import NEEDED, Answers, NodeState, parse_nodes, parse_partitions
from hposlurm.doctor.finding import NOT_TRIED, SEE_CONTROLLER, Finding, fail, ok, unknown, warn
from hposlurm.errors import RequestError

_LINES_SHOWN = 6
#: The advice if planner jobs cannot submit the next wave.
BY_HAND = (
    "set slurm.driver: chain (all waves are submitted at launch), or foreground (`hposlurm launch` stays and submits "
    "them); or after each wave run `hposlurm resume STUDY` on a login node"
)


def slurm(answers: Answers) -> Finding:
    if not answers.has_slurm:
        advice = "on a cluster: load Slurm's module, or use a login node"
        return warn("slurm", "no Slurm here: only the local backend is available", advice)
    missing = [name for name in NEEDED if name not in answers.commands]
    version = answers.version.text.split()[-1:] or ["version not known"]
    if missing:
        return fail(
            "slurm", f"{version[0]}, but not on the PATH: {', '.join(missing)}", "load Slurm's module completely"
        )
    return ok("slurm", f"{version[0]}; {', '.join(sorted(answers.commands))}")


def controller(answers: Answers) -> Finding:
    advice = "is SLURM_CONF correct, is the controller up (scontrol ping), and may this host connect to it?"
    if answers.config.error:
        return fail("controller", answers.config.error, advice)
    if answers.queue.error:
        return fail("controller", answers.queue.error, advice)
    jobs = len(answers.queue.text.split())
    name = answers.settings.get("ClusterName", "?")
    return ok("controller", f"cluster {name} answers; {jobs} {'job' if jobs == 1 else 'jobs'} of yours in its queue")


def partitions(answers: Answers, wanted: str | None) -> Finding:
    """Checks the partitions and lists their nodes. Raises RequestError if the wanted partition does not exist."""
    known = parse_partitions(answers.partitions.text)
    nodes = parse_nodes(answers.nodes.text)
    if not answers.settings:
        return unknown("partitions", SEE_CONTROLLER)
    if not known or not nodes:
        why = answers.partitions.error or answers.nodes.error or "sinfo lists no node"
        return unknown("partitions", why, "ask the administrator which partitions you may use")
    if wanted and wanted not in known:
        raise RequestError(f"there is no partition {wanted!r} here; the partitions are {', '.join(sorted(known))}")
    lines = {name: _partition_line(name, settings, nodes) for name, settings in known.items()}
    order = sorted(lines, key=lambda name: (name != wanted, known[name].get("Default") != "YES"))
    alike: dict[str, list[str]] = {}
    for name in order:
        alike.setdefault(lines[name], []).append(name + "*" * (known[name].get("Default") == "YES"))
    rows = [f"{', '.join(names)}: {line}" for line, names in alike.items()]
    text = "\n".join(rows[:_LINES_SHOWN])
    if len(rows) > _LINES_SHOWN:
        text += f"\nand {sum(len(names) for names in list(alike.values())[_LINES_SHOWN:])} more (sinfo)"
    return _judge_partitions(text, known, nodes, wanted)


def _judge_partitions(
    text: str, known: dict[str, dict[str, str]], nodes: list[NodeState], wanted: str | None
) -> Finding:
    used = wanted or next((name for name, s in known.items() if s.get("Default") == "YES"), None)
    if used is None:
        return warn("partitions", text, "there is no default partition: set slurm.partition in the study file")
    mine = [node for node in nodes if node.facts.partition == used]
    if known[used].get("State", "UP") != "UP":
        return fail("partitions", text, f"partition {used} is {known[used]['State']}: choose another (slurm.partition)")
    if mine and not any(node.is_up for node in mine):
        return fail(
            "partitions", text, f"no node of partition {used} is up: choose another, or ask when its nodes return"
        )
    with_gpus = sorted({node.facts.partition for node in nodes if node.facts.gpus})
    if not with_gpus:
        return warn("partitions", text, "no partition shows GPUs: ask for GresTypes=gpu, or train on CPUs")
    if used not in with_gpus:
        advice = f"partition {used} has no GPUs: set slurm.partition to one that has GPUs: {', '.join(with_gpus[:4])}"
        return warn("partitions", text, advice)
    return ok("partitions", text)


def _partition_line(name: str, settings: dict[str, str], nodes: Sequence[NodeState]) -> str:
    mine = [node for node in nodes if node.facts.partition == name]
    up = sum(node.is_up for node in mine)
    count = f"{len(mine)} {'node' if len(mine) == 1 else 'nodes'}" + (f" ({up} up)" if up < len(mine) else "")
    kinds: dict[str, int] = {}
    for node in mine:
        for kind, gpus in node.facts.gpus.items():
            kinds[kind or "GPU"] = max(gpus, kinds.get(kind or "GPU", 0))
    have = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())) or "no GPUs"
    each = " each" if len(mine) > 1 and kinds else ""
    limit = settings.get("MaxTime", "UNLIMITED")
    longest = "no time limit" if limit == "UNLIMITED" else f"at most {limit}"
    return f"{count}, {have}{each}, {longest}"


def job_sbatch(answers: Answers, partition: str | None) -> Finding:
    """Checks without a probe from which nodes the partition accepts jobs."""
    known = parse_partitions(answers.partitions.text)
    used = partition or next((name for name, s in known.items() if s.get("Default") == "YES"), "")
    hosts = known.get(used, {}).get("AllocNodes", "ALL")
    if hosts not in ("ALL", "(null)"):
        advice = f"sbatch may be refused inside jobs there; --probe tests it. If it is: {BY_HAND}"
        return warn("job_sbatch", f"partition {used} accepts jobs only from {hosts}", advice)
    return unknown("job_sbatch", NOT_TRIED)
