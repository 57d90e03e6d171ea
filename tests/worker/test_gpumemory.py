"""A CUDA out-of-memory exception on any rank is found, and what only mentions one is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hposlurm.worker.gpumemory import error_file, out_of_gpu_memory

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
