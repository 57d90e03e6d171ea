"""Tests the doctor on real daemons: its findings, and that it cleans up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hposlurm.backend.queries import ask
from hposlurm.doctor import arrival
from hposlurm.doctor.answers import ask_slurm
from hposlurm.doctor.examination import Request, examine
from hposlurm.doctor.job import ProbeRequest, run_probe
from hposlurm.integrations.torch_facts import torch_facts

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm_cluster")]

# its name in the queue and, cut, in none other
NAME = "hposlurm-doctor-"


def mine(token: str) -> list[str]:
    """Jobs of the probe of that token that wait or run."""
    lines = ask("squeue", "-h", "-t", "PD,CF,R", "-o", "%i|%j").splitlines()
    return [line for line in lines if line.partition("|")[2].startswith(token)]


def test_a_look_at_the_cluster_writes_nothing(tmp_path):
    found = {finding.name: finding for finding in examine(Request(tmp_path / "runs"), print).findings}
    for name in ("slurm", "controller", "partitions", "arrays", "accounting", "root", "space"):
        assert found[name].verdict == "ok", found[name]
    assert "v100" in found["partitions"].found and "MaxArraySize 1001" in found["arrays"].found
    assert found["kill_wait"].verdict == "warn"  # 5 s on this cluster
    assert "10 s (grace)" in found["preemption"].found
    assert found["file_system"].verdict in ("warn", "ok")
    assert list(tmp_path.iterdir()) == []


def test_a_probe_finds_out_what_jobs_may_do_and_leaves_nothing(tmp_path):
    root = tmp_path / "my runs"
    root.mkdir()
    said: list[str] = []
    report = examine(Request(root, partition="grace", probe=True, wait_s=300), said.append)
    found = {finding.name: finding for finding in report.findings}
    for name in ("concurrency", "probe_job", "job_sbatch", "node", "tmpdir", "file_system"):
        assert found[name].verdict == "ok", found[name]
    # its GPUs are nothing but names: whether torch is there or not, this is no failure, and is said
    assert found["torch"].verdict == "warn", found["torch"]
    if "error" not in torch_facts():
        assert "the node has no NVIDIA driver" in found["torch"].found
    assert list(root.iterdir()) == []
    job_id = found["probe_job"].found.split()[1]
    name = ask("squeue", "-h", "-t", "all", "-j", job_id, "-o", "%j|%P").strip()
    assert name.startswith(NAME) and name.endswith("|grace")
    assert mine(name.partition("|")[0]) == []


def test_a_job_that_does_not_start_in_time_is_cancelled(tmp_path):
    request = ProbeRequest(tmp_path, f"{NAME}late-{os.getpid()}", (("begin", "now+1hour"),), 0, 1.0)
    outcome = run_probe(request, print)
    findings = {finding.name: finding for finding in arrival.findings(request, outcome)}
    assert {finding.verdict.value for finding in findings.values()} == {"unknown"}
    assert "(BeginTime) and was cancelled" in findings["probe_job"].found
    assert mine(request.token) == []


def test_a_refused_job_is_reported_with_the_message_of_sbatch(tmp_path):
    request = ProbeRequest(tmp_path, f"{NAME}bad-{os.getpid()}", (("partition", "nowhere"),), 0, 1.0)
    finding = arrival.findings(request, run_probe(request, print))[0]
    assert finding.verdict == "fail" and "invalid partition" in finding.found.lower()


def test_ctrl_c_cancels_the_job_and_removes_the_directory(tmp_path, wait_until):
    program = (
        "import sys\n"
        "from hposlurm.cli.main import main\n"
        "from hposlurm.doctor import examination, job\n"
        "later = ('begin', 'now+1hour')\n"
        "examination.ProbeRequest = lambda d, t, o, *rest: job.ProbeRequest(d, t, (*o, later), *rest)\n"
        "sys.argv = ['hposlurm', 'doctor', '--probe', '--root', sys.argv[1]]\n"
        "main()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("probe job"))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    job_id = line.split()[2].rstrip(":")
    wait_until(lambda: ask("squeue", "-h", "-t", "all", "-j", job_id, "-o", "%T").strip() == "CANCELLED", 30)
    assert list(tmp_path.iterdir()) == []


def test_the_real_answers_of_a_cluster_are_understood():
    found = ask_slurm()
    assert found.has_slurm and found.settings["MaxArraySize"] == "1001"
    for answer in (
        found.version,
        found.partitions,
        found.nodes,
        found.queue,
        found.sacct,
        found.association,
        found.qos,
    ):
        assert answer.error == ""


def test_the_command_line_of_a_shell_inside_a_job(tmp_path):
    environment = {**os.environ, "SLURM_JOB_ID": "7", "SLURM_MEM_PER_NODE": "1000", "SBATCH_PARTITION": "nowhere"}
    command = [sys.executable, "-P", "-m", "hposlurm", "doctor", "--probe", "--format", "json", "--root", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=400, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert found["shell"]["verdict"] == "warn" and "inside job 7" in found["shell"]["found"]
    assert found["probe_job"]["verdict"] == "ok"  # nothing of it reached the job
    assert not list(Path(tmp_path).iterdir())
