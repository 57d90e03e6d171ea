"""Why a command failed, from its last lines: what a person reads there first."""

from __future__ import annotations

import pytest

from hposlurm.worker.last_words import exception, last_words

BOX = """\
W1130 19:31:12.587000 6098 torch/distributed/elastic/multiprocessing/api.py:1028] Sending process 6541 closing signal SIGTERM
rank 0 waits 7
E1130 19:31:12.588000 6098 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: {code}) local_rank: {rank} (pid: 6540) of binary: /usr/bin/python
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
    raise ChildFailedError(
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  rank      : {rank} (local_rank: {rank})
  exitcode  : {code} (pid: 6540)
  error_file: <N/A>
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
============================================================
""".splitlines()  # noqa: E501 - as torch 2.13 writes it
OLD_LOG = (
    "ERROR:torch.distributed.elastic.multiprocessing.api:failed (exitcode: 1) local_rank: 0 (pid: 7) of binary: python"
)
ARGPARSE = ["usage: train.py [-h] [--lr LR]", "train.py: error: unrecognized arguments: --lrr 3"]


def box(code: int = 1, rank: int = 0) -> list[str]:
    return [line.format(code=code, rank=rank) for line in BOX]


def test_the_last_words_before_torchrun_s_box_are_the_reason() -> None:
    found = last_words(["loading", "the data file has no 'question'", *box()], 1)
    assert found.reason == "the data file has no 'question'" and not found.is_wrong_argument
    assert found.lines == ["loading", "the data file has no 'question'"]


def test_older_versions_of_torchrun_log_otherwise() -> None:
    assert last_words(["no data", OLD_LOG, *box()[3:]], 1).reason == "no data"


def test_of_several_ranks_the_one_that_failed_first_says_why() -> None:
    lines = ["[default1]:no data", "[default0]:epoch 1", "[default1]:bye", "[default0]:epoch 2", *box(rank=1)]
    assert last_words(lines, 1).reason == "bye"
    assert last_words(["[rank0]: epoch 1", "no data", "-----", *box(rank=1)], 1).reason == "no data"


def test_an_error_message_counts_before_the_talk_of_other_ranks() -> None:
    assert last_words(["error: data.json is not JSON", "rank 0 waits 1", *box(rank=1)], 1).reason == (
        "error: data.json is not JSON"
    )


def test_an_exception_counts_before_other_words_unless_an_error_message_follows() -> None:
    thrown = ["Traceback (most recent call last):", '  File "x"', "[rank1]: ValueError: no", "wandb: done"]
    assert last_words([*thrown, *box(rank=1)], 1).reason == "ValueError: no"
    caught = [*thrown, "error: no file is left"]
    assert last_words([*caught, *box()], 1).reason == "error: no file is left"


def test_a_rank_that_says_nothing_leaves_no_reason() -> None:
    assert last_words(box(3), 1).reason == ""


def test_without_a_launcher_only_an_exception_is_a_reason() -> None:
    assert last_words(["no data"], 1).reason == ""
    assert last_words(["KeyError: 'a'", "no data"], 1).reason == "KeyError: 'a'"


@pytest.mark.parametrize(
    "page",
    [
        ["[2026-11-30 19:00:00,1] [INFO] [launch.py:319:sigkill_handler] Killing subprocess 7", "exits"],
        ["[2026-11-30 19:00:00,1] [ERROR] [launch.py:325:sigkill_handler] ['python'] exits with return code = 1"],
        [
            "Traceback (most recent call last):",
            '  File "accelerate", line 8',
            "subprocess.CalledProcessError: Command '['python', 'train.py']' returned non-zero exit status 1.",
        ],
        ["srun: error: n1: task 0: Exited with exit code 1"],
    ],
    ids=["deepspeed", "deepspeed, older", "accelerate", "srun"],
)
def test_other_launchers_end_with_pages_of_their_own(page: list[str]) -> None:
    assert last_words(["no data", *page], 1).reason == "no data"


@pytest.mark.parametrize("launcher", [[], box(2), ["srun: error: n1: task 0: Exited with exit code 2"]])
@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (ARGPARSE, "train.py: error: unrecognized arguments: --lrr 3"),
        ([*ARGPARSE, *ARGPARSE], "train.py: error: unrecognized arguments: --lrr 3"),
        (["Usage: main [OPTIONS]", "Try --help", "", "Error: No such option: --lrr"], "Error: No such option: --lrr"),
        (
            [" Usage: main [OPTIONS]", f"╭─ Error {'─' * 9}╮", "│ No such option: --lrr   │", f"╰{'─' * 9}╯"],
            "No such option: --lrr",
        ),
    ],
    ids=["argparse", "two ranks", "click", "typer"],
)  # fmt: skip
def test_a_command_line_that_is_refused_is_a_wrong_argument(launcher: list[str], lines: list[str], reason: str) -> None:
    found = last_words([*lines, *launcher], 1 if launcher else 2)
    assert (found.reason, found.is_wrong_argument) == (reason, True)


def test_an_argument_that_transformers_does_not_know_is_wrong() -> None:
    text = "ValueError: Some specified arguments are not used by the HfArgumentParser: ['--lrr', '3']"
    assert last_words([text, *box()], 1).is_wrong_argument


@pytest.mark.parametrize(
    ("lines", "code"),
    [(ARGPARSE, 1), (["cat: x: No such file"], 2), (["train.py: error: no such file"], 2), (["usage: x"], 2)],
)
def test_other_ends_are_no_wrong_argument(lines: list[str], code: int) -> None:
    assert not last_words(lines, code).is_wrong_argument


def test_any_exception_that_ends_a_traceback_is_found() -> None:
    lines = ["Traceback (most recent call last):", '  File "x", line 1', "__main__.Abort: the data is gone", "bye"]
    assert exception(lines) == "__main__.Abort: the data is gone"
    assert exception([f"[rank1]: {line}" for line in lines]) == "__main__.Abort: the data is gone"


def test_the_last_exception_is_found() -> None:
    assert exception(["Traceback (most recent call last):", "KeyError: 'a'", "done"]) == "KeyError: 'a'"
    oom = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"
    assert exception([f"[rank1]: {oom}", "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: "]) == oom
    assert exception(["AssertionError"]) == "AssertionError"
    assert exception(["no Error: here", "  File x, line 1"]) == ""
