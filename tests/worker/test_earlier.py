"""An attempt that resumes counts what earlier ones reported up to its checkpoint."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from typing import Any

import pytest

from hposlurm.records.assignment import Assignment
from hposlurm.worker.earlier import Earlier, earlier
from tests.worker.study import Study, report, until

ASSIGNMENT = Assignment(trial=0, params={}, signature="", seed=0, command="true")

# The loop that hposlurm.client documented for long: the checkpoint is saved before the evaluation.
LOOP = """
import os, pathlib, sys, time
from hposlurm import client

folder = client.checkpoint_dir()
done = int(client.resume_from().name.split("-")[1]) if client.resume_from() else 0
for epoch in range(done + 1, (client.max_step() or 3) + 1):
    (folder / f"epoch-{epoch}").mkdir(exist_ok=True)
    client.report_checkpoint(epoch, folder / f"epoch-{epoch}")
    if sys.argv[1] == "evaluating" and epoch == 3:
        time.sleep(1000)
    client.report(epoch, eval_loss=1 / epoch)
    if client.should_stop():
        break
if sys.argv[1] == "ending" and done < 3:
    time.sleep(1000)
"""


def save(step: int, *, told: bool = True) -> str:
    """A shell command that saves a marked checkpoint, and reports it if `told`."""
    line = f'echo "{{\\"checkpoint\\": \\"$P\\", \\"step\\": {step}}}" >> "$HPOSLURM_METRICS_FILE"'
    saved = f'P="$HPOSLURM_CHECKPOINT_DIR"/step-{step}; mkdir -p "$P"; touch "$P"/COMPLETE'
    return f"{saved}; {line}" if told else saved


def killed_then_run(study: Study, first: str, resumed: str = "true", **fields: Any) -> None:
    """Attempt 0 runs `first` and is killed with its worker while it does something else; attempt 1 runs `resumed`."""
    command = f'if [ -z "$HPOSLURM_RESUME_FROM" ]; then {first}; touch quiet; sleep 1000; else {resumed}; fi'
    study.plan(command, **fields)
    worker = study.start()
    until(lambda: (study.root / "quiet").exists())
    until(lambda: len(study.records()) > first.count("METRICS_FILE"))
    worker.kill()
    worker.communicate()
    study.run()


def test_an_attempt_with_nothing_left_to_train_completes_with_what_was_reported(study: Study) -> None:
    killed_then_run(study, f"{report(1, eval_loss=2)}; {report(2, eval_loss=1, f1=0.5)}; {save(2)}")
    assert study.reports(1) == []
    assert study.end(1) == ("complete", "")
    assert study.record("end", 1)["metrics"] == {"eval_loss": 1.0, "f1": 0.5}


def test_what_was_reported_after_the_checkpoint_does_not_count(study: Study) -> None:
    first = f"{report(1, eval_loss=2)}; {save(1)}; {report(2, eval_loss=1)}"
    killed_then_run(study, first, assignment={"to_step": 2})
    assert study.end(1) == ("complete", "it ended by itself at step 1, before the 2 that was assigned")
    assert study.record("end", 1)["metrics"] == {"eval_loss": 2.0}


def test_an_attempt_from_scratch_takes_nothing_over(study: Study) -> None:
    study.plan(f'test "$HPOSLURM_ATTEMPT" = 1 || {{ {report(2, eval_loss=1)}; exit 1; }}')
    assert (study.run()[0], study.run()[0]) == (1, 1)
    assert study.end(1)[1].startswith("reported no metrics at all")


def test_a_stage_in_which_nothing_was_trained_is_not_complete(study: Study) -> None:
    """A command that ends at once where it should train on is broken, whatever the stages before it reported."""
    first = f"{report(2, eval_loss=1)}; {save(2)}"
    killed_then_run(study, first, assignment={"from_step": 2, "to_step": 4, "stage": 1})
    assert study.end(1)[0] == "fail"


def test_a_value_that_is_not_a_number_is_not_completed_either(study: Study) -> None:
    killed_then_run(study, f"{report(2, eval_loss='NaN')}; {save(2)}")
    assert study.end(1) == ("fail", "eval_loss at step 2 is nan")


def test_reports_that_are_counted_are_counted_on(study: Study) -> None:
    first = f"echo loss=3; echo loss=2; {save(2, told=False)}; echo loss=9"
    study.plan(
        f'if [ -z "$HPOSLURM_RESUME_FROM" ]; then {first}; sleep 1000; fi; echo loss=1',
        metric_pattern="loss=(?P<eval_loss>.*)",
    )
    worker = study.start()
    until(lambda: len(study.reports()) == 3)
    worker.kill()
    worker.communicate()
    assert study.run()[0] == 0
    assert study.reports(1) == [(3, {"eval_loss": 1.0})]


@pytest.mark.parametrize(("moment", "step"), [("evaluating", 2), ("ending", 3)])
def test_the_loop_of_the_client_completes_a_trial_that_was_killed_in_its_last_evaluation(
    study: Study, moment: str, step: int
) -> None:
    (study.root / "loop.py").write_text(LOOP)
    study.plan(f"{sys.executable} loop.py {moment}")
    worker = study.start()
    until(lambda: [r["kind"] for r in study.records()].count("checkpoint") == 3 and len(study.reports()) == step)
    worker.kill()
    worker.communicate()
    assert study.run()[0] == 0
    assert study.end(1)[0] == "complete"
    assert study.record("end", 1)["metrics"] == {"eval_loss": 1 / step}
    notes = [record["text"] for record in study.records(1) if record["kind"] == "note"]
    told = "after its checkpoint of step 3, and nothing was reported there: the values of step 2 count"
    assert [told in note for note in notes] == [True] * (3 - step)


def test_should_stop_knows_that_the_last_step_was_reported_before_the_checkpoint(study: Study) -> None:
    asks = f"{sys.executable} -c {shlex.quote('from hposlurm import client; print(client.should_stop())')} > asked"
    killed_then_run(study, f"{report(2, eval_loss=1)}; {save(2)}", asks, assignment={"to_step": 2})
    assert study.file("asked") == "True"
    assert study.end(1)[0] == "complete"


def journals(study: Study, *attempts: list[dict[str, Any]]) -> None:
    study.trial().root.mkdir(parents=True)
    for number, records in enumerate(attempts):
        study.trial().journal(number).write_text("".join(json.dumps({"t": 1.0, **r}) + "\n" for r in records))


def reported(step: int, **metrics: float) -> dict[str, Any]:
    return {"kind": "report", "step": step, "metrics": metrics}


def test_the_newest_attempt_that_saved_a_checkpoint_says_its_step(study: Study) -> None:
    """Two attempts saved under one name: the second overwrote the first one's file."""
    older = [reported(1, loss=1.0), {"kind": "checkpoint", "step": 1, "path": "/c/last"}, reported(2, loss=2.0)]
    newer = [reported(2, loss=2.5), {"kind": "checkpoint", "step": 2, "path": "/c/last"}, reported(3, loss=3.0)]
    journals(study, older, newer)
    assert earlier(study.trial(), ASSIGNMENT, 2, "/c/last").last == {"loss": (2, 2.5)}
    assert earlier(study.trial(), ASSIGNMENT, 1, "/c/last").last == {"loss": (1, 1.0)}


