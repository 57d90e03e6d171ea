"""Stopping at a report, with real workers: asked by what others recorded, saved, recorded, and never run again."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from hposlurm.pruning import DECISION, Curve, PruningDecision, StopRule, recomputed
from hposlurm.records import journal
from hposlurm.trial import Objective
from tests.worker.study import Study, report, until

LOSS = (Objective("eval_loss"),)
ASHA = StopRule("asha_stopping", LOSS, levels=(1, 3, 9))
# Reports once, saves when it is asked to leave, and would wait for that for ever
POLITE = f"""{sys.executable} -c '
import os, time
from hposlurm import client
client.report(step=1, eval_loss=0.5)
while not client.should_stop():
    time.sleep(0.02)
path = client.checkpoint_dir() / "step-1.json"
path.write_text(open(os.environ["HPOSLURM_REQUEST_FILE"]).read())
client.report_checkpoint(1, path)
'"""


def others(study: Study, *losses: float, outcome: str = "complete") -> None:
    """Trials 1, 2, … that have reported once each."""
    for number, loss in enumerate(losses, 1):
        layout = study.trial(number)
        layout.root.mkdir(parents=True)
        fd = journal.open_journal(layout.journal(0))
        journal.append(fd, {"kind": "report", "t": 1.0, "step": 1, "metrics": {"eval_loss": loss}})
        journal.append(fd, {"kind": "end", "t": 1.0, "outcome": outcome})


def curve(study: Study, trial: int) -> Curve:
    found = Curve(LOSS)
    for number in study.trial(trial).attempts():
        for record in study.records(number, trial):
            found.take(record)
    return found


def test_a_loser_saves_and_leaves_and_is_pruned_for_good(study: Study) -> None:
    others(study, 0.3, 0.2, 0.9)
    status, said = study.plan(POLITE, stop=ASHA).run()
    assert status == 0
    outcome, reason = study.end()
    assert outcome == "pruned"
    assert reason == "rung 1: eval_loss 0.5 is worse than 0.266667, which the best 1/3 of the 3 here before reach"
    assert f"trial 0 is asked to save and stop: {reason}" in said
    assert (study.trial().checkpoints / "step-1.json").read_text() == f"{reason}\n"
    assert study.record("checkpoint")["step"] == 1
    assert study.start().wait(30) == 0
    assert study.trial().attempts() == [0]


def test_the_recorded_decision_can_be_made_again(study: Study) -> None:
    others(study, 0.3, 0.2, 0.9)
    study.plan(POLITE, stop=ASHA).run()
    decision = PruningDecision.from_record(study.record(DECISION))
    assert (decision.level, decision.value, decision.others, decision.stops) == (1, 0.5, (1, 2, 3), True)
    assert recomputed(ASHA, decision, curve(study, 0), {n: curve(study, n) for n in (1, 2, 3)}) == decision


def test_a_winner_goes_on_and_the_journal_says_so(study: Study) -> None:
    others(study, 0.9)
    wait = f"while ! grep -q ruling {study.trial().journal(0)}; do sleep 0.02; done"
    study.plan(f"{report(1, eval_loss=0.5)}; {wait}; {report(2, eval_loss=0.4)}", stop=ASHA).run()
    assert study.end() == ("complete", "")
    decision = PruningDecision.from_record(study.record(DECISION))
    assert (decision.stops, decision.others) == (False, (1,))


@pytest.mark.parametrize(("outcome", "looks"), [("complete", 1500), ("pruned", 25)])
def test_only_completed_trials_make_the_median(study: Study, outcome: str, looks: int) -> None:
    others(study, 0.3, 0.2, outcome=outcome)
    look = 'test -e "$HPOSLURM_REQUEST_FILE" && exit 9; sleep 0.02'
    rule = StopRule("median", LOSS, warmup_trials=2)
    study.plan(f"{report(1, eval_loss=0.5)}; for i in $(seq {looks}); do {look}; done", stop=rule).run()
    assert study.end()[0] == ("pruned" if outcome == "complete" else "complete")


def test_a_command_that_cannot_save_is_ended_after_a_grace(study: Study) -> None:
    others(study, 0.1)
    status, _ = study.plan(f"{report(1, eval_loss=0.5)}; sleep 600", stop=ASHA).run()
    assert status == 0
    outcome, reason = study.end()
    assert outcome == "pruned"
    assert reason.endswith("the one here before has; killed after 3 s")


def test_who_joins_later_is_seen(study: Study) -> None:
    """The second rung is decided by a trial that began after this one."""
    study.plan(
        f"{report(1, eval_loss=0.5)}; while ! test -e go; do sleep 0.02; done; {report(3, eval_loss=0.5)}; sleep 600",
        stop=ASHA,
    )
    worker = study.start()
    until(lambda: any(r["kind"] == DECISION for r in study.records()))
    others(study, 0.9, 0.9)
    with open(study.trial(2).journal(0), "a") as rival:
        rival.write(json.dumps({"kind": "report", "t": 1.0, "step": 3, "metrics": {"eval_loss": 0.1}}) + "\n")
    (study.root / "go").write_text("")
    worker.communicate(timeout=30)
    first, second = (PruningDecision.from_record(r) for r in study.records() if r["kind"] == DECISION)
    assert (first.stops, first.others) == (False, ())
    assert (second.stops, second.level, second.others) == (True, 3, (2,))


def test_what_was_decided_before_the_job_died_is_not_trained_again(study: Study) -> None:
    """The worker dies between the decision and the end of the command: the next attempt only says so."""
    others(study, 0.1)
    study.plan(POLITE, stop=ASHA)
    stop = PruningDecision("asha_stopping", 1, True, "rung 1: it was enough", 1, 0.5, 0.1, (1,))
    study.trial().root.mkdir(parents=True)
    fd = journal.open_journal(study.trial().journal(0))
    start: dict[str, Any] = {"wave": 0, "index": 0, "host": "n1", "job_id": "1_0", "gpus": 0}
    journal.append(fd, {"kind": "start", "t": 1.0, **start})
    journal.append(fd, {"kind": "report", "t": 1.0, "step": 1, "metrics": {"eval_loss": 0.5}})
    journal.append(fd, {"kind": DECISION, "t": 1.0, **stop.to_record()})
    status, _ = study.run()
    assert status == 0
    assert study.end(1) == ("pruned", "rung 1: it was enough")
    assert study.reports(1) == []


def test_a_request_to_leave_comes_before_a_decision(study: Study) -> None:
    """A preempted trial is interrupted; its decision, made after that, ends it when it is tried again."""
    others(study, 0.1)
    hold = "trap '' TERM; while ! test -e go; do sleep 0.02; done"
    study.plan(f"{hold}; {report(1, eval_loss=0.5)}; sleep 600", stop=ASHA)
    worker = study.start(HPOSLURM_GRACE_S="10")
    until(lambda: study.records())
    until(lambda: "start" in {r["kind"] for r in study.records()})
    worker.terminate()
    until(lambda: study.trial().request.exists())
    (study.root / "go").write_text("")
    worker.communicate(timeout=30)
    assert study.end()[0] == "interrupted"
    study.run()
    assert study.end(1)[0] == "pruned"
