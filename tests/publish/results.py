"""A study with every kind of result, which grows from call to call; and publishing to one service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hposlurm.decisions import needed_of
from hposlurm.publish import Published
from hposlurm.publish import publish_files as files
from hposlurm.publish import publish_outside as outside
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.spec import load
from tests.studies import BEGIN, add_wave, assignment, completed, end, failed, make_study, report, start, write_journal

PARAMS: list[dict[str, Any]] = [
    {"bs": 1, "lr": 1e-5},
    {"bs": 2, "lr": 2.5e-4},
    {"bs": 2, "lr": 1e-3},
    {"bs": 1, "lr": 0.5},
    {"bs": 1, "lr": 0.25},
]


def begun(runs: Path) -> StudyLayout:
    """Completed, failed, interrupted and resumed, running, waiting."""
    layout = make_study(runs, "demo", n_trials=5)
    add_wave(layout, [assignment(number, params) for number, params in enumerate(PARAMS)], retries=1)
    write_journal(layout, 0, completed(0, 1.5, steps=3, f1=0.5))
    write_journal(layout, 1, failed(1, reason="no, \x1b[31mreally\x1b[0m"))
    add_wave(layout, [assignment(1, PARAMS[1])], retries=1)
    write_journal(
        layout, 1, [start(1, 1, 1, 0), report(1, BEGIN + 200, eval_loss=2.0), end("interrupted", BEGIN + 210)], 1
    )
    again = start(1, 2, 1, 0, t=BEGIN + 300, resumed_from="checkpoints/1")
    write_journal(layout, 1, [again, report(2, BEGIN + 310, eval_loss=1.0), end("complete", BEGIN + 400)], 2)
    write_journal(
        layout, 2, [start(2), report(1, BEGIN + 9, eval_loss="nan", note="é"), report(2, BEGIN + 19, eval_loss=3.0)]
    )
    write_journal(layout, 3, [*failed(3, exit_code=2)])
    return layout


def grown(layout: StudyLayout) -> None:
    """The running trial reports once more and ends; the waiting one runs through; the study is over."""
    write_journal(layout, 2, [report(3, BEGIN + 29, eval_loss=0.75), end("complete", BEGIN + 40)])
    write_journal(layout, 4, completed(4, 0.25, steps=2))
    write_journal(layout, 3, completed(3, 0.9, 1), 1)
    add_wave(layout, [], finished="5 of 5 trials are done")


def published(layout: StudyLayout, setting: str) -> Published:
    spec = load(layout.spec(), settings=[f"publish={setting}"], frozen=True)
    return Published(layout, spec, read_history(layout, needed=needed_of(spec)))


def publish(layout: StudyLayout, setting: str) -> tuple[str, ...]:
    """Publishes as the setting says; returns the failures."""
    study = published(layout, setting)
    return (*files(study), *outside(study))


def reported(layout: StudyLayout, name: str = "eval_loss") -> dict[int, list[tuple[int, float]]]:
    """Everything that each trial reported of a metric, by all attempts, as (step, value); nan left out."""
    found: dict[int, list[tuple[int, float]]] = {}
    for trial in read_history(layout).trials:
        for attempt in trial.attempts:
            for each in attempt.reports:
                if isinstance(value := each.metrics.get(name), float):
                    found.setdefault(trial.number, []).append((each.step, value))
    return found