def test_of_a_checkpoint_that_was_never_reported_everything_counts(study: Study) -> None:
    """The number in its name may be an optimizer step, or an epoch counted from 0."""
    journals(study, [reported(1, loss=1.0), reported(2, loss=2.0)])
    found = earlier(study.trial(), ASSIGNMENT, 1, "/c/checkpoint-1")
    assert (found.last, found.counts) == ({"loss": (2, 2.0)}, {"loss": 1})


def test_of_many_reports_those_before_the_checkpoint_count_exactly(study: Study) -> None:
    """An attempt with many reports does not keep all of them, and a metric may be reported once in a while."""
    many = [reported(n, loss=float(n), **({"f1": float(n)} if n % 1000 == 7 else {})) for n in range(5000)]
    journals(study, [*many[:4500], {"kind": "checkpoint", "step": 4001, "path": "/c/last"}, *many[4500:]])
    found = earlier(study.trial(), ASSIGNMENT, 1, "/c/last")
    assert found.last == {"loss": (4001, 4001.0), "f1": (3007, 3007.0)}


def test_a_copy_of_another_trial_s_checkpoint_begins_at_its_step(study: Study) -> None:
    copied = replace(ASSIGNMENT, from_step=2, to_step=4, resume_from="trials/00007/checkpoints/epoch-2")
    journals(study, [reported(3, loss=3.0)])
    assert earlier(study.trial(), copied, 1, "/c/epoch-2") == Earlier(saved=2)


def test_the_last_step_counts_only_if_every_objective_has_a_number_there() -> None:
    found = Earlier({"a": (3, 1.0), "b": (2, 1.0), "c": (5, "nan")})
    assert (found.step(["a", "b"]), found.step(["a", "c"]), found.step(["a", "d"])) == (2, None, None)
