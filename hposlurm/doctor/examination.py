"""Runs all checks in the order of the report. Writes nothing without a probe."""

from __future__ import annotations

import os
import re
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hposlurm.doctor import arrival, cluster, limits, mounts, policy, shell
from hposlurm.doctor.answers import Answers, ask_slurm, parse_nodes, parse_partitions
from hposlurm.doctor.concurrency import concurrency
from hposlurm.doctor.finding import (
    NOT_TRIED,
    SEE_CONTROLLER,
    Finding,
    FindingLevel,
    NoAnswerError,
    fail,
    unknown,
    within,
)
from hposlurm.doctor.job import ProbeRequest, run_probe
from hposlurm.errors import RequestError
from hposlurm.records.trees import remove_tree

_FILES_DEADLINE_S = 20.0
_RACE_DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True)
class Request:
    """The options of an examination."""

    #: The directory of all studies.
    root: Path
    #: None: the default partition.
    partition: str | None = None
    #: None: the default account.
    account: str | None = None
    #: True: processes write test files in `root`, and a probe job runs on a compute node.
    probe: bool = False
    #: How long to wait for the start of the probe job.
    wait_s: float = 120.0


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """The findings in order, and the duration of the examination."""

    request: Request
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def counts(self) -> dict[str, int]:
        return {verdict.value: sum(f.verdict is verdict for f in self.findings) for verdict in FindingLevel}

    def to_json(self) -> dict[str, object]:
        return {
            "root": str(self.request.root),
            "partition": self.request.partition,
            "probe": self.request.probe,
            "ok": not self.counts[FindingLevel.FAIL],
            "counts": self.counts,
            "seconds": round(self.seconds, 2),
            "findings": [finding.to_json() for finding in self.findings],
        }


def examine(request: Request, progress: Callable[[str], None]) -> DoctorReport:
    """Returns every finding. Calls `progress` with what is being waited for. Raises RequestError for a wrong name."""
    begin = time.monotonic()
    for option, value in (("--partition", request.partition), ("--account", request.account)):
        if value is not None and not re.fullmatch(r"[\w.@+-]+", value):
            raise RequestError(f"{option} takes one name, not {value!r}")
    answers = ask_slurm()
    slurm = _of_slurm(answers, request)
    files = _of_files(request.root, is_cluster=answers.has_slurm)
    if not request.probe:
        tried = _not_tried(answers, request)
    elif any(finding.verdict is FindingLevel.FAIL for finding in files):
        tried = [unknown(name, "not tested: see root, file system, space") for name in _names(answers)]
    else:
        tried = _of_probe(answers, request, progress)
        if any(finding.name == "node" and finding.verdict is FindingLevel.OK for finding in tried):
            files = _of_files(request.root, is_cluster=False)  # a node sees it, even if it looks local
    findings = [*slurm, *files, *tried, shell.shell(os.environ), shell.python()]
    return DoctorReport(request, tuple(findings), time.monotonic() - begin)


def _of_slurm(answers: Answers, request: Request) -> list[Finding]:
    found = [cluster.slurm(answers)]
    if answers.has_slurm:
        found += [
            cluster.controller(answers),
            cluster.partitions(answers, request.partition),
            limits.arrays(answers),
            limits.submit_limits(answers, _partition(answers, request)),
            limits.kill_wait(answers),
            policy.accounting(answers),
            policy.preemption(answers, request.partition),
        ]
    return found


def _partition(answers: Answers, request: Request) -> str | None:
    """Returns the requested partition, else the default one."""
    known = parse_partitions(answers.partitions.text)
    return request.partition or next((name for name, s in known.items() if s.get("Default") == "YES"), None)


def _of_files(root: Path, *, is_cluster: bool) -> list[Finding]:
    """Returns root, file_system and space. A deadline detects a file system whose server does not answer."""

    def look() -> list[Finding]:
        known = mounts.parse_mounts(Path("/proc/mounts").read_text()) if Path("/proc/mounts").exists() else []
        kind = mounts.file_system(root, known, is_cluster=is_cluster)
        return [mounts.root_directory(root), kind, mounts.space(root)]

    try:
        return within(_FILES_DEADLINE_S, look)
    except NoAnswerError as silence:
        why, advice = str(silence), "its file server does not answer: ask the administrator, or name another: --root"
    except OSError as error:
        why, advice = f"{error.strerror}: {error.filename}", "name another directory: --root, or HPOSLURM_RUNS"
    return [fail("root", f"{root}: {why}", advice), *(unknown(name, "see root") for name in ("file_system", "space"))]


def _names(answers: Answers) -> tuple[str, ...]:
    """Returns the names of the findings that need a probe."""
    return ("concurrency", *(arrival.NAMES if answers.has_slurm else ()))


def _not_tried(answers: Answers, request: Request) -> list[Finding]:
    known = {"job_sbatch": cluster.job_sbatch(answers, request.partition)}
    return [known.get(name) or unknown(name, NOT_TRIED) for name in _names(answers)]


def _of_probe(answers: Answers, request: Request, progress: Callable[[str], None]) -> list[Finding]:
    try:
        directory = Path(tempfile.mkdtemp(prefix=".hposlurm-doctor-", dir=mounts.existing_part(request.root)))
    except OSError as error:
        advice = "name another directory: --root, or HPOSLURM_RUNS"
        found = fail("concurrency", f"{error.strerror}: {error.filename}", advice)
        return [found, *(unknown(name, "not tested: see concurrency") for name in _names(answers)[1:])]
    try:
        found = _race(directory, progress)
        return [found, *(_of_job(answers, request, directory, progress) if answers.has_slurm else [])]
    finally:
        _remove(directory, progress)


def _race(directory: Path, progress: Callable[[str], None]) -> Finding:
    progress("processes append, link and rename in the study root …")
    try:
        return within(_RACE_DEADLINE_S, lambda: concurrency(directory))
    except NoAnswerError as silence:
        return fail("concurrency", str(silence), "the file system hangs: name another directory (--root)")


def _of_job(answers: Answers, request: Request, directory: Path, progress: Callable[[str], None]) -> list[Finding]:
    if answers.config.error:
        return [unknown(name, SEE_CONTROLLER) for name in arrival.NAMES]
    used = _partition(answers, request)
    gpus = any(node.facts.gpus for node in parse_nodes(answers.nodes.text) if node.facts.partition == used)
    named = {"partition": request.partition, "account": request.account}
    options = tuple((name, value) for name, value in named.items() if value)
    token = f"hposlurm-doctor-{uuid.uuid4().hex[:12]}"
    probe = ProbeRequest(directory, token, options, int(gpus), request.wait_s)
    try:
        return arrival.findings(probe, run_probe(probe, progress))
    except NoAnswerError as silence:
        advice = f"does the job exist (squeue --name {token}), and is the controller up (scontrol ping)?"
        found = fail("probe_job", f"sbatch: {silence}", advice)
        return [found, *(unknown(name, "not known: see probe job") for name in arrival.NAMES[1:])]


def _remove(directory: Path, progress: Callable[[str], None]) -> None:
    """Removes the directory. Retries, because NFS keeps a deleted file while a job still has its log open."""
    end = time.monotonic() + 10
    while directory.exists() and time.monotonic() < end:
        remove_tree(directory)
        if directory.exists():
            time.sleep(0.5)
    if directory.exists():
        progress(f"note: {directory} could not be removed completely; please remove it")
