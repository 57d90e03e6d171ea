"""The real worker as a process, around small commands."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hposlurm.records import journal
from hposlurm.render.command import command_line
from hposlurm.trial import param_text
from tests.worker.study import Study, is_alive, report, until

CAPTURED = {"capture_output": True, "text": True, "check": True}
OK = report(1, eval_loss=2.5)


def test_a_trial_that_reports_and_succeeds_is_complete(study: Study) -> None:
    study.plan(
        f"{OK}; {report(2, eval_loss=1.5, f1=0.5, peak_gpu_gb=3.5)}; echo bye",
        assignment={"params": {"lr": 1e-5}, "attrs": {"rung": 0}},
        gpus=2,
    )
    assert study.run(HPOSLURM_GPUS="1", HPOSLURM_GPU_IDS="3", HPOSLURM_JOB_ID="812_0")[0] == 0
    assert [r["kind"] for r in study.records()] == ["start", "report", "report", "memory", "end"]
    start, memory, end = (study.record(kind) for kind in ("start", "memory", "end"))
    assert {k: start[k] for k in ("trial", "attempt", "wave", "index", "job_id", "restart", "gpus", "gpu_ids")} == {
        "trial": 0, "attempt": 0, "wave": 0, "index": 0, "job_id": "812_0", "restart": 0, "gpus": 1, "gpu_ids": "3",
    }  # fmt: skip
    assert (start["resumed_from"], start["git_commit"], start["log"]) == (None, None, "trials/00000/attempt-0.log")
    assert study.reports() == [(1, {"eval_loss": 2.5}), (2, {"eval_loss": 1.5, "f1": 0.5, "peak_gpu_gb": 3.5})]
    assert 0 < memory["peak_host_gb"] < 1
    assert memory["peak_gpu_gb"] == 3.5
    assert (end["outcome"], end["reason"], end["exit_code"], end["tail"]) == ("complete", "", 0, [])
    assert end["metrics"] == {"eval_loss": 1.5, "f1": 0.5, "peak_gpu_gb": 3.5}
    assert json.loads(study.trial().record.read_bytes()) == {
        "number": 0, "params": {"lr": 1e-5}, "signature": "01234567", "seed": 5, "wave": 0, "attrs": {"rung": 0},
    }  # fmt: skip
    assert study.trial().root.stat().st_mode & 0o777 == 0o700
    assert list(study.scratch.glob("hposlurm-attempt-*")) == []


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (f"{OK}; exit 3", "command exited with status 3"),
        ("no-such-program", "command exited with status 127 (command not found)"),
        (
            f"{OK}; kill -9 $$",
            "command was killed by signal 9 (SIGKILL): often the kernel's out-of-memory killer",
        ),
        (
            f"{sys.executable} -c 'raise ValueError(\"boom\")'",
            "command exited with status 1: ValueError: boom",
        ),
        ("true", "reported no metrics at all; use hposlurm.client.report or trial.metric_pattern"),
        (
            "echo garbage >> $HPOSLURM_METRICS_FILE",
            "reported no metrics at all (1 line of its metrics file is not a report); "
            "use hposlurm.client.report or trial.metric_pattern",
        ),
        (report(1, loss=1, f1=2), "never reported eval_loss; reported: f1, loss"),
        (report(3, eval_loss='"abc"'), "eval_loss at step 3 is 'abc', which is not a number"),
        (report(3, eval_loss="NaN"), "eval_loss at step 3 is nan"),
        ("echo a\0b", "command could not be started: embedded null byte"),
    ],
)
def test_a_trial_without_a_result_fails_for_a_reason(study: Study, command: str, reason: str) -> None:
    study.plan(f"{command}" if "\0" in command else f"echo some output; {command}")
    assert study.run()[0] == 1
    assert study.end() == ("fail", reason)
    assert "\0" in command or study.record("end")["tail"][0] == "some output"


def test_a_nan_on_the_way_to_a_number_does_no_harm(study: Study) -> None:
    study.plan(f"{report(1, eval_loss='NaN')}; {report(2, eval_loss=1)}")
    assert study.run()[0] == 0
    assert study.reports() == [(1, {"eval_loss": "nan"}), (2, {"eval_loss": 1.0})]


def test_a_pattern_reads_metrics_from_the_output(study: Study) -> None:
    script = "echo 'step=2 loss=0.5 acc=high'; echo noise; printf 'loss=nan\\rloss=0.25 acc=0.75'"
    study.plan(script, metric_pattern=r"(step=(?P<step>\d+) )?loss=(?P<eval_loss>\S+)( acc=(?P<acc>\S+))?")
    assert study.run()[0] == 0
    assert study.reports() == [
        (2, {"eval_loss": 0.5, "acc": "high"}),
        (2, {"eval_loss": "nan"}),
        (3, {"eval_loss": 0.25, "acc": 0.75}),
    ]


def test_a_pattern_and_the_tail_see_this_attempt_s_output_alone(study: Study, tmp_path: Path) -> None:
    log = tmp_path / "element.out"
    log.write_text("loss=9\nolder\n")
    study.plan("echo newer; exit 1", metric_pattern="loss=(?P<eval_loss>.*)")
    study.run(HPOSLURM_LOG=str(log))
    assert study.reports() == []
    assert study.record("end")["tail"] == ["newer"]
    assert study.record("start")["log"] == str(log)
    assert log.read_text() == "loss=9\nolder\nnewer\n"


HOSTILE = {
    "semicolon": '"; rm -rf ~',
    "substitution": "$(touch pwned) `touch pwned` ${HOME}",
    "newline": "a\nb",
    "quotes": 'it\'s "so"',
    "unicode": "größe 你好",
    "empty": "",
    "glob": "* ~ \\",
    "yes": True,
    "nothing": None,
    "tiny": 1e-05,
    "whole": 3,
}


def test_hostile_parameters_arrive_exactly(study: Study) -> None:
    show = (
        "import json, os, sys; from hposlurm import client; print(json.dumps([sys.argv[1:], "
        "{k[15:]: v for k, v in os.environ.items() if k.startswith('HPOSLURM_PARAM_')}, client.params()]))"
    )
    template = f"{sys.executable} -c {shlex.quote(show)} {{{{ {' }} {{ '.join(HOSTILE)} }}}} > arrived"
    study.plan(command_line(template, HOSTILE, {}), assignment={"params": HOSTILE})
    study.run()
    argv, variables, params = json.loads(study.file("arrived"))
    texts = {name: param_text(value) for name, value in HOSTILE.items()}
    assert argv == list(texts.values())
    assert variables == texts
    assert params == HOSTILE
    assert not (study.root / "pwned").exists()


def test_the_command_gets_its_job_and_its_place_and_not_the_worker_s_step(study: Study) -> None:
    study.plan(
        "env -0 > variables; pwd > where; cat > stdin; echo >> stdin",
        assignment={"from_step": 2, "to_step": 4},
        max_resource=9,
    )
    step = {
        "PMIX_RANK": "0", "RANK": "0", "LOCAL_RANK": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "1",
        "SLURM_STEP_ID": "0",
        "SLURM_STEPID": "0", "SLURM_LOCALID": "0", "SLURM_GTIDS": "0", "SLURM_CPU_BIND": "mask", "SLURM_TASK_PID": "1",
        "TORCHELASTIC_RUN_ID": "x", "HPOSLURM_PARAM_old": "x", "HPOSLURM_GRACE_S": "27",
        "PET_NPROC_PER_NODE": "9", "SUBMITIT_EXECUTOR": "x", "ROLE_NAME": "x", "GROUP_WORLD_SIZE": "2",
    }  # fmt: skip
    job = {
        "SLURM_JOB_ID": "7", "SLURM_JOBID": "7", "SLURM_CONF": "/etc/x", "SLURM_ARRAY_JOB_ID": "7",
        "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_CPUS_PER_TASK": "4",
        "SLURM_RESTART_COUNT": "1",
        "SLURM_TMPDIR": "/tmp/7", "MASTER_ADDR": "n1", "MASTER_PORT": "1", "SRUN_CPUS_PER_TASK": "4",
        "SLURMD_NODENAME": "n9", "MASTER_KEY": "k", "CUDA_VISIBLE_DEVICES": "1,2", "KEPT": "yes",
    }  # fmt: skip
    study.run(**step, **job)
    entries = (study.root / "variables").read_bytes().decode().split("\0")
    variables = dict(entry.split("=", 1) for entry in entries if entry)
    assert not set(step) & set(variables)
    assert job.items() <= variables.items()
    assert variables["SLURM_OVERLAP"] == "1"  # its own srun runs in the job, beside the worker's step
    assert {k: v for k, v in variables.items() if k.startswith("HPOSLURM_") and "_FILE" not in k} == {
        "HPOSLURM_STUDY": "demo",
        "HPOSLURM_STUDY_DIR": str(study.root),
        "HPOSLURM_TRIAL": "0",
        "HPOSLURM_ATTEMPT": "0",
        "HPOSLURM_WAVE": "0",
        "HPOSLURM_TRIAL_DIR": str(study.trial().root),
        "HPOSLURM_CHECKPOINT_DIR": str(study.trial().checkpoints),
        "HPOSLURM_RESUME_FROM": "",
        "HPOSLURM_REPORTED_STEP": "",
        "HPOSLURM_FROM_STEP": "2",
        "HPOSLURM_MAX_STEP": "4",
        "HPOSLURM_MAX_RESOURCE": "9",
        "HPOSLURM_SEED": "5",
        "HPOSLURM_TRIAL_SEED": "5",
        "HPOSLURM_JOB_ID": "7_3",
        "HPOSLURM_HOST": "n9",
        "HPOSLURM_GPUS": "0",
        "HPOSLURM_GPU_IDS": "1,2",
    }
    assert variables["PET_SIGNALS_TO_HANDLE"] == "SIGQUIT"
    assert variables["TMPDIR"].startswith(f"{study.scratch}/hposlurm-attempt-")
    assert variables["TRITON_CACHE_DIR"].startswith(f"{study.scratch}/hposlurm-attempt-")
    assert variables["TORCH_EXTENSIONS_DIR"].startswith(
        f"{study.scratch}/hposlurm-shared-{os.getuid()}/torch_extensions/"
    )
    assert (study.file("where"), study.file("stdin")) == (str(study.root), "")


def test_caches_lie_where_the_user_says(study: Study) -> None:
    study.plan('echo "$TORCH_EXTENSIONS_DIR $TRITON_CACHE_DIR" > caches')
    study.run(TORCH_EXTENSIONS_DIR="/mine/a", TRITON_CACHE_DIR="/mine/b")
    assert study.file("caches") == "/mine/a /mine/b"
    assert not (study.scratch / f"hposlurm-shared-{os.getuid()}").exists()


def test_gpus_are_the_plan_s_where_the_node_shows_some(study: Study) -> None:
    study.plan("true", gpus=2)
    study.run(SLURM_JOB_GPUS="4,7")
    assert (study.record("start")["gpus"], study.record("start")["gpu_ids"]) == (2, "4,7")


def test_an_element_that_is_requeued_without_end_and_gets_nowhere_is_not_run_again(study: Study) -> None:
    """No planner step comes between two runs of a job that Slurm itself requeues."""
    study.plan(f"echo ran >> ran; {OK}")
    study.trial().root.mkdir(parents=True)
    start = {"kind": "start", "t": 1.0, "wave": 0, "index": 0, "host": "n1", "job_id": "1_0", "gpus": 0}
    end = {"kind": "end", "t": 2.0, "outcome": "interrupted", "reason": "SIGTERM (cancelled or preempted)"}
    for attempt in range(10):
        records = [start, end] if attempt % 2 else [start]  # every other one was killed without a word
        study.trial().journal(attempt).write_text("".join(json.dumps(r) + "\n" for r in records))
    status, said = study.run()
    assert status == 1
    assert "trial 0 is not run again: no progress: 10 attempts in a row ended before a first step" in said
    assert not (study.root / "ran").exists() and study.trial().attempts() == list(range(10))
    study.trial().journal(9).unlink()
    assert study.run()[0] == 0


def test_a_trial_that_is_complete_is_never_run_again(study: Study) -> None:
    study.plan(f"echo ran >> ran; {OK}")
    assert study.run()[0] == 0
    status, said = study.run()
    assert status == 0
    assert "trial 0 has ended for good already (attempt 0): nothing to run" in said
    assert study.file("ran") == "ran"
    assert study.trial().attempts() == [0]


def test_a_failed_trial_gets_its_next_attempt(study: Study) -> None:
    study.plan(f"test $HPOSLURM_ATTEMPT = 1 && {OK}")
    study.trial().root.mkdir(parents=True)
    assert study.run()[0] == 1
    study.trial().request.write_text("from an earlier life")
    assert study.run()[0] == 0
    assert (study.end(0)[0], study.end(1)[0]) == ("fail", "complete")
    assert not study.trial().request.exists()


def test_a_checkpoint_that_exists_is_resumed_from(study: Study) -> None:
    checkpoint = study.trial().checkpoints / "step-2"
    commands = {"command_resumed": f'echo "$HPOSLURM_RESUME_FROM" > resumed; {OK}'}
    study.plan(f"echo scratch > resumed; {report(1, other=1)}", assignment=commands)
    study.run()
    assert study.file("resumed") == "scratch"
    checkpoint.mkdir(parents=True)
    (checkpoint / "COMPLETE").touch()
    study.run()
    assert study.file("resumed") == str(checkpoint)
    assert study.record("start", attempt=1)["resumed_from"] == str(checkpoint)
    assert study.record("start", attempt=1)["copied_from"] is None


def test_workers_of_one_assignment_get_journals_of_their_own(study: Study) -> None:
    study.plan(f"touch started-$HPOSLURM_ATTEMPT; until [ -e go ]; do sleep 0.02; done; {OK}")
    workers = [study.start() for _ in range(3)]
    until(lambda: len(list(study.root.glob("started-*"))) == 3)
    (study.root / "go").touch()
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert study.trial().attempts() == [0, 1, 2]
    assert sorted(study.record("start", n)["pid"] for n in range(3)) == sorted(w.pid for w in workers)


def test_what_a_command_leaves_behind_is_killed(study: Study) -> None:
    """Also in a session of its own, as torchrun's ranks are."""
    elsewhere = "setsid sh -c 'echo $$ > two; exec sleep 1000' & until [ -s two ]; do sleep 0.01; done"
    study.plan(f"sleep 1000 & echo $! > one; {elsewhere}; {OK}")
    assert study.run()[0] == 0
    pids = [int(study.file(name)) for name in ("one", "two")]
    assert not any(is_alive(pid) for pid in pids)


