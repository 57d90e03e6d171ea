"""A CUDA out-of-memory exception on any rank is found, and what only mentions one is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hposlurm.worker.gpumemory import error_file, out_of_gpu_memory
from tests.worker.study import Study, report

SAID = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (SAID, SAID),
        (f"[rank3]: {SAID}", SAID),
        (f"[default1]:[rank1]: {SAID}", SAID),
        ("torch.cuda.OutOfMemoryError: CUDA out of memory.", "torch.cuda.OutOfMemoryError: CUDA out of memory."),
        ("torch.OutOfMemoryError", "torch.OutOfMemoryError"),
        ("RuntimeError: CUDA out of memory. Tried to", "RuntimeError: CUDA out of memory. Tried to"),
        ("torch.AcceleratorError: CUDA error: out of memory", "torch.AcceleratorError: CUDA error: out of memory"),
        ("  what():  CUDA out of memory.", "what():  CUDA out of memory."),
        ("CUDA out of memory", "CUDA out of memory"),
        ("WARNING: CUDA out of memory, trying a batch of 2", ""),
        ("except torch.OutOfMemoryError:", ""),
        ("MemoryError", ""),
        ("ValueError: no", ""),
    ],
)
def test_the_line_that_says_so(line: str, found: str, tmp_path: Path) -> None:
    assert out_of_gpu_memory(["Traceback (most recent call last):", line, "[rank0]: NCCL error"], tmp_path) == found


@pytest.mark.parametrize(
    "message", ["OutOfMemoryError: CUDA out of memory.", {"message": "OutOfMemoryError: CUDA out of memory."}]
)
def test_an_error_file_of_torchrun_says_it_too(message: object, tmp_path: Path) -> None:
    rank = tmp_path / "tmp" / "torchelastic_x" / "none_y" / "attempt_0" / "1" / "error.json"
    for path in (error_file(tmp_path), rank):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"message": message}))
        assert out_of_gpu_memory([], tmp_path) == "OutOfMemoryError: CUDA out of memory."
        path.unlink()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"message": 7}', '{"message": {"message": "ValueError: no"}}']
)
def test_an_error_file_that_says_something_else_is_no_lack_of_memory(text: str, tmp_path: Path) -> None:
    error_file(tmp_path).write_text(text)
    assert out_of_gpu_memory([], tmp_path) == ""


@pytest.mark.train
def test_torchrun_leaves_such_files_where_they_are_looked_for(tmp_path: Path) -> None:
    """One rank fails inside of a recorded main and prints nothing itself; the other one is killed by torchrun."""
    script = tmp_path / "train.py"
    script.write_text(
        "import os, time\n"
        "from torch.distributed.elastic.multiprocessing.errors import record\n"
        "class OutOfMemoryError(RuntimeError): pass\n"
        "@record\n"
        "def main():\n"
        "    if os.environ['RANK'] == '1': raise OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')\n"
        "    time.sleep(60)\n"
        "main()\n"
    )
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "OMP_NUM_THREADS": "1"}
    said = "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
    for variables in ({}, {"TORCHELASTIC_ERROR_FILE": str(error_file(tmp_path))}):
        done = subprocess.run(command, env=environment | variables, capture_output=True, timeout=120)
        assert done.returncode == 1
        assert error_file(tmp_path).exists() is bool(variables)
        assert out_of_gpu_memory([], tmp_path) == said


CAUGHT = f"echo '{SAID}'; echo 'batch size 64 does not fit, trying 32'"
DISK = 'echo "OSError: [Errno 28] No space left on device"; exit 1'
PATTERN = r"step (?P<step>\d+) eval_loss (?P<eval_loss>\S+)"


def test_an_error_before_a_report_of_the_output_was_survived(study: Study) -> None:
    study.plan(f"{CAUGHT}; echo step 1 eval_loss 2.5; {DISK}", metric_pattern=PATTERN)
    assert study.run()[0] == 1
    assert study.end() == ("fail", "command exited with status 1: OSError: [Errno 28] No space left on device")


def test_an_error_before_a_report_to_the_file_was_survived(study: Study) -> None:
    seen = f"until grep -q report {study.trial().journal(0)}; do sleep 0.01; done"
    study.plan(f"{CAUGHT}; {report(1, eval_loss=3)}; {seen}; {report(2, eval_loss=2)}; {DISK}")
    assert study.run()[0] == 1
    assert study.end()[0] == "fail"


@pytest.mark.parametrize("pattern", [None, PATTERN])
def test_an_error_after_the_last_report_decides(study: Study, pattern: str | None) -> None:
    first = "echo step 1 eval_loss 2.5" if pattern else report(1, eval_loss=2.5)
    study.plan(f"{CAUGHT}; {first}; echo '{SAID}'; exit 1", metric_pattern=pattern)
    assert study.run()[0] == 4
    assert study.end() == ("infeasible", f"out of GPU memory: {SAID}")


def test_an_error_that_no_report_follows_decides(study: Study) -> None:
    study.plan(f"{report(1, eval_loss=2.5)}; {CAUGHT}; {DISK}")
    assert study.run()[0] == 4
