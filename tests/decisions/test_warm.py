"""Trials that are taken from other studies and tables, those left out and why, and that they never change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hposlurm.decisions.warm import WarmStart, freeze, gather
from hposlurm.errors import RequestError, StudyError
from hposlurm.records.layout import StudyLayout
from hposlurm.spec import StudySpec, parse
from hposlurm.trial import TrialState
from tests.studies import add_wave, assignment, completed, end, failed, make_study, report, start, write_journal

SPACE = {"bs": {"choices": [1, 2]}, "lr": {"type": "float", "min": 1e-6, "max": 1.0, "log": True}}


def newer(sources: list[Any], **changes: Any) -> StudySpec:
    data = {
        "name": "newer",
        "objectives": [{"name": "eval_loss"}],
        "parameters": SPACE,
        "search": {"algorithm": "tpe", "warm_start": sources},
        "budget": {"n_trials": 4},
        "trial": {"command": "true {{ flags }}"},
        **changes,
    }
    return parse(data, "newer.yaml")


def taken(runs: Path, sources: list[Any], **changes: Any) -> WarmStart:
    return gather(StudyLayout(runs / "newer"), newer(sources, **changes))


def older(runs: Path, losses: list[float], name: str = "older", **more: Any) -> str:
    """Writes a study whose trials completed with these losses, and returns its directory."""
    layout = make_study(runs, name)
    add_wave(layout, range(len(losses)))
    for number, loss in enumerate(losses):
        write_journal(layout, number, completed(number, loss, **more))
    return str(layout.root)


def values(warm: WarmStart) -> list[float]:
    return [trial.values[0] for trial in warm.trials if trial.values]


def test_trials_of_several_sources_have_different_numbers(tmp_path: Path) -> None:
    warm = taken(tmp_path, [older(tmp_path, [3.0, 2.0]), older(tmp_path, [1.0], "oldest")])
    assert [trial.number for trial in warm.trials] == [-1, -2, -3]
    assert values(warm) == [3.0, 2.0, 1.0]


@pytest.mark.parametrize(("direction", "best"), [("minimize", [3.0, 1.0]), ("maximize", [3.0, 4.0])])
def test_the_best_are_the_best_by_this_studys_objective(tmp_path: Path, direction: str, best: list[float]) -> None:
    source = {
        "study": older(tmp_path, [3.0, 4.0, 1.0, 9.0][:3] + ([5.0] if direction == "minimize" else [2.0])),
        "best": 2,
    }
    warm = taken(tmp_path, [source], objectives=[{"name": "eval_loss", "direction": direction}])
    assert values(warm) == best
    assert str(warm.sources[0]).startswith("2 of 4 trials of")
    assert "(left out: 2 not among the best 2)" in str(warm.sources[0])


def test_trials_that_keep_this_studys_limits_rank_above_those_that_break_them(tmp_path: Path) -> None:
    layout = make_study(tmp_path, "older")
    add_wave(layout, range(3))
    for number, (loss, peak) in enumerate([(1.0, 40.0), (3.0, 10.0), (2.0, 30.0)]):
        write_journal(layout, number, completed(number, loss, peak=peak))
    limits = {"constraints": ["peak <= 20"], "metrics": ["peak"]}
    source = {"study": str(layout.root), "best": 1}
    assert values(taken(tmp_path, [source], **limits)) == [3.0]
    assert values(taken(tmp_path, [{**source, "best": 2}], **limits)) == [1.0, 3.0]


def test_trials_outside_of_this_space_are_left_out_and_counted(tmp_path: Path) -> None:
    layout = make_study(tmp_path, "older")
    points = [
        {"bs": 1, "lr": 0.1},
        {"bs": 4, "lr": 0.1},
        {"bs": 1, "lr": 2.0},
        {"bs": 1},
        {"bs": 2, "lr": 0.2, "wd": 0},
    ]
    add_wave(layout, [assignment(number, point) for number, point in enumerate(points)])
    for number in range(len(points)):
        write_journal(layout, number, completed(number, float(number)))
    warm = taken(tmp_path, [str(layout.root)])
    assert [dict(trial.params) for trial in warm.trials] == [{"bs": 1, "lr": 0.1}, {"bs": 2, "lr": 0.2}]
    (source,) = warm.sources
    assert (source.found, source.taken, source.unknown) == (5, 2, {"wd": 1})
    assert source.left_out == {
        "with bs not one of its choices": 1,
        "with lr out of its range": 1,
        "without lr": 1,
    }
    assert str(source).endswith("; this study has no wd, so their values of it were left out")


def test_an_inactive_parameter_is_not_part_of_the_configuration(tmp_path: Path) -> None:
    layout = make_study(tmp_path, "older")
    add_wave(layout, [assignment(0, {"bs": 1, "lr": 0.1}), assignment(1, {"bs": 2, "lr": 0.1})])
    for number in range(2):
        write_journal(layout, number, completed(number, 1.0))
    space = {"bs": SPACE["bs"]}
    deeper = [{"if": "bs == 2", "then": {"lr": SPACE["lr"]}}]
    warm = taken(tmp_path, [str(layout.root)], parameters=space, conditionals=deeper)
    assert [dict(trial.params) for trial in warm.trials] == [{"bs": 1}, {"bs": 2, "lr": 0.1}]


def test_a_trial_that_was_stopped_early_counts_as_pruned_and_a_failed_one_not_at_all(tmp_path: Path) -> None:
    layout = make_study(tmp_path, "older")
    add_wave(layout, range(4))
    write_journal(layout, 0, [start(0), report(1, eval_loss=2.0), end("pruned")])
    write_journal(layout, 1, failed(1))
    write_journal(layout, 2, completed(2, 1.0))
    warm = taken(tmp_path, [str(layout.root)])
    assert [(trial.state, trial.values) for trial in warm.trials] == [
        (TrialState.PRUNED, (2.0,)),
        (TrialState.COMPLETE, (1.0,)),
    ]
    assert warm.sources[0].left_out == {"not completed": 2}


def test_without_the_objective_a_trial_teaches_nothing(tmp_path: Path) -> None:
    source = older(tmp_path, [1.0, 2.0], f1=0.5)
    warm = taken(tmp_path, [source], objectives=[{"name": "f1", "direction": "maximize"}])
    assert values(warm) == [0.5, 0.5]
    assert taken(tmp_path, [source], objectives=[{"name": "f2"}]).sources[0].left_out == {"without f2": 2}


def test_frozen_trials_stay_the_same_whatever_happens_to_the_source(tmp_path: Path) -> None:
    spec = newer([older(tmp_path, [1.0])])
    layout = StudyLayout(tmp_path / "newer")
    warm = gather(layout, spec)
    make_study(tmp_path, "newer")
    freeze(layout, warm)
    (tmp_path / "older").rename(tmp_path / "gone")
    assert gather(layout, spec) == warm != WarmStart()
    with pytest.raises(RequestError, match=r"search.warm_start.0: there is no study .*older"):
        gather(StudyLayout(tmp_path / "another"), spec)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1, "sources": 1}'])
def test_a_damaged_warm_start_is_named(tmp_path: Path, text: str) -> None:
    layout = make_study(tmp_path, "newer")
    layout.warm_start.write_text(text)
    with pytest.raises(StudyError, match=r"warm_start.json is damaged: .*; restore it from a backup"):
        gather(layout, newer([]))


def table(tmp_path: Path, text: str) -> list[Any]:
    path = tmp_path / "table.csv"
    path.write_text(text)
    return [{"csv": str(path)}]


def test_a_tables_rows_are_read_by_the_names_of_columns(tmp_path: Path) -> None:
    rows = [
        "trial,state,param.bs,lr,metric.eval_loss",
        "0,COMPLETE,2,1e-1,0.5",
        "1,FAIL,2,0.1,",
        "2,COMPLETE,1,0.2,nan",
    ]
    warm = taken(tmp_path, table(tmp_path, "\n".join(rows)))
    assert [(dict(trial.params), trial.values) for trial in warm.trials] == [({"bs": 2, "lr": 0.1}, (0.5,))]
    assert warm.sources[0].left_out == {"fail": 1, "without eval_loss": 1}


def test_choices_of_a_table_match_the_space_in_any_notation(tmp_path: Path) -> None:
    choices = {"choice": {"choices": [1e-4, "a", True, None, 7]}}
    rows = ["choice,eval_loss", "0.0001,1", "1e-4,2", "a,3", "true,4", ",5", "7.0,6", "b,7"]
    warm = taken(tmp_path, table(tmp_path, "\n".join(rows)), parameters=choices)
    assert [trial.params["choice"] for trial in warm.trials] == [1e-4, 1e-4, "a", True, None, 7]
    assert warm.sources[0].left_out == {"with choice not one of its choices": 1}


def test_a_table_without_the_objective_or_a_file_that_is_not_a_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"warm_start.0.csv: .* has no column eval_loss; did you mean evalloss"):
        taken(tmp_path, table(tmp_path, "bs,lr,evalloss\n1,0.1,1\n"))
    (tmp_path / "table.csv").write_bytes(b"eval_loss\n\xff\n")
    with pytest.raises(RequestError, match="is not a table of comma-separated values"):
        taken(tmp_path, [{"csv": str(tmp_path / "table.csv")}])
    with pytest.raises(RequestError, match="cannot be read: No such file"):
        taken(tmp_path, [{"csv": str(tmp_path / "none.csv")}])
