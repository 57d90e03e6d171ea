"""The faults. Each does one thing that clusters do, and says to what; "" means that there was nothing to do it to."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.study import NAME, REPOSITORY, Study
from tests.devcluster.cluster import Cluster
from tests.devcluster.processes import Process

Fault = Callable[["Chaos"], str]


class Chaos:
    """A running cluster with a study on it, and the dice."""

    def __init__(self, cluster: Cluster, study: Study, dice: random.Random) -> None:
        self.cluster, self.study, self.dice = cluster, study, dice
        self.cancelled: set[str] = set()  # elements that scancel took out: their trials are dropped, and rightly so

    def kill(self, *words: str, timeout_s: float = 0.0) -> str:
        """SIGKILL to one of the cluster's processes whose command line has all these words, waited for if need be."""
        deadline = time.monotonic() + timeout_s
        while not (found := [p for p in self.cluster.processes() if _has(p, words)]) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not found:
            return ""
        victim = self.dice.choice(found)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim.pid, signal.SIGKILL)
        return f"process {victim.pid}: {' '.join(victim.argv)[-70:]}"

    def running_elements(self) -> list[str]:
        """Job ids of the study's elements that run now."""
        done = self.study.run("squeue", "-h", "-r", "-t", "RUNNING", "-o", "%i|%j")
        rows = [line.strip().split("|") for line in done.stdout.splitlines() if "|" in line]
        return [job_id for job_id, name in rows if name.startswith(f"{NAME}-w")]

    def mend(self) -> None:
        """Starts the daemons that do not run and brings nodes back, as an administrator would."""
        command = [
            sys.executable,
            str(REPOSITORY / "scripts" / "slurm-cluster"),
            "up",
            "--root",
            str(self.cluster.root),
        ]
        subprocess.run(command, capture_output=True, timeout=300, check=True)


def _has(process: Process, words: tuple[str, ...]) -> bool:
    line = " ".join(process.argv)
    starts_others = Path(process.argv[0]).name in ("srun", "bash", "sh") or "slurmstepd" in process.argv[0]
    return not starts_others and all(word in line for word in words)


def kill_worker(chaos: Chaos) -> str:
    return chaos.kill("hposlurm.worker")


def kill_training(chaos: Chaos) -> str:
    return chaos.kill("chaos/trial.py")


def kill_planner(chaos: Chaos) -> str:
    return chaos.kill("hposlurm", "advance", timeout_s=10)


def requeue(chaos: Chaos) -> str:
    element = _one(chaos)
    return element if element and chaos.study.run("scontrol", "requeue", element).returncode == 0 else ""


def scancel(chaos: Chaos) -> str:
    """At most two: each takes a trial out for good."""
    element = _one(chaos) if len(chaos.cancelled) < 2 else ""
    if element:
        chaos.cancelled.add(element)
        chaos.study.run("scancel", element)
    return element


def preempt(chaos: Chaos) -> str:
    node = f"n{chaos.dice.randint(1, 4)}"
    words = ("-p", "urgent", "-w", node, "--exclusive", "-t", "1", "-o", "/dev/null", "--wrap", "sleep 4")
    done = chaos.study.run("sbatch", "--parsable", *words)
    return f"job {done.stdout.strip()} on {node}" if done.returncode == 0 else ""


def kill_slurmd(chaos: Chaos) -> str:
    return _kill_and_mend(chaos, "slurmd", "-N", f"n{chaos.dice.randint(1, 4)}")


def restart_slurmctld(chaos: Chaos) -> str:
    return _kill_and_mend(chaos, "slurmctld")


def stop_slurmdbd(chaos: Chaos) -> str:
    return _kill_and_mend(chaos, "slurmdbd")


def failing_sbatch(chaos: Chaos) -> str:
    return _with_sbatch(chaos, "fail")


def late_sbatch(chaos: Chaos) -> str:
    return _with_sbatch(chaos, "late")


def full_disk(chaos: Chaos) -> str:
    """Every free block of the study's file system is taken for some seconds."""
    ballast = chaos.study.home / "ballast"
    try:
        with ballast.open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
                file.flush()
        time.sleep(chaos.dice.uniform(2, 5))
    finally:
        ballast.unlink(missing_ok=True)
    return "for some seconds"


def two_planners(chaos: Chaos) -> str:
    """Two people type `advance` at the same moment."""
    command = [sys.executable, "-P", "-m", "hposlurm", "advance", NAME]
    options = {"cwd": chaos.study.home, "env": chaos.study.environment(), "stdout": subprocess.DEVNULL}
    both = [subprocess.Popen(command, stderr=subprocess.DEVNULL, **options) for _ in range(2)]
    for process in both:
        process.wait(timeout=300)
    return "typed twice at once"


FAULTS: dict[str, tuple[Fault, int]] = {  # with how often each is drawn, relative to the others
    "SIGKILL of a worker": (kill_worker, 4),
    "SIGKILL of a training process": (kill_training, 4),
    "SIGKILL of a planner": (kill_planner, 4),
    "scontrol requeue": (requeue, 3),
    "preemption": (preempt, 3),
    "scancel of an element": (scancel, 1),
    "slurmd killed and restarted": (kill_slurmd, 2),
    "slurmctld killed and restarted": (restart_slurmctld, 1),
    "slurmdbd stopped for a while": (stop_slurmdbd, 1),
    "sbatch fails": (failing_sbatch, 2),
    "sbatch times out after submitting": (late_sbatch, 2),
    "full disk": (full_disk, 2),
    "two planners at once": (two_planners, 2),
}


def one(chaos: Chaos) -> tuple[str, str]:
    """Draws a fault and does it: its name and what it hit ("" if nothing was there to hit)."""
    names = list(FAULTS)
    name = chaos.dice.choices(names, [FAULTS[n][1] for n in names])[0]
    return name, FAULTS[name][0](chaos)


def _one(chaos: Chaos) -> str:
    running = chaos.running_elements()
    return chaos.dice.choice(running) if running else ""


def _kill_and_mend(chaos: Chaos, *words: str) -> str:
    hit = chaos.kill(*words)
    if hit:
        time.sleep(chaos.dice.uniform(1, 4))
        chaos.mend()
    return hit


def _with_sbatch(chaos: Chaos, mode: str) -> str:
    chaos.study.set_sbatch(mode)
    try:
        time.sleep(chaos.dice.uniform(3, 8))
    finally:
        chaos.study.set_sbatch("ok")
    return "for some seconds"
