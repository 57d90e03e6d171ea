"""What a person should know of how trials ran, each said once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.report.remarks import remarks
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
