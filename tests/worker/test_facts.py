import subprocess
from pathlib import Path

import pytest

from hposlurm.worker.facts import gather, git_commit


@pytest.mark.parametrize(
    ("environ", "gpus", "gpu_ids", "job_id"),
    [
        ({}, 0, "", ""),
        ({"CUDA_VISIBLE_DEVICES": ""}, 0, "", ""),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, 2, "0,1", ""),
        ({"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_JOB_GPUS": "4,5", "SLURM_JOB_ID": "9"}, 2, "4,5", "9"),
        ({"HPOSLURM_GPUS": "0", "HPOSLURM_GPU_IDS": "", "CUDA_VISIBLE_DEVICES": "0"}, 0, "", ""),
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}, 0, "", "7_3"),
        ({"HPOSLURM_JOB_ID": "host.1.2_0", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}, 0, "", "host.1.2_0"),
    ],
)
def test_facts_come_from_the_environment(
    tmp_path: Path, environ: dict[str, str], gpus: int, gpu_ids: str, job_id: str
) -> None:
    facts = gather(environ, 2, tmp_path)
    assert (facts.gpus, facts.gpu_ids, facts.job_id, facts.restart) == (gpus, gpu_ids, job_id, 0)
    assert facts.host


def test_restarts_and_the_node_are_slurm_s(tmp_path: Path) -> None:
    facts = gather({"SLURM_RESTART_COUNT": "2", "SLURMD_NODENAME": "n7"}, 0, tmp_path)
    assert (facts.restart, facts.host) == (2, "n7")


def git(directory: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(["git", *identity, *words], cwd=directory, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    (path / "deep" / "er").mkdir(parents=True)
    git(path, "init", "-q", "-b", "topic/x")
    git(path, "commit", "-q", "--allow-empty", "-m", "one")
    return path


def test_the_commit_is_what_git_says(repository: Path, tmp_path: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    assert git_commit(repository / "deep" / "er") == head
    git(repository, "pack-refs", "--all")
    assert git_commit(repository) == head
    git(repository, "worktree", "add", "-q", "-b", "other", str(tmp_path / "tree"))
    assert git_commit(tmp_path / "tree") == head
    git(repository, "checkout", "-q", "--detach")
    assert git_commit(repository) == head


def test_without_a_commit_there_is_none(tmp_path: Path, repository: Path) -> None:
    assert git_commit(tmp_path) is None
    git(repository, "checkout", "-q", "--orphan", "unborn")
    assert git_commit(repository) is None
    (repository / ".git" / "HEAD").write_bytes(b"\xff\xfe")
    assert git_commit(repository) is None
