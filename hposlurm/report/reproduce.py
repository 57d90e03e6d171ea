"""Writes a script that repeats one trial outside of its study, and says what it cannot pin."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hposlurm import __version__
from hposlurm.errors import StudyError
from hposlurm.records.ancestry import legs
from hposlurm.records.layout import StudyLayout, WaveLayout
from hposlurm.records.reading import read_whole
from hposlurm.render.trial import commands
from hposlurm.report.numbers import counted, shown
from hposlurm.report.printable import printable
from hposlurm.space.names import variable
from hposlurm.spec.frozen import frozen_spec
from hposlurm.trial import Trial, param_text

if TYPE_CHECKING:
    from hposlurm.report.records import StudyRecords
    from hposlurm.spec import StudySpec

# The options of a batch script that describe resources; those about arrays, logs and dependencies belong to the wave
_RESOURCES = re.compile(
    r"#SBATCH --(account|partition|qos|constraint|exclude|reservation|nodes|ntasks\S*|cpus-per-task|gpus\S*|gres|mem\S*"
    r"|time)\b.*"
)


def script(records: StudyRecords, number: int, directory: Path) -> str:
    """Returns a bash script that trains the trial's configuration from the start to its last step, in `directory`.

    It can be submitted by sbatch, with the resources of the trial's wave. Raises RequestError for a trial that does not
    exist, and StudyError for one that was never planned.
    """
    trial = records.history.trial(number)
    if not trial.stages:
        raise StudyError(f"trial {number} of {records.spec.name} was never assigned")
    plan = records.history.plans[trial.stages[-1].wave]
    spec = frozen_spec(records.layout, plan.spec)  # the study may have been revised since
    sections = (
        ["#!/usr/bin/env bash"],
        _resources(records.layout.wave(plan.wave)),
        [f"# {line}" for line in _about(records, trial)],
        ["set -eo pipefail"],
        _files(records.layout, spec, trial, directory),
        spec.slurm.setup,
        _place(plan.workdir, trial),
        _variables(spec, trial, directory),
        [_command(spec, trial, directory)],
    )
    return "\n\n".join("\n".join(lines) for lines in map(list, sections) if lines) + "\n"


def _resources(wave: WaveLayout) -> Iterator[str]:
    try:
        text = read_whole(wave.script()).decode(errors="replace")
    except OSError:  # the local backend has none
        return
    yield from (line for line in text.splitlines() if _RESOURCES.fullmatch(line))


def _about(records: StudyRecords, trial: Trial) -> Iterator[str]:
    """Yields what the trial was, and what the script cannot pin."""
    spec = records.spec
    values = zip((objective.metric for objective in spec.objectives), trial.values or (), strict=False)
    result = ", ".join(f"{name} {shown(value)}" for name, value in values)
    yield f"Repeats trial {trial.number} of the study {spec.name} ({trial.state}{f', {result}' if result else ''})."
    yield f"Written by hposlurm {__version__}; the study is not needed, its directory stays as it is."
    yield "What it cannot pin:"
    hosts = sorted({attempt.host for attempt in trial.attempts if attempt.host})
    where = f"; it ran on {', '.join(map(printable, hosts))}" if hosts else ""
    yield f"- versions of packages, drivers and modules, and the shell that launched the study{where}"
    yield "- changes of the code that were not committed, and the data"
    yield "- the order of sums in kernels of a GPU"
    if len(trial.attempts) > 1:
        yield f"- where its {counted(len(trial.attempts), 'attempt')} went on: this runs in one go"
    if changes := len(legs(records.history, trial)) - 1:
        times = counted(changes, "time")
        yield f"- its parameters on the way: they changed {times} (see hposlurm explain); these are the last ones"


def _files(layout: StudyLayout, spec: StudySpec, trial: Trial, directory: Path) -> Iterator[str]:
    own = StudyLayout(directory).trial(trial.number)
    yield f"mkdir -p {shlex.quote(str(own.checkpoints))}"
    yield from _file(own.record, json.dumps({"params": dict(trial.params)}))
    if spec.trial.deepspeed is not None:
        yield from _file(StudyLayout(directory).ds_config, read_whole(layout.ds_config).decode())


def _file(path: Path, text: str) -> Iterator[str]:
    yield f"cat > {shlex.quote(str(path))} <<'HPOSLURM_END'"
    yield from text.splitlines()
    yield "HPOSLURM_END"


def _place(workdir: str, trial: Trial) -> Iterator[str]:
    """Yields the change to the directory of the trial's command, and a note where the code is another one."""
    yield f"cd {shlex.quote(workdir)}"
    commits = {attempt.git_commit for attempt in trial.attempts if attempt.git_commit}
    if len(commits) == 1:
        (commit,) = commits
        yield f'[ "$(git rev-parse HEAD 2>/dev/null)" = {commit} ] ||'
        yield f"  echo 'note: the trial ran at commit {commit} (git checkout {commit})' >&2"


def _variables(spec: StudySpec, trial: Trial, directory: Path) -> Iterator[str]:
    """Yields the variables that a command finds in a study, but those of reports and requests."""
    own = StudyLayout(directory).trial(trial.number)
    last, most = trial.stages[-1].to_step, spec.search.max_resource
    found = {
        **{f"HPOSLURM_PARAM_{variable(name)}": param_text(value) for name, value in trial.params.items()},
        "HPOSLURM_PARAMS_FILE": str(own.record),
        "HPOSLURM_CHECKPOINT_DIR": str(own.checkpoints),
        "HPOSLURM_RESUME_FROM": "",
        "HPOSLURM_FROM_STEP": "0",
        "HPOSLURM_MAX_STEP": "" if last is None else str(last),
        "HPOSLURM_MAX_RESOURCE": "" if most is None else str(most),
        "HPOSLURM_SEED": str(trial.seed if spec.command_seed is None else spec.command_seed),
        "HPOSLURM_TRIAL_SEED": str(trial.seed),
    }
    yield from (f"export {name}={shlex.quote(value)}" for name, value in found.items())


def _command(spec: StudySpec, trial: Trial, directory: Path) -> str:
    layout, last = StudyLayout(directory), trial.stages[-1].to_step
    return commands(layout, spec.command_template, trial.number, trial.params, trial.seed, last)[0]
