"""Runs all Slurm queries that the checks need, in parallel, and parses what backend.queries does not."""

from __future__ import annotations

import os
import pwd
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from hposlurm.backend.cluster_facts import NodeFacts, parse_sinfo
from hposlurm.backend.queries import SACCT_FORM, ask
from hposlurm.errors import BackendError

#: The commands that hposlurm calls. Without sacct it uses its own records.
NEEDED = ("sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
OPTIONAL = ("sacct", "sacctmgr")

_ASK_TIMEOUT_S = 15.0
_ASSOCIATION_FIELDS = ("Account", "Partition", "MaxJobs", "MaxSubmit", "GrpJobs", "GrpSubmit", "GrpTRES", "QOS")
_QOS_FIELDS = ("Name", "MaxJobsPU", "MaxSubmitPU", "MaxTRESPU", "MaxSubmitPA", "GrpSubmit", "GrpTRES")
_NODE_FORMAT = "%P|%N|%c|%m|%G|%T"
_AWAY = ("down", "drain", "fail", "maint", "reboot", "unknown", "inval")


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """The output of a command, or why there is none."""

    text: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to all queries."""

    #: The Slurm commands on the PATH.
    commands: frozenset[str] = frozenset()
    #: sinfo --version
    version: CommandAnswer = field(default_factory=CommandAnswer)
    #: scontrol show config
    config: CommandAnswer = field(default_factory=CommandAnswer)
    #: scontrol show partition -o
    partitions: CommandAnswer = field(default_factory=CommandAnswer)
    #: sinfo, one line per node and partition
    nodes: CommandAnswer = field(default_factory=CommandAnswer)
    #: squeue, the user's jobs
    queue: CommandAnswer = field(default_factory=CommandAnswer)
    #: sacct, the user's jobs of today
    sacct: CommandAnswer = field(default_factory=CommandAnswer)
    #: sacctmgr, the user's associations
    association: CommandAnswer = field(default_factory=CommandAnswer)
    #: sacctmgr, the limits of each QOS
    qos: CommandAnswer = field(default_factory=CommandAnswer)

    @property
    def has_slurm(self) -> bool:
        return bool(self.commands & set(NEEDED))

    @property
    def settings(self) -> Mapping[str, str]:
        """`scontrol show config` as a mapping; empty if it did not answer."""
        return parse_settings(self.config.text)


def ask_slurm() -> Answers:
    """Returns every answer, or why there is none, within little more than 15 s. Changes nothing in Slurm."""
    commands = frozenset(name for name in (*NEEDED, *OPTIONAL) if shutil.which(name))
    if not commands & set(NEEDED):
        return Answers()
    user = _user()
    questions = {
        "version": ("sinfo", "--version"),
        "config": ("scontrol", "show", "config"),
        "partitions": ("scontrol", "-a", "show", "partition", "-o"),
        "nodes": ("sinfo", "-a", "-h", "-N", "-o", _NODE_FORMAT),
        "queue": ("squeue", "-a", "-h", "--me", "-o", "%i|%T"),
        "sacct": ("sacct", "-u", user, *SACCT_FORM),
        "association": _sacctmgr("assoc", _ASSOCIATION_FIELDS, "where", f"user={user}"),
        "qos": _sacctmgr("qos", _QOS_FIELDS),
    }
    with ThreadPoolExecutor(len(questions)) as pool:
        return Answers(commands, **dict(zip(questions, pool.map(_answer, questions.values()), strict=True)))


def _answer(command: tuple[str, ...]) -> CommandAnswer:
    try:
        return CommandAnswer(ask(*command, timeout_s=_ASK_TIMEOUT_S))
    except BackendError as error:
        return CommandAnswer(error=last_line(str(error)))


def last_line(message: str) -> str:
    """Returns the command's name and the last line that it printed, which is why it failed."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if len(lines) < 2:
        return " ".join(message.split())
    return f"{lines[0].partition(':')[0]}: {re.sub(r'^[a-z_]+: (error|fatal): ', '', lines[-1])}"


def _sacctmgr(what: str, fields: tuple[str, ...], *condition: str) -> tuple[str, ...]:
    return ("sacctmgr", "-n", "-P", "show", what, *condition, f"format={','.join(fields)}")


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container whose /etc/passwd lacks the user
        return str(os.getuid())


def parse_settings(text: str) -> dict[str, str]:
    """Returns the values of `scontrol show config` by name; "(null)" becomes empty."""
    pairs = (line.partition("=") for line in text.splitlines() if re.match(r"\w+\s*=", line))
    return {name.strip(): "" if value.strip() in ("(null)", "N/A") else value.strip() for name, _, value in pairs}


def parse_partitions(text: str) -> dict[str, dict[str, str]]:
    """Returns the settings in `scontrol show partition -o` by partition, in Slurm's order."""
    found = {}
    for line in text.splitlines():
        settings = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if name := settings.get("PartitionName"):
            found[name] = settings
    return found


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node of a partition; `is_up` if it can run jobs, now or later, without an administrator."""

    facts: NodeFacts
    is_up: bool


def parse_nodes(text: str) -> list[NodeState]:
    """Returns the nodes in `sinfo -h -N -o %P|%N|%c|%m|%G|%T` with their states."""
    found = []
    for line in text.splitlines():
        row, _, state = line.strip().rpartition("|")
        word = state.lower()
        found += [NodeState(facts, not word.startswith(_AWAY) and "*" not in word) for facts in parse_sinfo(row)]
    return found


def parse_rows(text: str, fields: tuple[str, ...]) -> list[dict[str, str]]:
    """Returns one mapping per line of `sacctmgr -n -P`; ignores lines with another number of fields."""
    rows = (line.split("|") for line in text.splitlines())
    return [dict(zip(fields, row, strict=True)) for row in rows if len(row) == len(fields)]


def associations(answers: Answers) -> list[dict[str, str]]:
    """Returns the limits of the user's accounts by sacctmgr's field names; "" means no limit."""
    return parse_rows(answers.association.text, _ASSOCIATION_FIELDS)


def qualities(answers: Answers) -> dict[str, dict[str, str]]:
    """Returns the limits of each QOS by its name."""
    return {row["Name"]: row for row in parse_rows(answers.qos.text, _QOS_FIELDS)}
