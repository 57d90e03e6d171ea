"""The Slurm side of the Backend seam: job arrays from our templates, through submitit; questions in one batch each."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hposlurm import __version__
from hposlurm.backend import queries
from hposlurm.backend.base import ArrayJob, ElementState, Script, Usage, WaveRequest
from hposlurm.errors import BackendError, Problem
from hposlurm.files import publish
from hposlurm.render import script, template_text

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# A job that ends by itself before its limit can save; USR2 may come up to 60 s early (sbatch(1), --signal).
_SIGNAL_S = 120
# What a worker needs between the end of its command and SIGKILL, to write its record
_RECORD_S = 3


class SlurmBackend:
    """Waves as job arrays, planner jobs on `afterany`; nothing of it lives on the login node."""

    name = "slurm"
    is_foreground = False

    @cached_property
    def _config(self) -> str:
        """What `scontrol show config` says; empty where it does not answer (--dry-run): Slurm's defaults hold then."""
        try:
            return queries.ask("scontrol", "show", "config")
        except BackendError:
            return ""

    @cached_property
    def max_array_size(self) -> int:
        """How many elements one array can have here."""
        return queries.max_array_size(self._config)

    def problems(self, spec: StudySpec) -> list[Problem]:
        """What no node of the study's partition has. Raises BackendError if sinfo gives no answer."""
        facts = queries.parse_sinfo(queries.ask("sinfo", "-h", "-N", "-o", "%P|%N|%c|%m|%G"))
        partitions = sorted({f.partition for f in facts})
        wanted = spec.slurm.partition
        nodes = [f for f in facts if f.partition in wanted.split(",")] if wanted else [f for f in facts if f.is_default]
        if wanted and not nodes:
            message = f"there is no partition {wanted!r} here; there are {', '.join(partitions)}"
            return [Problem("slurm.partition", message)]
        return _capacity_problems(spec, nodes) if nodes else []

    def wave_size(self, spec: StudySpec) -> int:
        return spec.waves.max_concurrent or 4

    def _chunks(self, request: WaveRequest) -> list[tuple[int, int]]:
        return queries.chunks(request.count, self.max_array_size)

    def scripts(self, request: WaveRequest) -> list[Script]:
        parts = self._chunks(request)
        wave = request.layout.wave(request.wave)
        arrays = [Script(wave.script(i).name, self._trial_script(request, i)) for i in range(len(parts))]
        after = [f"ARRAY_{i}" for i in range(len(parts))]
        return [*arrays, Script(wave.planner_script.name, self._planner_script(request, after))]

    def submit(self, request: WaveRequest) -> list[ArrayJob]:
        from hposlurm.backend.executor import ScriptExecutor

        wave = request.layout.wave(request.wave)
        wave.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        executor = ScriptExecutor(wave.logs)
        arrays: list[ArrayJob] = []
        known = {array.offset: array for array in self._find(request)} if wave.script().exists() else {}
        for chunk, (offset, count) in enumerate(self._chunks(request)):
            if offset not in known:
                text = self._trial_script(request, chunk)
                publish(wave.script(chunk), text.encode())
                known[offset] = ArrayJob(self._submit_or_undo(executor, text, arrays), offset, count)
            arrays.append(known[offset])
        return arrays

    def _submit_or_undo(self, executor: object, text: str, arrays: Sequence[ArrayJob]) -> str:
        """Half a wave is no wave: a chunk that is refused takes the held ones before it back."""
        try:
            return str(executor.submit_script(text))  # type: ignore[attr-defined]
        except BackendError:
            self.cancel([array.job_id for array in arrays])
            raise

    def _find(self, request: WaveRequest) -> list[ArrayJob]:
        parts = self._chunks(request)
        names = {job_name(request, i): part for i, part in enumerate(parts)}
        text = queries.ask("squeue", "-h", "--me", f"--name={','.join(names)}", "-o", "%F|%j")
        found = {name: job_id for job_id, _, name in (line.strip().partition("|") for line in text.splitlines())}
        return [ArrayJob(found[name], *part) for name, part in names.items() if name in found]

    def submit_planner(self, request: WaveRequest, arrays: Sequence[ArrayJob]) -> str | None:
        from hposlurm.backend.executor import ScriptExecutor

        wave = request.layout.wave(request.wave)
        text = self._planner_script(request, [array.job_id for array in arrays])
        publish(wave.planner_script, text.encode())
        return ScriptExecutor(wave.logs).submit_script(text)

    def release(self, arrays: Sequence[ArrayJob]) -> None:
        try:
            queries.ask("scontrol", "release", ",".join(array.job_id for array in arrays))
        except BackendError as error:
            if "already finished" not in str(error):
                raise

    def cancel(self, job_ids: Sequence[str]) -> None:
        if job_ids:
            queries.ask("scancel", "--quiet", *job_ids)

    def states(self, job_ids: Sequence[str]) -> Mapping[str, ElementState]:
        arrays = sorted({job_id.partition("_")[0] for job_id in job_ids})
        if not arrays:
            return {}
        try:
            text = queries.ask("squeue", "-h", "-r", "-t", "all", "-j", ",".join(arrays), "-o", "%i|%T|%r")
        except BackendError as error:
            if "Invalid job id" not in str(error):  # gone from the controller's memory (MinJobAge)
                raise
            text = ""
        found = queries.parse_squeue(text)
        if any(job_id not in found for job_id in job_ids):
            ended = {job_id: ElementState(runs[-1].state) for job_id, runs in (self.usage(arrays) or {}).items()}
            found = {**ended, **found}
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}

    def usage(self, array_ids: Sequence[str]) -> Mapping[str, Sequence[Usage]] | None:
        try:
            # -D: without it only the last run of a requeued job is shown, and earlier GPU hours vanish
            form = ("-n", "-P", "-X", "-D", "-o", "JobID,State,ElapsedRaw,AllocTRES,NodeList")
            return queries.parse_sacct(queries.ask("sacct", "-j", ",".join(array_ids), *form))
        except BackendError:
            return None  # switched off or out of reach: the workers' own records hold

    def wait(self, arrays: Sequence[ArrayJob]) -> None:
        raise NotImplementedError("Slurm runs its arrays without being waited for")

    def _trial_script(self, request: WaveRequest, chunk: int) -> str:
        spec, wave = request.spec, request.layout.wave(request.wave)
        offset, count = self._chunks(request)[chunk]
        own = Path(spec.slurm.template) if spec.slurm.template else None
        values = {
            **_common_values(request),
            "job_name": job_name(request, chunk),
            "count": count,
            "offset": offset,
            "max_concurrent": queries.shares(spec.waves.max_concurrent, len(self._chunks(request)))[chunk],
            "logs": wave.logs,
            "log_out": _sbatch_word(wave.logs / "%A_%a_0_log.out"),
            "log_err": _sbatch_word(wave.logs / "%A_%a_0_log.err"),
            "hold": True,
            "nodes": spec.resources.nodes,
            "gpus": spec.resources.gpus_per_node * spec.resources.nodes,
            "gpus_per_node": spec.resources.gpus_per_node,
            "gpu_type": spec.resources.gpu_type,
            "cpus_per_task": spec.resources.cpus_per_task,
            "mem_gb": spec.resources.mem_gb,
            "time_min": spec.resources.time_min,
            "grace_s": max(1, queries.kill_wait_s(self._config) - _RECORD_S),
            "signal_s": min(_SIGNAL_S, max(10, spec.resources.time_min * 6)),
            "sbatch_options": _sbatch_options(spec, spec.slurm.partition),
        }
        return script(template_text("trial.sbatch.j2", own), str(own or "templates/trial.sbatch.j2"), values)

    def _planner_script(self, request: WaveRequest, after: Sequence[str]) -> str:
        planner = request.spec.slurm.planner
        options = _sbatch_options(request.spec, planner.partition or request.spec.slurm.partition, for_planner=True)
        values = {
            **_common_values(request),
            "job_name": planner_name(request),
            "after": after,
            "log": _sbatch_word(request.layout.wave(request.wave).logs / "planner-%j.log"),
            "cpus_per_task": planner.cpus_per_task,
            "mem_gb": planner.mem_gb,
            "time_min": planner.time_min,
            "sbatch_options": options,
        }
        return script(template_text("planner.sbatch.j2"), "templates/planner.sbatch.j2", values)


