"""Renders the batch scripts of a wave as text. Pure: writes nothing and asks nothing."""

from __future__ import annotations

import hashlib
import math
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hposlurm import __version__
from hposlurm.backend.base import WaveRequest
from hposlurm.backend.template import Needs, require
from hposlurm.errors import RequestError
from hposlurm.render.script import script, template_text

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# A job that ends by itself before its limit can save; USR2 may come up to 60 s early (sbatch(1), --signal).
_SIGNAL_S = 120
# The time that a worker needs between the end of its command and SIGKILL to write its record
_RECORD_S = 3


@dataclass(frozen=True, slots=True)
class Part:
    """One array of a wave: elements `offset` … `offset + count - 1`."""

    #: Counts the arrays of the wave from 0.
    number: int
    offset: int
    count: int
    #: How many of its elements may run at a time; None means all.
    max_concurrent: int | None
    #: True if it starts after the array before it has ended: together they would run more than `max_concurrent`.
    follows: bool = False
    #: None means `resources.time`.
    time_min: int | None = None
    nice: int = 0


def trial_script(request: WaveRequest, part: Part, kill_wait_s: int, before: str | None = None) -> str:
    """Returns the script of one array; `kill_wait_s` is the time that Slurm leaves from SIGTERM to SIGKILL.

    `before` is the job id of the array before it, for a part that follows it.
    """
    spec, wave = request.spec, request.layout.wave(request.wave)
    own = Path(spec.slurm.template) if spec.slurm.template else None
    time_min = spec.resources.time_min if part.time_min is None else part.time_min
    logs, name = _as_pattern(wave.logs), job_name(request, part.offset, part.count)
    after = before if part.follows and before else request.after
    values = {
        **_common_values(request),
        "job_name": name,
        "count": part.count,
        "offset": part.offset,
        "max_concurrent": part.max_concurrent,
        "logs": wave.logs,
        "log_out": _sbatch_word(f"{logs}/%A_%a_0_log.out"),
        "log_err": _sbatch_word(f"{logs}/%A_%a_0_log.err"),
        "hold": True,
        "after": after,
        "nodes": spec.resources.nodes,
        "gpus": spec.resources.gpus_per_node * spec.resources.nodes,
        "gpus_per_node": spec.resources.gpus_per_node,
        "gpu_type": spec.resources.gpu_type,
        "cpus_per_task": spec.resources.cpus_per_task,
        "mem_gb": spec.resources.mem_gb,
        "time_min": time_min,
        # a run that Slurm itself starts again would use GPU hours that are not reserved: the planner checks the budget
        "requeue": spec.budget.gpu_hours is None,
        "grace_s": max(1, kill_wait_s - _RECORD_S),
        "signal_s": _signal_s(spec, time_min),
        "sbatch_options": [*_sbatch_options(spec, spec.slurm.partition, request.exclude), *_nice(spec, part)],
    }
    source = str(own or "templates/trial.sbatch.j2")
    text = script(template_text("trial.sbatch.j2", own), source, values)
    needs = Needs(name, part.count, logs, request.layout.root, request.wave, part.offset, after)
    require(text, source, needs)
    return text


def _signal_s(spec: StudySpec, time_min: int) -> int:
    """Returns how long before its time limit a job is warned: a tenth of it at most, or what its script needs."""
    needed_s = 0 if spec.trial.stop_grace_s is None else min(math.ceil(spec.trial.stop_grace_s) + 60, time_min * 30)
    return max(needed_s, min(_SIGNAL_S, max(10, time_min * 6)))


def _nice(spec: StudySpec, part: Part) -> list[tuple[str, object]]:
    return [("nice", part.nice)] if part.nice and "nice" not in spec.slurm.extra else []


def planner_script(request: WaveRequest, after: Sequence[str]) -> str:
    """Returns the script of the planner that waits for the arrays `after`."""
    planner = request.spec.slurm.planner
    # a separate partition may have only nodes on which trials fail
    exclude = () if planner.partition else request.exclude
    partition = planner.partition or request.spec.slurm.partition
    options = _sbatch_options(request.spec, partition, exclude, for_planner=True)
    values = {
        **_common_values(request),
        "job_name": planner_name(request),
        "comment": planner_comment(request),
        "after": after,
        "is_late": request.is_late,
        "log": _sbatch_word(f"{_as_pattern(request.layout.wave(request.wave).logs)}/planner-%j.log"),
        "cpus_per_task": planner.cpus_per_task,
        "mem_gb": planner.mem_gb,
        "time_min": planner.time_min,
        "sbatch_options": options,
    }
    return script(template_text("planner.sbatch.j2"), "templates/planner.sbatch.j2", values)


def job_name(request: WaveRequest, offset: int, count: int) -> str:
    """Returns the name of an array; a submission whose answer was lost is found by it."""
    return f"{request.spec.name}-w{request.wave:04d}-{request.token}-{offset}-{count}"


def planner_name(request: WaveRequest) -> str:
    """Returns the one name of all planners of a study directory: `singleton` lets only one of them run at a time."""
    root = os.path.realpath(request.layout.root)  # the same for every spelling of the path
    directory = hashlib.sha1(root.encode(), usedforsecurity=False).hexdigest()[:8]
    return f"{request.spec.name}-planner-{directory}"


def planner_comment(request: WaveRequest) -> str:
    """Returns the comment that identifies the planner jobs of one wave: those of all waves have the same name."""
    return f"hposlurm:{request.token}"


def _common_values(request: WaveRequest) -> dict[str, object]:
    return {
        "study": request.spec.name,
        "wave": request.wave,
        "version": __version__,
        "python": sys.executable,
        "study_dir": request.layout.root,
        "setup": request.spec.slurm.setup,
    }


def _sbatch_options(
    spec: StudySpec, partition: str | None, exclude: Sequence[str], *, for_planner: bool = False
) -> list[tuple[str, object]]:
    """Returns the sbatch options from the study file; an empty value makes a bare flag. `extra` is only for trials.

    `exclude` are the nodes to avoid besides those that the study file names.
    """
    slurm = spec.slurm
    named = {"partition": partition, "account": slurm.account, "qos": slurm.qos}
    own = None if for_planner else slurm.exclude
    named["constraint"] = None if for_planner else slurm.constraint
    named["exclude"] = ",".join([own, *exclude] if own else exclude)
    options = [(name, _sbatch_word(value)) for name, value in named.items() if value]
    if for_planner:
        return list(options)
    return [
        *options,
        *((name, None if _is_flag(value) else _sbatch_word(value)) for name, value in slurm.extra.items()),
    ]


def _is_flag(value: object) -> bool:
    """True for the value of an option without a value; 1 is a value, although 1 == True."""
    return value is True or value in (None, "")


def _as_pattern(directory: Path) -> str:
    """Returns the path for sbatch's file name patterns; raises RequestError for a path that would be misread.

    Slurm reads %% as %. submitit replaces its own four tags even after a %. A backslash anywhere in the path makes
    Slurm leave %A and %a as they are.
    """
    if found := re.search(r"\\|%[jtAa]", str(directory)):
        raise RequestError(
            f"Slurm's logs cannot be written below {directory}: {found[0]} in a path has a special meaning there; "
            "choose a directory without it (HPOSLURM_RUNS names one for all studies)"
        )
    return str(directory).replace("%", "%%")


def _sbatch_word(value: object) -> str:
    """Returns a value as one word of an #SBATCH line; sbatch's parser reads double quotes and backslashes there."""
    text = str(value)
    return text if re.fullmatch(r"[\w@%+=:,./\[\]&|()*-]+", text) else '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
