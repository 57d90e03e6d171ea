"""Tests the records of the probe job's program, with fakes for sbatch and Python."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from hposlurm import __version__
from hposlurm.doctor import node
from hposlurm.records.journal import read


def program(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """A directory that is searched first, with an sbatch that takes every job and a scancel."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    program(directory / "sbatch", f'echo "$@" "${{SLURM_JOB_ID-}}" >>{tmp_path}/called', "echo '8;cluster'")
    program(directory / "scancel", f'echo "scancel $@" >>{tmp_path}/called')
    return directory


@pytest.fixture
def python(tmp_path, monkeypatch):
    """Sets what stands in for the Python that imports torch."""

    def stand_in(*lines: str) -> None:
        monkeypatch.setattr(sys, "executable", str(program(tmp_path / "python", *lines)))

    return stand_in


def test_the_record_of_a_node(tmp_path, commands, python, monkeypatch):
    python('echo a warning; echo \'{"version": "2.7.1"}\'')
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    (tmp_path / "token").write_text("token-1")
    assert commands.is_dir()
    node.look(tmp_path, "token-1", [])
    parts = {record["part"]: record for record in read(tmp_path / "node.jsonl").records}
    assert list(parts) == ["node", "sbatch", "torch"]
    seen = parts["node"]
    assert (seen["name"], seen["version"], seen["token"], seen["gpu_ids"]) == ("n1", __version__, "token-1", "3")
    assert seen["tmpdir_free"] > 0
    assert parts["sbatch"]["job_id"] == "8" and parts["torch"]["version"] == "2.7.1"


@pytest.mark.usefixtures("commands")
def test_a_job_is_really_submitted_held_and_cancelled(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "999")  # must not reach sbatch
    assert node._sbatch("token-1", ["--partition=batch"]) == {"job_id": "8"}
    submitted, cancelled = (tmp_path / "called").read_text().splitlines()
    assert "--hold" in submitted and "--job-name=token-1" in submitted and "--partition=batch" in submitted
    assert "999" not in submitted
    assert cancelled == "scancel --quiet 8"


def test_a_node_that_may_not_submit(commands):
    program(commands / "sbatch", "echo 'sbatch: error: Access/permission denied' >&2", "exit 1")
    found = node._sbatch("token-1", [])
    assert "Access/permission denied" in found["error"] and found["is_limit"] is False


def test_a_limit_is_distinguished_from_a_refusal(commands):
    words = "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, size limits)"
    program(commands / "sbatch", f'echo "sbatch: error: {words}" >&2', "exit 1")
    assert node._sbatch("token-1", [])["is_limit"] is True


def test_a_torch_that_kills_its_process_is_reported(python):
    python("ulimit -c 0; kill -SEGV $$")
    assert node._torch() == {"error": "importing torch ended with exit status -11"}


def test_a_torch_that_cannot_start_is_quoted(python):
    python("echo Traceback >&2", "echo 'OSError: libcudart.so.12: cannot open' >&2", "exit 1")
    assert node._torch() == {"error": "OSError: libcudart.so.12: cannot open"}


def test_a_torch_that_takes_too_long(python, monkeypatch):
    python("exec sleep 100")
    monkeypatch.setattr(node, "_TORCH_TIMEOUT_S", 0.2)
    found = node._torch()
    assert found["is_slow"] is True and "longer than 0.2 s" in found["error"]
