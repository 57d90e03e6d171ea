"""The study of scripts/chaos: its file, its directory on a small file system of its own, and the verbs used on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = f"chaos-{int(time.time())}"  # accounts outlive the cluster: an earlier run's jobs are not this one's
LONG_TRIAL = 3  # runs into its time limit
LONG_STEPS = 220
EVALUATION_EVERY, EVALUATION_S = 4, 8  # every so many trials one has a long final evaluation
SIZE_MB = 96

_STUDY = """\
name: {name}
objectives: [{{name: loss}}]
parameters:
  x: {{type: float, min: -1.0, max: 1.0}}
  steps: {{choices: [8, 12, 16]}}
search: {{algorithm: tpe, seed: {seed}}}
budget: {{n_trials: {trials}}}
waves: {{size: 8, max_concurrent: 8}}
trial:
  command: >-
    {python} {script} --x={{{{ x }}}}
    --steps {{% if trial == {long_trial} %}}{long_steps}{{% else %}}{{{{ steps }}}}{{% endif %}}
    {{% if trial % {evaluation_every} == 1 %}}--evaluation {evaluation_s}{{% endif %}}
  retries: 30
resources: {{gpus_per_node: 1, gpu_type: v100, mem_gb: 0.5, time: "00:01:00"}}
slurm: {{partition: grace, planner: {{time: "00:10:00", mem_gb: 0.5}}}}
"""

# Stands before sbatch on the PATH of everything; the file `mode` says what it does.
_SBATCH = """\
#!/bin/sh
mode=$(cat {control}/mode 2>/dev/null)
case $mode in
  fail) echo "sbatch: error: Batch job submission failed: Unable to contact slurm controller" >&2; exit 1 ;;
  late) {sbatch} "$@" >/dev/null 2>&1
        echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2; exit 1 ;;
  *) exec {sbatch} "$@" ;;
esac
"""


@dataclass(frozen=True)
class Study:
    """A study in `home`, a file system of SIZE_MB MiB; `control` is beside it and never full."""

    home: Path
    control: Path
    conf: Path

    @property
    def root(self) -> Path:
        return self.home / "runs" / NAME

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "HPOSLURM"))}
        paths = [str(self.control / "bin"), str(Path(sys.executable).parent), kept["PATH"]]
        return {**kept, "PATH": ":".join(paths), "SLURM_CONF": str(self.conf), "PYTHONPATH": str(REPOSITORY)}

    def run(self, *words: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """A command with the study's environment, in its directory."""
        return subprocess.run(
            words, cwd=self.home, env=self.environment(), capture_output=True, text=True, timeout=timeout_s
        )

    def hposlurm(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-P", "-m", "hposlurm", *words)

    def status(self) -> dict[str, Any]:
        """What `status --format json` says; {} while it cannot be asked."""
        done = self.hposlurm("status", NAME, "--format", "json")
        try:
            found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        except ValueError:
            found = {}
        return found

    def set_sbatch(self, mode: str) -> None:
        (self.control / "mode").write_text(mode)

    def close(self) -> None:
        """Takes the file system and the directory that holds it away."""
        subprocess.run(["umount", "-l", str(self.home)], check=False, capture_output=True)
        shutil.rmtree(self.control.parent, ignore_errors=True)


def create(directory: Path, conf: Path, trials: int, seed: int) -> Study:
    """Makes the study's file system, its file, and the wrapped sbatch."""
    home, control = directory / "home", directory / "control"
    for path in (home, control / "bin"):
        path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(home)], check=True)
    study = Study(home, control, conf)
    sbatch = subprocess.run(["which", "sbatch"], capture_output=True, text=True, check=True).stdout.strip()
    wrapper = control / "bin" / "sbatch"
    wrapper.write_text(_SBATCH.format(control=control, sbatch=sbatch))
    wrapper.chmod(0o755)
    study.set_sbatch("ok")
    values = {"python": sys.executable, "script": Path(__file__).with_name("trial.py"), "seed": seed, "trials": trials}
    habits = {"long_trial": LONG_TRIAL, "long_steps": LONG_STEPS}
    habits |= {"evaluation_every": EVALUATION_EVERY, "evaluation_s": EVALUATION_S}
    text = _STUDY.format(name=NAME, **habits, **values)
    (home / "study.yaml").write_text(text)
    return study
