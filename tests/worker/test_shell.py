"""A crash behind a pipe, or before another line, ends the command; what may fail does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hposlurm.worker import shell
from tests.worker.study import Study, report

CRASH = f"{sys.executable} -c 'raise SystemExit(5)'"


def run(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(shell.words(command), capture_output=True, text=True, cwd=directory)


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (f"{CRASH}", 5),
        (f"{CRASH} 2>&1 | tee log", 5),
        (f"{CRASH}\necho finished", 5),
        (f"{CRASH}\nexit 0", 5),
        (f"{CRASH} | tee log\nexit 0", 5),
        (f"for seed in 1 2; do {CRASH}; done\necho finished", 5),
        (f"run() {{ {CRASH}; }}\nrun\necho finished", 5),
        (f"({CRASH})\necho finished", 5),
        (f"x=$({CRASH})\necho finished", 5),
        ("no-such-program | cat", 127),
        # what may fail, and was told so
        (f"{CRASH} || true\necho finished", 0),
        ("echo a | grep b || true\necho finished", 0),
        (f"if ! {CRASH}; then echo sad; fi", 0),
        (f"set +o pipefail; trap - ERR\n{CRASH} | tee log\nfalse\necho finished", 0),
        # commands such as module and conda fail inside without harm
        ("module() { false; echo loaded; }\nmodule\necho finished", 0),
        ("printf 'false\\necho loaded\\n' > rc; . ./rc; echo finished", 0),
        # whoever writes to a part that has ended dies of SIGPIPE, which is as it should be
        ("yes | head -n 1", 0),
        ("yes | head -n 1\necho finished", 0),
        ("set -e; yes | head -n 1; echo finished", 0),
        ("true && yes | head -n 1", 0),
        # the last line's own status, as ever
        ("[ -e nowhere ] && echo there", 1),
        ("exit 3", 3),
        ("echo a # only a comment", 0),
        ("cat << END\na;\nEND", 0),
        ("echo a; echo b \\", 0),
    ],
)
def test_the_first_failure_is_the_status_of_a_command(tmp_path: Path, command: str, status: int) -> None:
    assert run(command, tmp_path).returncode == status


def test_the_line_at_which_a_command_ends_is_named(tmp_path: Path) -> None:
    said = run("sh -c '\nexit 4\n'\necho finished", tmp_path)
    assert (said.stdout, said.stderr) == ("", f"\n{shell.ENDS_HERE} (status 4): sh -c '\n")
    said = run(f"{CRASH} | cat\necho finished", tmp_path)
    assert (said.stdout, said.stderr) == ("", f"\n{shell.ENDS_HERE} (status 5 | 0): cat\n")


def test_one_program_takes_the_place_of_the_shell(tmp_path: Path) -> None:
    """So that a signal that ends it can be told from an exit status."""
    assert run(f"{sys.executable} -c 'import os, signal, sys\nos.kill(os.getpid(), 9)'", tmp_path).returncode == 137
    assert run("sh -c 'kill -9 $$'", tmp_path).returncode == -9


@pytest.mark.parametrize("command", [f"{CRASH}\necho finished", f"{CRASH}; exit 0", "false; exit 0"])
def test_without_bash_a_failing_line_ends_the_command_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "get_exec_path", lambda: [str(tmp_path)])
        fails, passes = shell.words(command), shell.words("false || true; echo finished")
    assert (fails[0], passes[0]) == ("sh", "sh")
    assert subprocess.run(fails, cwd=tmp_path, capture_output=True).returncode != 0
    assert subprocess.run(passes, cwd=tmp_path, capture_output=True).returncode == 0


# Right when it learns, wrong when its rate is too high: `lr` 0.9 dies after its first report.
TRAINING = """
import sys
print("epoch 1 loss 0.9", flush=True)
if float(sys.argv[1]) > 0.5: raise RuntimeError("CUDA error: an illegal memory access was encountered")
print("epoch 2 loss 0.1", flush=True)
"""


@pytest.mark.parametrize("rest", ["", " 2>&1 | tee log.txt", "\necho finished", "; exit 0"])
@pytest.mark.parametrize("lr", ["0.1", "0.9"])
def test_a_crash_is_the_trial_s_failure_whatever_follows_it(study: Study, lr: str, rest: str) -> None:
    (study.root / "train.py").write_text(TRAINING)
    pattern = r"epoch (?P<step>\d+) loss (?P<eval_loss>\S+)"
    study.plan(f"{sys.executable} train.py {lr}{rest}", metric_pattern=pattern)
    study.run()
    crash = "RuntimeError: CUDA error: an illegal memory access was encountered"
    expected = ("complete", "") if lr == "0.1" else ("fail", f"command exited with status 1: {crash}")
    assert study.end() == expected
    assert not any(shell.ENDS_HERE in line for line in study.record("end")["tail"])


def test_a_gpu_that_is_too_small_is_seen_behind_a_pipe(study: Study) -> None:
    error = "torch.OutOfMemoryError: CUDA out of memory."
    study.plan(f"{{ {report(1, eval_loss=1)}; echo '{error}'; exit 1; }} | tee log")
    study.run()
    assert study.end() == ("infeasible", f"out of GPU memory: {error}")


def test_the_case_of_a_user(study: Study) -> None:
    """A value that a pipe's crash left half-trained did count."""
    study.plan(f"{report(1, eval_loss=0.9)}; {CRASH} | tee log")
    assert study.run()[0] == 1
    assert json.loads(study.trial().journal(0).read_text().splitlines()[-1])["outcome"] == "fail"
