"""Five hundred workers of one study at the same time, and somebody who looks at it all the while."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from pathlib import Path

import pytest

from hposlurm.records import journal
from hposlurm.records.assignment import Assignment
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan, record_plan
from hposlurm.trial import TrialState
from hposlurm.worker.__main__ import main as worker
from tests.cli.attack import hposlurm
from tests.studies import make_study

WORKERS, REPORTS, LOOKS = 500, 12, 4
LINE = r'{"step": %d, "metrics": {"eval_loss": 0.5}}\n'


def fork_worker(root: Path, index: int, log: int) -> int:
    """A real worker process; forked, since five hundred interpreters would take two cores a minute to start."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        os.environ["HPOSLURM_JOB_ID"] = f"1_{index}"
        os.dup2(log, 2)
        status = worker([str(root), "0", str(index)])
    finally:
        os._exit(status)


def counted() -> dict[str, int]:
    status, out, err = hposlurm("status", "many", "--format", "json")
    assert status == 0, err
    view = json.loads(out)
    assert view["unreadable"] == {}
    return view["counts"]


@pytest.mark.long(100)
@pytest.mark.slurm
def test_nothing_that_500_workers_write_at_once_is_lost_or_torn(tmp_path: Path, monkeypatch, shell, wait_until) -> None:
    monkeypatch.setenv("HPOSLURM_RUNS", str(tmp_path / "runs"))
    layout = make_study(tmp_path / "runs", "many", n_trials=WORKERS)
    barrier, last = tmp_path / "barrier", tmp_path / "last"
    for fifo in (barrier, last):
        os.mkfifo(fifo)
    # opening a FIFO waits, without any polling, until somebody opens it to write
    report = f"printf '{LINE}' $i >> $HPOSLURM_METRICS_FILE"
    command = (
        f": < {barrier}; for i in $(seq {REPORTS - 1}); do {report}; sleep 1; done; : < {last}; i={REPORTS}; {report}"
    )
    assignments = tuple(Assignment(n, {"lr": 1e-5}, f"{n:08x}", n, command) for n in range(WORKERS))
    plan = WavePlan(0, "many", time.time(), "study.yaml", 1, ("eval_loss",), str(tmp_path), assignments=assignments)
    assert record_plan(layout.wave(0), plan)
    log = os.open(tmp_path / "workers.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    begin = time.monotonic()
    pids = [fork_worker(layout.root, n, log) for n in range(WORKERS)]
    try:
        wait_until(lambda: counted()["RUNNING"] == WORKERS, 300)
        all_there = time.monotonic()
        gates = [os.open(barrier, os.O_RDWR)]  # opens for those that wait, and for those that come
        seen, looks = -1, 0
        while seen < WORKERS:
            counts = counted()
            assert sum(counts.values()) == counts["RUNNING"] + counts["COMPLETE"] == WORKERS
            assert counts["COMPLETE"] >= seen
            seen, looks = counts["COMPLETE"], looks + 1
            if looks == LOOKS:
                gates.append(os.open(last, os.O_RDWR))
            assert time.monotonic() < all_there + 300
        statuses = {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids}
        pids = []
        for gate in gates:
            os.close(gate)
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
                os.waitpid(pid, 0)
    took = time.monotonic() - begin
    assert statuses == {0}
    assert looks > LOOKS  # the first ones while everybody was there and most of them wrote
    for number in range(WORKERS):
        tail = journal.read(layout.trial(number).journal(0))
        assert tail.corrupt == 0 and tail.offset == layout.trial(number).journal(0).stat().st_size
        assert [r["step"] for r in tail.records if r["kind"] == "report"] == list(range(1, REPORTS + 1))
        assert (tail.records[0]["kind"], tail.records[-1]["kind"]) == ("start", "end")
        assert layout.trial(number).attempts() == [0]
        assert json.loads(layout.trial(number).record.read_bytes())["number"] == number
    history = read_history(StudyLayout(layout.root))
    assert history.counts()[TrialState.COMPLETE] == WORKERS
    shell.ok("rebuild", "many")
    assert len(shell.rows("many")) == WORKERS
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
    print(
        f"{WORKERS} workers: {took:.1f} s, {looks} looks while they wrote, {peak:.0f} MiB the largest", file=sys.stderr
    )