def test_a_killed_worker_takes_its_command_with_it(study: Study) -> None:
    study.plan("setsid sleep 1000 & echo $$ $! > pids; sleep 1000")
    worker = study.start()
    pids = [int(pid) for pid in study.file("pids").split()]
    worker.kill()
    until(lambda: not any(is_alive(pid) for pid in pids))
    until(lambda: not list(study.scratch.glob("hposlurm-attempt-*")))
    assert [r["kind"] for r in study.records()] == ["start"]


def test_output_may_be_anything(study: Study) -> None:
    script = "import os, sys; os.write(1, b'\\xff\\xfe\\x1b[31mred\\x1b[0m\\n' + b'x' * 1_000_000); sys.exit(1)"
    study.plan(f'{sys.executable} -c "{script}"', metric_pattern="(?P<eval_loss>never)")
    assert study.run()[0] == 1
    tail = study.record("end")["tail"]
    assert len("\n".join(tail).encode()) <= 4096
    assert set(tail[-1]) == {"…", "x"}


def test_a_flood_of_reports_arrives_whole(study: Study) -> None:
    lines = "import os; open(os.environ['HPOSLURM_METRICS_FILE'], 'a').writelines("
    lines += 'f\'{{"step": {n}, "metrics": {{"eval_loss": {n}}}}}\\n\' for n in range(2000))'
    study.plan(f"{sys.executable} -c {shlex.quote(lines)}")
    assert study.run()[0] == 0
    assert [step for step, _ in study.reports()] == list(range(2000))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{root}", "0"], "usage: python -m hposlurm.worker STUDY_DIR WAVE INDEX"),
        (["{root}", "0", "-1"], "usage: python -m hposlurm.worker STUDY_DIR WAVE INDEX"),
        (["{root}/nowhere", "0", "0"], "is not a directory; a study directory was expected"),
        (["{root}", "0", "2"], "wave 0 has 1 assignments, counted from 0; there is no 2"),
    ],
)
def test_what_cannot_be_run_is_said(study: Study, arguments: list[str], said: str) -> None:
    study.plan("true")
    words = [argument.format(root=study.root) for argument in arguments]
    done = subprocess.run([sys.executable, "-m", "hposlurm.worker", *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (study.root / "trials").exists()


def test_other_parameters_under_the_same_number_are_refused(study: Study) -> None:
    study.plan("true")
    study.trial().root.mkdir(parents=True)
    study.trial().record.write_text('{"signature": "ffffffff"}')
    status, said = study.run()
    assert status == 2
    assert "has the signature 'ffffffff', but the plan says '01234567'" in said
    assert study.trial().attempts() == []


def test_a_trial_directory_that_cannot_be_written_is_said(study: Study) -> None:
    study.plan("true")
    (study.root / "trials").write_text("in the way")
    status, said = study.run()
    assert status == 2
    assert str(study.root / "trials") in said


def test_a_missing_working_directory_is_the_reason(study: Study) -> None:
    study.plan("true", workdir=str(study.root / "gone"))
    assert study.run()[0] == 1
    assert study.end()[1].startswith("command could not be started: ")
    assert str(study.root / "gone") in study.end()[1]


def test_without_a_log_the_training_goes_on(study: Study) -> None:
    study.plan(OK)
    assert study.run(HPOSLURM_LOG=str(study.root / "no" / "such" / "directory"))[0] == 0
    assert study.record("start")["log"] == "trials/00000/attempt-0.log"


def test_reports_are_journalled_while_the_command_runs(study: Study) -> None:
    study.plan(f"{OK}; until [ -e go ]; do sleep 0.02; done")
    worker = study.start()
    until(lambda: study.reports())
    assert worker.poll() is None
    (study.root / "go").touch()
    assert worker.wait() == 0


def test_the_client_and_the_worker_understand_each_other(study: Study) -> None:
    script = (
        "from hposlurm import client; client.report(1, eval_loss=float('inf'), note='x'); "
        "client.report(2, eval_loss=0.5); client.report_checkpoint(2, client.checkpoint_dir() / 'step-2')"
    )
    study.plan(f"{sys.executable} -c {shlex.quote(script)}")
    assert study.run()[0] == 0
    assert study.reports() == [(1, {"eval_loss": "inf", "note": "x"}), (2, {"eval_loss": 0.5})]
    checkpoint = study.record("checkpoint")
    assert (checkpoint["step"], checkpoint["path"]) == (2, str(study.trial().checkpoints / "step-2"))


def test_a_journal_with_a_broken_line_still_tells_that_the_trial_is_complete(study: Study) -> None:
    study.plan(OK)
    assert study.run()[0] == 0
    path = study.trial().journal(0)
    path.write_bytes(b"{broken\n" + path.read_bytes())
    assert journal.read(path).corrupt == 1
    assert study.run()[0] == 0
    assert study.trial().attempts() == [0]


def test_the_worker_imports_the_standard_library_alone() -> None:
    code = "import json, sys; import hposlurm.worker.run; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], **CAPTURED)
    bare = subprocess.run(
        [sys.executable, "-c", "import json, sys; print(json.dumps(sorted(sys.modules)))"], **CAPTURED
    )
    added = {name.split(".")[0] for name in set(json.loads(done.stdout)) - set(json.loads(bare.stdout))}
    assert added - {"hposlurm"} <= sys.stdlib_module_names
