"""The lines of `slurm.setup` in the batch scripts, run by bash with a worker that only tells that it was started."""

from __future__ import annotations

import os
import subprocess

import pytest

from hposlurm.backend.scripts import Part, planner_script, trial_script
from tests.backend.test_slurm import golden_request


def run(tmp_path, text):
    """The script's exit status, what it says on stderr, and whether it got to the worker or planner."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    srun = tmp_path / "bin" / "srun"
    srun.write_text("#!/bin/sh\necho started\n")
    srun.chmod(0o700)
    (tmp_path / "job script").write_text(text)
    done = subprocess.run(
        ["bash", "job script"],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SLURM_ARRAY_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": "0"},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr, "started" in done.stdout


def trial(tmp_path, lines):
    return run(tmp_path, trial_script(golden_request(slurm={"setup": lines}), Part(0, 0, 4, None), 30))


SOURCED = 'false; value="$(false)"; test -n "$NOTHING_OF_THE_KIND"; grep -q x /dev/null; '
# Like module and conda: a function that fails inside of itself
MODULE = ["module() {", "  false", "  test -e /nonexistent", "  return ${2:-0}", "}"]


@pytest.mark.parametrize(
    ("lines", "status", "said"),
    [
        (["false"], 1, "false"),
        (["true", "nonexistent-program --x", "true"], 127, "nonexistent-program --x"),
        (["cd /nonexistent"], 1, "cd /nonexistent"),
        (["source /nonexistent"], 1, "source /nonexistent"),
        (["source ./fails"], 3, "source ./fails"),
        ([*MODULE, "module load 5"], 5, "module load 5"),
        (["if true; then", "  (exit 9)", "fi"], 9, "  (exit 9)"),
        (["echo 50% 'a \"b\"' | false"], 1, "echo 50% 'a \"b\"' | false"),
    ],
)
def test_a_setup_line_that_fails_ends_the_job_before_the_worker(tmp_path, lines, status, said):
    (tmp_path / "fails").write_text(SOURCED + "return 3\n")
    found, errors, started = trial(tmp_path, lines)
    assert (found, started) == (status, False)
    assert errors.splitlines()[-1] == f"setup line failed (status {status}): {said}"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["source ./activate"],
        [*MODULE, "module load 0"],
        ["false || true", "! true", "if false; then", "  false", "fi", "[ -n '' ] && false"],
        ["for i in 1 2; do", "  test $i = 1 || true", "done", "cat > made <<'END'", "it's", "END"],
        ["set -e", "source ./activate || true", "set +e"],
        ["echo $NOTHING_OF_THE_KIND", "unset NOTHING_OF_THE_KIND"],
        ["export A='a b' \\", '  B="$(id -un)"'],
    ],
)
def test_what_does_not_fail_lets_the_worker_start(tmp_path, lines):
    (tmp_path / "activate").write_text(SOURCED + "true\n")
    assert trial(tmp_path, lines) == (0, "", True)


def test_what_follows_the_setup_may_fail_as_before(tmp_path):
    text = trial_script(golden_request(slurm={"setup": ["true"]}), Part(0, 0, 4, None), 30)
    assert run(tmp_path, text.replace("export HPOSLURM_GPUS", "false\nexport HPOSLURM_GPUS")) == (0, "", True)


def test_the_planner_says_what_failed_and_goes_on(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho started\n")
    python.chmod(0o700)
    monkeypatch.setattr("hposlurm.backend.scripts.sys.executable", str(python))
    text = planner_script(golden_request(slurm={"setup": ["cd /nonexistent 2> /dev/null", "true"]}), ["1"])
    said = "setup line failed (status 1): cd /nonexistent 2> /dev/null; the planner goes on without it\n"
    assert run(tmp_path, text) == (0, said, True)


@pytest.mark.parametrize(
    ("grace", "minutes", "warned"), [(None, 60, 120), ("90s", 60, 150), ("30m", 20, 600), (1, 60, 120)]
)
def test_a_job_is_warned_as_long_before_its_limit_as_its_script_needs(grace: object, minutes: int, warned: int) -> None:
    trial = {"command": "train {{ flags }}", "stop_grace": grace}
    request = golden_request(trial=trial, resources={"time": minutes})
    assert f"#SBATCH --signal=USR2@{warned}\n" in trial_script(request, Part(0, 0, 4, None), 30)
