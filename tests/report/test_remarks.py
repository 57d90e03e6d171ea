"""What a person should know of how trials ran, each said once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.report.remarks import RemarkTally, remarks, tally_remarks
from hposlurm.spec.search import SearchSpec
from tests.studies import BEGIN, add_wave, assignment, completed, end, make_study, report, start, write_journal


def rung(number: int) -> Any:
    return replace(assignment(number), to_step=1, is_final=False)


def remarks_of(layout: StudyLayout, **search: Any) -> tuple[str, ...]:
    found = SearchSpec.model_validate({"max_resource": 9, **(search or {"algorithm": "asha"})})
    return remarks(read_history(layout), found)


def test_a_script_that_does_not_end_at_its_rung_is_told_at_its_first_report_past_it(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [rung(0), rung(1)], max_resource=9)
    write_journal(layout, 0, [start(0), report(1, eval_loss=1.0)])
    assert remarks_of(layout) == ()
    write_journal(layout, 0, [start(0), report(1, eval_loss=1.0), report(2, eval_loss=0.5)])
    (remark,) = remarks_of(layout)
    assert remark.startswith(
        "1 trial went past the step at which the search compares them (trial 0: step 2, assigned 1): "
    )
    assert "client.max_step()" in remark and "asha_stopping" in remark
    assert (
        "or take search: {algorithm: asha_stopping}, which needs no change" in remarks_of(layout, algorithm="auto")[0]
    )
    (bohb,) = remarks_of(layout, algorithm="bohb")
    assert bohb.endswith("or take search: {sampler: tpe, pruner: asha_stopping}, which needs no change of the script")
    (pbt,) = remarks_of(layout, algorithm="pbt", population_size=4, perturbation_interval=1)
    assert "pbt compares its members at the end of each generation" in pbt
    assert pbt.endswith("Let the script end at max_step ({{ max_step }}, client.max_step())")
    write_journal(layout, 1, [start(1), *(report(s, eval_loss=1.0) for s in range(1, 10)), end("complete")])
    assert remarks_of(layout)[0].startswith("2 trials went past")


def test_the_last_stage_has_no_end_that_could_be_passed(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [replace(assignment(0), to_step=1)], max_resource=1)
    write_journal(layout, 0, completed(0, 1.0, steps=3))
    assert remarks_of(layout) == ()


def test_what_workers_noted_is_said_once_with_its_trials(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(6))
    note = {"kind": "note", "t": BEGIN, "text": "its metrics file is gone"}
    for number in range(5):
        write_journal(layout, number, [start(number), note, note])
    write_journal(layout, 5, [start(5), {**note, "text": "another"}])
    assert remarks_of(layout) == ("trials 0, 1, 2 and 2 more: its metrics file is gone", "trial 5: another")


SECOND = {"stage": 1, "from_step": 2, "to_step": 6}


def start_of_stage(
    tmp_path: Path, resumed_from: str | None, *steps: int, checkpoint: str = "checkpoints/checkpoint-20"
) -> StudyLayout:
    layout = make_study(tmp_path)
    add_wave(layout, [replace(assignment(0), to_step=2, is_final=False)], max_resource=6)
    saved = {"kind": "checkpoint", "t": BEGIN, "step": 2, "path": checkpoint}
    write_journal(layout, 0, [start(0), report(1, eval_loss=3.0), report(2, eval_loss=2.0), saved, end("complete")])
    add_wave(layout, [replace(assignment(0), **SECOND)], max_resource=6)
    begun = start(0, attempt=1, wave=1, stage=1, resumed_from=resumed_from)
    write_journal(layout, 0, [begun, *(report(step, eval_loss=1.0) for step in steps)], attempt=1)
    return layout


def test_a_stage_that_starts_from_nothing_says_so(tmp_path: Path) -> None:
    (remark,) = remarks_of(start_of_stage(tmp_path, None, 1, 2, 3))
    assert remark.startswith(
        "1 trial trained again what was trained (trial 0 started from nothing at step 1, not after step 2: "
        "it had no checkpoint). Let the script save into checkpoint_dir"
    )


def test_a_stage_that_does_not_load_its_checkpoint_says_so(tmp_path: Path) -> None:
    (remark,) = remarks_of(start_of_stage(tmp_path, "checkpoints/checkpoint-20", 1, 2))
    assert "not after step 2: it did not load its checkpoint checkpoint-20)" in remark


@pytest.mark.parametrize(
    ("resumed_from", "steps"),
    [("checkpoints/checkpoint-20", (3, 4)), ("checkpoints/checkpoint-20", (2, 3)), (None, (3, 4)), (None, ())],
    ids=["continues", "evaluates again", "continues by itself", "has not reported"],
)
def test_a_stage_that_continues_is_not_remarked(
    tmp_path: Path, resumed_from: str | None, steps: tuple[int, ...]
) -> None:
    assert remarks_of(start_of_stage(tmp_path, resumed_from, *steps)) == ()


def test_the_tally_of_all_trials_is_that_of_its_parts(tmp_path: Path) -> None:
    layout = start_of_stage(tmp_path, None, 1)
    (trial,) = read_history(layout).trials
    one = tally_remarks([trial])
    assert one.started_over == 1
    both = RemarkTally() + one + tally_remarks([replace(trial, number=4)])
    assert both.started_over == 2 and both.first_start == one.first_start
