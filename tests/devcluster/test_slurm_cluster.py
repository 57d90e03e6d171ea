"""scripts/slurm-cluster on real daemons: a cluster of one node, in a directory of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, SlurmCluster

# Detaches for good: another session, another process group, another parent, and an environment scrubbed of SLURM_*
DETACHED = (
    """env -i HOME=/ PATH=$PATH HPOSLURM_CLUSTER=$HPOSLURM_CLUSTER setsid sh -c '(sleep 600 & echo $! > {pid}) &'"""
)


def call(verb: str, root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "scripts" / "slurm-cluster"), verb, "--root", str(root), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


def ask(root: Path, *command: str) -> str:
    """What a Slurm command answers in the cluster under `root`."""
    environment = {**os.environ, "SLURM_CONF": str(root / "etc" / "slurm.conf")}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


def processes_of(root: Path) -> list[str]:
    """Command lines of all processes that name the root as their cluster or in their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                if str(root).encode() in text:
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found


def is_alive(pid: int) -> bool:
    """A zombie is not: whoever should reap it may be slow."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory for a cluster; pytest's own are too long for Slurm's sockets."""
    path = Path(tempfile.mkdtemp(prefix="hposlurm-test-", dir="/var/tmp"))
    yield path
    call("down", path)
    shutil.rmtree(path)


@pytest.mark.slurm
def test_up_twice_is_harmless_and_status_tells(root: Path) -> None:
    assert call("status", root).returncode == 1
    first = call("up", root, "--nodes", "1")
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"export SLURM_CONF={root}/etc/slurm.conf\n"
    assert f"tmpdir={root}/tmp\n" in (root / "etc" / "my.cnf").read_text()  # two may be made at the same moment
    before = sorted(processes_of(root))
    again = call("up", root)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert sorted(processes_of(root)) == before
    status = call("status", root)
    assert status.returncode == 0
    assert all(word in status.stdout for word in ("slurmd-n1", "batch*", "grace", "urgent", "gpu:v100:4"))


@pytest.mark.slurm
def test_another_shape_is_refused_while_the_cluster_runs(root: Path) -> None:
    assert call("up", root, "--nodes", "1", "--no-accounting").returncode == 0
    answer = call("up", root, "--nodes", "2")
    assert answer.returncode == 1
    assert "runs with nodes=1, not 2" in answer.stderr
    assert ask(root, "sinfo", "-h", "-p", "batch", "-o", "%D") == "1"


@pytest.mark.slurm
def test_up_mends_what_was_killed(root: Path, wait_until) -> None:
    assert call("up", root, "--nodes", "1").returncode == 0
    victims = [p for p in Path("/proc").iterdir() if p.name.isdigit() and _is_daemon_of(p, root)]
    assert len(victims) >= 5
    for victim in victims:
        os.kill(int(victim.name), signal.SIGKILL)
    wait_until(lambda: not any(is_alive(int(v.name)) for v in victims), 20)
    assert call("status", root).returncode == 1
    mended = call("up", root)
    assert mended.returncode == 0, mended.stderr
    assert ask(root, "srun", "--gpus-per-node=v100:2", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES") == "0,1"


def _is_daemon_of(proc: Path, root: Path) -> bool:
    try:
        name = Path(os.fsdecode((proc / "cmdline").read_bytes().split(b"\0")[0])).name
        return f"HPOSLURM_CLUSTER={root}".encode() in (proc / "environ").read_bytes() and name in {
            "munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd",
        }  # fmt: skip
    except OSError:
        return False


@pytest.mark.slurm
def test_down_leaves_nothing_running(root: Path, tmp_path: Path, wait_until) -> None:
    assert call("up", root, "--nodes", "1").returncode == 0
    pid_file = tmp_path / "pid"
    script = f"#!/bin/sh\ntrap '' TERM\n{DETACHED.format(pid=pid_file)}\nwhile :; do sleep 1; done\n"
    (tmp_path / "job.sh").write_text(script)
    ask(root, "sbatch", "-o", "/dev/null", str(tmp_path / "job.sh"))
    ask(root, "sbatch", "-o", "/dev/null", "--array=0-99", "--wrap", "sleep 600")
    detached = int(wait_until(lambda: pid_file.exists() and pid_file.read_text(), 30))
    assert is_alive(detached)

    answer = call("down", root)

    assert answer.returncode == 0, answer.stderr
    assert "101 jobs" in answer.stderr and "slurmctld" in answer.stderr
    assert not is_alive(detached)
    assert processes_of(root) == []
    assert call("status", root).returncode == 1
    assert "nothing" in call("down", root).stderr


@pytest.mark.slurm
def test_cancelled_jobs_do_not_come_back_with_the_next_up_and_the_accounts_do(root: Path) -> None:
    assert call("up", root, "--nodes", "1").returncode == 0
    job = ask(root, "sbatch", "--parsable", "-o", "/dev/null", "--wrap", "sleep 600")
    assert call("down", root).returncode == 0
    assert call("up", root, "--nodes", "1").returncode == 0
    assert ask(root, "squeue", "-h") == ""
    assert "CANCELLED" in ask(root, "sacct", "-X", "-n", "-P", "-j", job, "-o", "State")


@pytest.mark.slurm
def test_two_clusters_run_side_by_side(root: Path, slurm_cluster: SlurmCluster) -> None:
    assert call("up", root, "--nodes", "1", "--gpus", "1").returncode == 0
    assert ask(root, "srun", "sh", "-c", "echo $SLURMD_NODENAME $HPOSLURM_CLUSTER") == f"n1 {root}"
    assert call("down", root).returncode == 0
    other = slurm_cluster.root
    assert call("status", other).returncode == 0
    assert ask(other, "srun", "sh", "-c", "echo $HPOSLURM_CLUSTER") == str(other)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--root", "/var/tmp/" + "x" * 80], "too long for Slurm's sockets"),
        (["--root", "/var/tmp/a b"], "letters, digits"),
        (["--nodes", "0"], "not a number from 1 to 100"),
    ],
)
def test_a_wrong_request_is_refused_with_its_reason(options: list[str], complaint: str) -> None:
    command = [sys.executable, str(REPOSITORY / "scripts" / "slurm-cluster"), "up", *options]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 2
    assert complaint in answer.stderr


@pytest.mark.slurm
def test_a_directory_that_holds_something_else_is_left_alone(root: Path) -> None:
    (root / "thesis.tex").touch()
    answer = call("up", root)
    assert answer.returncode == 1
    assert "holds no cluster" in answer.stderr
    assert [p.name for p in root.iterdir()] == ["thesis.tex"]
