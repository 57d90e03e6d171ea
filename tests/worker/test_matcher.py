"""Lines are matched in a process of its own, which a pattern can make hang, and which then is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from hposlurm.worker import matcher as module
from hposlurm.worker.matcher import Matcher
from tests.worker.study import Study, is_alive, report, until

LOSS = r"loss (?P<loss>\S+)"
#: Needs 2^45 steps to see that it does not match.
HOSTILE_PATTERN, HOSTILE_LINE = r"(?P<loss>(?:\d+)+)$", b"1" * 45 + b"x"


@pytest.fixture
def make() -> Iterator[type[Matcher]]:
    made: list[Matcher] = []

    def start(pattern: str) -> Matcher:
        made.append(Matcher(pattern))
        return made[-1]

    yield start  # type: ignore[misc]
    for one in made:
        one.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_S", 0.1)
    monkeypatch.setattr(module, "_LOOK_S", 0.1)


def pid_of(matcher: Matcher) -> int:
    process = matcher._process
    assert process is not None
    return process.pid


def test_matches_come_in_the_order_of_the_lines(make) -> None:
    matcher = make(LOSS)
    matcher.put([b"loss 1", b"nothing", b"loss 2 loss 3", "loss é".encode(), b"loss \xff"])
    assert matcher.finish([], 60) == [
        *([{"loss": "1"}], [{"loss": "2"}, {"loss": "3"}], [{"loss": "é"}], [{"loss": "�"}]),
    ]
    assert (matcher.seen, matcher.complaint) == (5, "")


def test_no_process_is_started_without_lines(make) -> None:
    matcher = make(LOSS)
    assert (matcher.take(), matcher.finish([[]], 60), matcher._process) == ([], [], None)


def test_a_hundred_thousand_lines_take_one_process_and_few_calls(make) -> None:
    matcher = make(LOSS)
    matcher.put([b"step %d loss 0.5 and some more words behind it" % n for n in range(100_000)])
    found, calls = list(matcher.take()), 1
    first = pid_of(matcher)
    while matcher.seen < 100_000:
        time.sleep(0.05)  # a quarter of what the worker waits between two calls
        found += matcher.take()
        calls += 1
    assert (len(found), pid_of(matcher)) == (100_000, first)
    assert calls < 400


@pytest.mark.usefixtures("hasty")
def test_a_line_that_takes_too_long_is_left_out_and_no_other_is(make) -> None:
    matcher = make(HOSTILE_PATTERN)
    found = matcher.finish([[b"1", HOSTILE_LINE, b"2"], [b"3"]], 60)
    assert found == [[{"loss": "1"}], [{"loss": "2"}], [{"loss": "3"}]]
    assert matcher.complaint.startswith("trial.metric_pattern: 1 line of output left out: to match one took more than")


@pytest.mark.usefixtures("hasty")
def test_taking_never_waits_for_a_helper_that_hangs(make) -> None:
    """The rest of the worker's loop goes on; only the processor of the helper is busy."""
    matcher = make(HOSTILE_PATTERN)
    matcher.put([HOSTILE_LINE] * 10)
    calls = 0
    while not matcher.complaint:
        matcher.take()
        calls += 1
    assert calls > 100


@pytest.mark.usefixtures("hasty")
def test_a_pattern_that_always_takes_too_long_is_given_up(make) -> None:
    matcher = make(HOSTILE_PATTERN)
    assert matcher.finish([[HOSTILE_LINE] * 10, [b"1"]], 60) == []
    assert "no more lines are matched" in matcher.complaint
    assert matcher.complaint.startswith("trial.metric_pattern: 11 lines")
    matcher.put([b"1"])
    assert matcher.take() == []


def test_what_is_not_matched_in_time_is_left_out_and_told(make) -> None:
    matcher = make(HOSTILE_PATTERN)
    assert matcher.finish([[HOSTILE_LINE, b"1"]], 0.2) == []
    assert matcher.complaint.endswith("2 lines of output left out: the trial ended before they were matched")
    assert matcher._process is None


