"""What the real worker does when it is told to stop, and when time runs out."""

import os
import signal
import subprocess
import sys

import pytest

from tests.worker.study import Study, is_alive, report, until

OK = report(1, eval_loss=2.5)
# leaves when the request file is there; the status follows
WAIT = 'touch ready; until [ -e "$HPOSLURM_REQUEST_FILE" ]; do sleep 0.02; done; cat "$HPOSLURM_REQUEST_FILE" > seen'
STUBBORN = "echo $$ > pid; while :; do sleep 0.05; done"


def start(study: Study, *prefix: str, **environ: str) -> subprocess.Popen[str]:
    worker = study.start(*prefix, **environ)
    until(lambda: (study.root / "ready").exists() or (study.root / "pid").exists())
    return worker


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGTERM, "SIGTERM (cancelled or preempted)"),
        (signal.SIGUSR2, "SIGUSR2 (time limit ahead)"),
        (signal.SIGINT, "SIGINT"),
    ],
)
def test_a_signal_becomes_a_request_and_an_interrupted_attempt(study: Study, number: int, reason: str) -> None:
    study.plan(f"{OK}; {WAIT}; echo saved; exit 1")
    worker = start(study)
    worker.send_signal(number)
    assert worker.wait() == 3
    assert study.end() == ("interrupted", reason)
    assert study.file("seen") == reason
    assert study.record("end")["tail"] == ["saved"]
    assert study.reports() == [(1, {"eval_loss": 2.5})]


def test_a_request_is_not_written_through_a_link(study: Study) -> None:
    link = 'ln -s "$PWD/elsewhere" "$HPOSLURM_REQUEST_FILE"'
    study.plan(f"{link}; {STUBBORN}")
    worker = start(study, HPOSLURM_GRACE_S="0.5")
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    assert not (study.root / "elsewhere").exists()


def test_the_command_and_all_below_it_are_shielded_from_what_slurm_sends_to_a_step(study: Study) -> None:
    study.plan(f"(echo $BASHPID > child; {WAIT}) & echo $$ > top; wait; {OK}")
    worker = study.start()
    for name in ("child", "top"):
        for number in (signal.SIGTERM, signal.SIGUSR2):
            os.kill(int(study.file(name)), number)
    worker.send_signal(signal.SIGUSR2)
    assert worker.wait() == 0
    assert study.end() == ("complete", "")


def test_training_that_leaves_because_it_was_asked_is_not_complete(study: Study) -> None:
    script = (
        "import pathlib, time; from hposlurm import client; client.report(1, eval_loss=1.0)\n"
        "pathlib.Path('ready').touch()\nwhile not client.should_stop(): time.sleep(0.02)\n"
    )
    (study.root / "train.py").write_text(script)
    study.plan(f"{sys.executable} train.py")
    worker = start(study)
    worker.terminate()
    assert worker.wait() == 3
    assert study.end() == ("interrupted", "SIGTERM (cancelled or preempted)")
    assert study.record("end")["exit_code"] == 0


def test_training_that_finishes_all_the_same_is_complete(study: Study) -> None:
    study.plan(f"touch ready; until [ -e go ]; do sleep 0.02; done; {OK}")
    worker = start(study)
    worker.terminate()
    until(study.trial().request.exists)
    (study.root / "go").touch()
    assert worker.wait() == 0
    assert study.end() == ("complete", "")


def test_who_does_not_leave_within_the_grace_is_killed(study: Study) -> None:
    study.plan(f"{OK}; {STUBBORN}")
    worker = start(study, HPOSLURM_GRACE_S="0.1")
    pid = int(study.file("pid"))
    worker.terminate()
    assert worker.wait() == 3
    outcome, reason = study.end()
    assert outcome == "interrupted"
    assert reason.startswith("SIGTERM (cancelled or preempted); killed after ")
    assert not is_alive(pid)


def test_a_second_signal_kills_at_once(study: Study) -> None:
    study.plan(STUBBORN)
    worker = start(study, HPOSLURM_GRACE_S="1000")
    pid = int(study.file("pid"))
    worker.terminate()
    until(study.trial().request.exists)
    worker.send_signal(signal.SIGINT)
    assert worker.wait() == 3
    assert study.end()[1].startswith("SIGTERM (cancelled or preempted); killed after")
    assert not is_alive(pid)


def test_a_journal_that_cannot_be_written_stops_no_training_and_is_said(study: Study) -> None:
    """Files may have 1 KiB: 20 reports fit into the metrics file, but not into the journal."""
    study.plan(f"{'; '.join(report(n, eval_loss=n) for n in range(20))}; {WAIT}")
    worker = start(study, "bash", "-c", 'ulimit -f 1; exec "$@"', "bash")
    worker.terminate()
    _, error = worker.communicate()
    assert worker.returncode == 1
    assert study.file("seen") == "SIGTERM (cancelled or preempted)"
    assert error.count("the journal cannot be written, training goes on") == 1
    assert "records could not be written and are lost" in error
    assert [step for step, _ in study.reports()] == list(range(len(study.reports())))
    assert study.reports()


def test_a_trial_that_exceeds_its_timeout_fails_even_if_it_leaves_when_asked(study: Study) -> None:
    study.plan(f"{OK}; {WAIT}", timeout_s=1.0)
    assert study.run()[0] == 1
    assert study.end() == ("fail", "trial.timeout of 1 s exceeded")
    assert study.file("seen") == "trial.timeout exceeded"


def test_a_trial_that_exceeds_its_timeout_and_stays_is_killed(study: Study) -> None:
    study.plan(f"setsid sleep 1000 & echo $$ $! > pids; {STUBBORN}", timeout_s=0.2)
    assert study.run()[0] == 1
    assert study.end() == ("fail", "trial.timeout of 0.2 s exceeded")
    assert not any(is_alive(int(pid)) for pid in study.file("pids").split())
