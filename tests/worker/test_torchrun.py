"""The worker around the real torchrun, whose ranks run in sessions of their own."""

import signal
import subprocess
import sys

import pytest

from tests.worker.study import Study, is_alive, until

pytestmark = pytest.mark.train
DEADLINE_S = 120.0

TRAIN = """
import os, pathlib, sys, time
from hposlurm import client

rank = os.environ["RANK"]
if "refuse" in sys.argv:
    import argparse
    argparse.ArgumentParser().parse_args(["--lrr"])
if "leave" in sys.argv and rank == "1":
    sys.exit("the data file has no questions")
pathlib.Path(f"pid-{rank}").write_text(f"{os.getpid()}\\n")
client.report(1, eval_loss=float(rank))
if "raise" in sys.argv:
    raise ValueError(f"rank {rank} is broken")
while "stay" in sys.argv or not client.should_stop():
    time.sleep(0.05)
"""


def launch(study: Study, *words: str) -> subprocess.Popen[str]:
    (study.root / "train.py").write_text(TRAIN)
    torchrun = f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node=2"
    study.plan(f"{torchrun} train.py {' '.join(words)}")
    return study.start(HPOSLURM_GRACE_S="1" if "stay" in words else "60")


def ranks(study: Study) -> list[int]:
    until(lambda: (study.root / "pid-0").exists() and (study.root / "pid-1").exists(), DEADLINE_S)
    return [int(study.file(f"pid-{rank}")) for rank in (0, 1)]


def test_a_request_lets_torchrun_end_by_itself(study: Study) -> None:
    worker = launch(study)
    pids = ranks(study)
    worker.send_signal(signal.SIGUSR2)
    assert worker.wait(DEADLINE_S) == 3
    assert study.end() == ("interrupted", "SIGUSR2 (time limit ahead)")
    assert study.record("end")["exit_code"] == 0
    assert study.reports() == [(1, {"eval_loss": 0.0})]
    assert not any(is_alive(pid) for pid in pids)


def test_ranks_that_stay_are_killed_though_they_have_sessions_of_their_own(study: Study) -> None:
    worker = launch(study, "stay")
    pids = ranks(study)
    worker.terminate()
    assert worker.wait(DEADLINE_S) == 3
    assert not any(is_alive(pid) for pid in pids)


def test_what_a_rank_raised_is_the_reason(study: Study) -> None:
    worker = launch(study, "raise")
    assert worker.wait(DEADLINE_S) == 1
    outcome, reason = study.end()
    assert outcome == "fail"
    assert reason.startswith("command exited with status 1: ValueError: rank ")


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("refuse", "status 1: train.py: error: unrecognized arguments: --lrr (a wrong argument, not tried again)"),
        ("leave", "status 1: the data file has no questions"),
    ],
)
def test_what_a_rank_said_before_torchrun_s_own_page_is_the_reason(study: Study, word: str, words: str) -> None:
    assert launch(study, word).wait(DEADLINE_S) == 1
    assert study.end() == ("fail", f"command exited with {words}")
    assert "=" * 20 not in study.record("end")["tail"]
