"""Scripts that save and exit at a signal, as people have them: trial.stop_signal and trial.stop_grace."""

import os
import signal
import sys

import pytest

from tests.worker.study import Study, is_alive, report, until

OK = report(1, eval_loss=2.5)
TRAP = f"trap 'echo > saved; exit 0' TERM; {OK}; echo > ready; while :; do sleep 0.02; done"
PYTHON = """
import pathlib, signal, sys, time
from hposlurm import client
asked = []
signal.signal(getattr(signal, sys.argv[1]), lambda *_: asked.append(1))
client.report(1, eval_loss=1.0)
pathlib.Path("ready").write_text("\\n")
while not asked:
    time.sleep(0.02)
pathlib.Path("saved").write_text("\\n")
"""


def python(study: Study, number: str) -> str:
    (study.root / "train.py").write_text(PYTHON)
    return f"{sys.executable} train.py {number}"


def ended_by(study: Study, number: signal.Signals) -> tuple[str, str]:
    worker = study.start(HPOSLURM_GRACE_S="60")
    until(lambda: (study.root / "ready").exists())
    worker.send_signal(number)
    assert worker.wait(30) == 3
    assert (study.root / "saved").exists()
    return study.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT])
def test_a_trap_of_bash_saves(study: Study, number: signal.Signals) -> None:
    (study.root / "train.sh").write_text(TRAP)
    study.plan("bash train.sh", stop_signal="TERM")
    assert ended_by(study, number)[0] == "interrupted"


@pytest.mark.parametrize("name", ["TERM", "USR1", "USR2", "INT"])
def test_a_handler_of_python_saves_and_the_attempt_is_not_complete(study: Study, name: str) -> None:
    study.plan(python(study, f"SIG{name}"), stop_signal=name)
    assert ended_by(study, signal.SIGTERM) == ("interrupted", "SIGTERM (cancelled or preempted)")
    assert study.record("end")["exit_code"] == 0


def test_of_several_programs_the_one_that_runs_saves_and_no_other_starts(study: Study) -> None:
    study.plan(f"cd .\n{python(study, 'SIGTERM')} | tee log\necho > another", stop_signal="TERM")
    assert ended_by(study, signal.SIGTERM)[0] == "interrupted"
    assert not (study.root / "another").exists()


def test_programs_without_a_handler_live_on_and_children_of_a_handler_are_its_own_affair(study: Study) -> None:
    inner = f"trap 'echo > of_a_child' TERM; echo $BASHPID > child; {OK}; echo > ready; while :; do sleep 0.02; done"
    (study.root / "inner.sh").write_text(inner)
    outer = "trap 'echo > saved; kill -KILL $(cat child); exit 0' TERM; bash inner.sh & while :; do sleep 0.02; done"
    (study.root / "outer.sh").write_text(outer)
    study.plan("(sleep 1000; true) & echo $! > deaf; bash outer.sh", stop_signal="TERM")
    assert ended_by(study, signal.SIGTERM)[0] == "interrupted"
    assert not (study.root / "of_a_child").exists()
    assert not is_alive(int(study.file("deaf")))  # at the end of the attempt, as everything


def test_slurm_s_own_signal_to_the_whole_step_changes_nothing(study: Study) -> None:
    """At a preemption srun sends SIGTERM to each process, the shell of the command included."""
    command = f"echo $$ > shell\n{python(study, 'SIGTERM')}"
    study.plan(f"{command}\necho > another", stop_signal="TERM")
    worker = study.start(HPOSLURM_GRACE_S="60")
    until(lambda: (study.root / "ready").exists())
    os.kill(int(study.file("shell")), signal.SIGTERM)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 3
    assert (study.root / "saved").exists() and not (study.root / "another").exists()
    assert study.end()[0] == "interrupted"


@pytest.mark.parametrize(
    ("name", "passed_on"),
    [(None, "SIGQUIT"), ("USR1", "SIGQUIT"), ("TERM", "SIGQUIT,SIGTERM"), ("USR2", "SIGQUIT,SIGUSR2")],
)
def test_torchrun_passes_on_what_slurm_sends_to_it_as_well(study: Study, name: str | None, passed_on: str) -> None:
    study.plan(f'{OK}; echo "$PET_SIGNALS_TO_HANDLE" > passed', stop_signal=name)
    study.run()
    assert study.file("passed") == passed_on


def test_a_script_that_handles_nothing_is_killed_soon(study: Study) -> None:
    study.plan(f"{OK}; echo > ready; exec sleep 1000", stop_signal="USR1", stop_grace_s=1000.0)
    worker = study.start()
    until(lambda: (study.root / "ready").exists())
    worker.terminate()
    assert worker.wait(30) == 3
    assert study.end()[1].startswith("SIGTERM (cancelled or preempted); killed after ")


def test_without_a_stop_signal_none_is_sent(study: Study) -> None:
    study.plan(f"{python(study, 'SIGUSR1')} || true")
    worker = study.start(HPOSLURM_GRACE_S="0.2")
    until(lambda: (study.root / "ready").exists())
    worker.terminate()
    assert worker.wait(30) == 3
    assert not (study.root / "saved").exists()