def test_a_helper_that_was_killed_is_replaced(make) -> None:
    matcher = make(LOSS)
    assert matcher.put([b"loss 1"]) is None and until(matcher.take) == [[{"loss": "1"}]]
    os.kill(pid_of(matcher), signal.SIGKILL)
    assert matcher.finish([[b"loss 2", b"loss 3"]], 60) in ([[{"loss": "3"}]], [[{"loss": "2"}], [{"loss": "3"}]])


def test_the_helper_is_deaf_to_what_slurm_sends_to_all_processes(make) -> None:
    matcher = make(LOSS)
    assert matcher.put([b"loss 1"]) is None and until(matcher.take)
    for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
        os.kill(pid_of(matcher), number)
    assert matcher.finish([[b"loss 2"]], 60) == [[{"loss": "2"}]]
    assert matcher.complaint == ""


def test_a_helper_that_cannot_start_costs_no_trial(make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys, "executable", "/nowhere/python")
    matcher = make(LOSS)
    assert matcher.finish([[b"loss 1"]], 60) == []
    assert "the process that matches cannot be started" in matcher.complaint


def test_a_hostile_line_does_not_outlast_the_timeout_and_costs_no_other_metric(study: Study) -> None:
    """It ignored trial.timeout and held the node for the whole time limit of the job."""
    study.plan(
        f"echo {'1' * 45}x; {report(1, eval_loss=0.5)}; echo $$ > pid; sleep 1000",
        metric_pattern=r"(?P<other>(?:\d+)+)$",
        timeout_s=1.0,
    )
    assert study.run()[0] == 1
    assert study.end()[0] == "fail" and "timeout" in study.end()[1]
    assert study.reports() == [(1, {"eval_loss": 0.5})]
    assert study.record("note")["text"].startswith("trial.metric_pattern: 1 line of output left out")
    assert not is_alive(int(study.file("pid")))


@pytest.mark.parametrize("instead", ["mkfifo {0}", "ln -s /dev/zero {0}", "mkdir {0}"])
def test_a_metrics_file_that_was_replaced_blocks_nothing(study: Study, instead: str) -> None:
    path = '"$HPOSLURM_METRICS_FILE"'
    study.plan(
        f"{report(1, eval_loss=0.5)}; until grep -q report attempt; do sleep 0.05; done; "
        f"rm {path}; {instead.format(path)}; until grep -q note attempt; do sleep 0.05; done"
    )
    (study.root / "attempt").symlink_to(study.trial().journal(0))
    assert study.run()[0] == 0
    assert study.reports() == [(1, {"eval_loss": 0.5})]
    assert study.record("note")["text"] == (
        "its metrics file is not a regular file any more; reports in it are not read"
    )


@pytest.mark.parametrize("instead", ["mkfifo {0}", "ln -s /dev/zero {0}"])
def test_a_log_that_was_replaced_blocks_nothing(study: Study, instead: str) -> None:
    log = study.trial().root / "attempt-0.log"
    study.plan(f"rm {log}; {instead.format(log)}; {report(1, eval_loss=0.5)}", metric_pattern=LOSS)
    assert study.run()[0] == 0
    assert study.end() == ("complete", "")


def test_a_pipe_in_the_place_of_the_next_log_blocks_nothing(study: Study) -> None:
    study.plan(f'mkfifo {study.trial().root}/attempt-1.log; test "$HPOSLURM_ATTEMPT" = 1 && {report(1, eval_loss=0.5)}')
    assert [study.run()[0], study.run()[0]] == [1, 1]  # the second mkfifo fails: the line ends the command
    assert study.trial().attempts() == [0, 1]


def test_a_watchdog_that_the_command_has_stopped_blocks_nothing(study: Study) -> None:
    stop = 'for p in $(pgrep -P "$PPID"); do [ "$p" = $$ ] || kill -STOP "$p"; done'
    study.plan(f"{report(1, eval_loss=0.5)}; {stop} || true")
    assert study.run()[0] == 0
