"""Checks a trial script from any template for the lines that its wave and the next one need."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hposlurm.errors import RequestError

_SHORT = {"-a": "--array", "-H": "--hold", "-J": "--job-name", "-e": "--error", "-o": "--output"}
_FLAGS = ("--hold",)


@dataclass(frozen=True, slots=True)
class Needs:
    """The values that the script must contain."""

    job_name: str
    #: The number of elements of its array.
    count: int
    #: The logs folder in sbatch's notation: %% for a % in it.
    logs: str
    study_dir: Path
    wave: int
    #: The wave's element that is the array's element 0.
    offset: int
    #: The job that must end before it starts.
    after: str | None = None


def require(text: str, source: str, needs: Needs) -> None:
    """Raises RequestError with every necessary line that the script `text`, made from the template `source`, lacks."""
    given = _options(text)
    lacking = [
        f"#SBATCH {line}"
        for line, is_there in (
            ("--job-name={{ job_name }}", given.get("--job-name") == needs.job_name),
            ("--array=0-{{ count - 1 }}", given.get("--array", "").partition("%")[0] == f"0-{needs.count - 1}"),
            ("--output={{ log_out }}", given.get("--output") == f"{needs.logs}/%A_%a_0_log.out"),
            ("--error={{ log_err }}", given.get("--error", "") in ("", f"{needs.logs}/%A_%a_0_log.err")),
            ("--hold", "--hold" in given),
        )
        if not is_there
    ]
    if needs.after and given.get("--dependency") != f"afterany:{needs.after}":
        lacking.append("{% if after %}#SBATCH --dependency=afterany:{{ after }}{% endif %}   (chain, max_concurrent)")
    if not _runs_worker(text, needs):
        lacking.append(
            "srun {{ python | quote }} -P -m hposlurm.worker {{ study_dir | quote }} {{ wave }} "
            '"$(({{ offset }} + SLURM_ARRAY_TASK_ID))"'
        )
    if lacking:
        lines = "".join(f"\n  {line}" for line in lacking)
        raise RequestError(
            f"slurm.template: the script that {source} makes would break the chain of waves; it needs, with these "
            f"values (#SBATCH lines count only above the first command):{lines}"
        )


def _options(text: str) -> Mapping[str, str]:
    """Returns the long options on the #SBATCH lines that sbatch reads: those above the first command.

    The last one of a name counts.
    """
    words: list[str] = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        if line.startswith("#SBATCH"):
            try:
                words += shlex.split(line.removeprefix("#SBATCH"))
            except ValueError:  # an unmatched quote: sbatch itself reports it
                words += line.removeprefix("#SBATCH").split()
    options: dict[str, str] = {}
    while words:
        name, has_value, value = words.pop(0).partition("=")
        if name[:2] in _SHORT:
            name, value, has_value = _SHORT[name[:2]], name[2:] + has_value + value, name[2:]
        if not has_value and name not in _FLAGS and words and not words[0].startswith("-"):
            value = words.pop(0)
        options[name] = value
    return options


def _runs_worker(text: str, needs: Needs) -> bool:
    for line in text.replace("\\\n", " ").splitlines():
        before, _, arguments = line.partition(" -m hposlurm.worker ")
        if not arguments or before.lstrip().startswith("#"):
            continue
        try:
            directory, wave, index, *_ = shlex.split(arguments)
        except ValueError:
            continue
        # the element's index in the wave: a wave above MaxArraySize has several arrays, and each counts from 0
        is_counted = "SLURM_ARRAY_TASK_ID" in arguments and str(needs.offset) in re.findall(r"\d+", index)
        if (directory, wave) == (str(needs.study_dir), str(needs.wave)) and is_counted:
            return True
    return False
