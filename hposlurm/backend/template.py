"""What a trial script must have, whatever template it comes from, so that its wave runs and the next one follows."""

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
    """`logs` is the logs folder as sbatch is to read it: %% for a % in it."""

    job_name: str
    count: int
    logs: str
    study_dir: Path
    wave: int
    offset: int
    after: str | None = None


def require(text: str, source: str, needs: Needs) -> None:
    """Raises RequestError with every line that the script `text`, made from the template `source`, lacks."""
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
        lacking.append("{% if after %}#SBATCH --dependency=afterany:{{ after }}{% endif %}   (slurm.driver: chain)")
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
    """The long options on the #SBATCH lines that sbatch reads: those above the first command. The last one counts."""
    words: list[str] = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        if line.startswith("#SBATCH"):
            try:
                words += shlex.split(line.removeprefix("#SBATCH"))
            except ValueError:  # a lone quote: sbatch itself says that
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
        before, _, behind = line.partition(" -m hposlurm.worker ")
        if not behind or before.lstrip().startswith("#"):
            continue
        try:
            directory, wave, index, *_ = shlex.split(behind)
        except ValueError:
            continue
        # the element's place in the wave: arrays above MaxArraySize come in several parts, each from 0 on
        is_counted = "SLURM_ARRAY_TASK_ID" in behind and str(needs.offset) in re.findall(r"\d+", index)
        if (directory, wave) == (str(needs.study_dir), str(needs.wave)) and is_counted:
            return True
    return False