def job_name(request: WaveRequest, chunk: int) -> str:
    """The name of one chunk's array; the token in it finds the job again if sbatch's answer is lost."""
    return f"{request.spec.name}-w{request.wave:04d}-{request.token}-{chunk}"


def planner_name(request: WaveRequest) -> str:
    """One name for all planners of a study directory: `singleton` lets one of them run at a time."""
    directory = hashlib.sha1(str(request.layout.root).encode(), usedforsecurity=False).hexdigest()[:8]
    return f"{request.spec.name}-planner-{directory}"


def _common_values(request: WaveRequest) -> dict[str, object]:
    return {
        "study": request.spec.name,
        "wave": request.wave,
        "version": __version__,
        "python": sys.executable,
        "study_dir": request.layout.root,
        "setup": request.spec.slurm.setup,
    }


def _sbatch_options(spec: StudySpec, partition: str | None, *, for_planner: bool = False) -> list[tuple[str, object]]:
    """Options that the study passes on; an empty value makes a bare flag. `extra` is for the trials alone."""
    slurm = spec.slurm
    named = {"partition": partition, "account": slurm.account, "qos": slurm.qos}
    if not for_planner:
        named |= {"constraint": slurm.constraint, "exclude": slurm.exclude}
    options = [(name, _sbatch_word(value)) for name, value in named.items() if value]
    if for_planner:
        return list(options)
    extra = [(name, None if value in (None, "", True) else _sbatch_word(value)) for name, value in slurm.extra.items()]
    return [*options, *extra]


def _sbatch_word(value: object) -> str:
    """A value on an #SBATCH line, where double quotes and backslashes are read (sbatch's own parser, not a shell)."""
    text = str(value)
    return text if re.fullmatch(r"[\w@%+=:,./\[\]&|()*-]+", text) else '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _capacity_problems(spec: StudySpec, nodes: Sequence[queries.NodeFacts]) -> list[Problem]:
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
    ]
    return [
        Problem(
            f"resources.{name}",
            f"{asked:g} asked for, but the largest node of {where} has {most:g} {unit}",
            "see sinfo -N -l",
        )
        for name, asked, most, unit in checks
        if asked > most
    ]
