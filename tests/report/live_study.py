"""A study with a budget, rungs and many running trials, as a live page shows it."""

from __future__ import annotations

from pathlib import Path

from hposlurm.records.layout import StudyLayout
from hposlurm.report.live import LivePage, live_page
from hposlurm.report.progress import progress
from hposlurm.report.records import read_records
from tests.studies import BEGIN, SPEC, add_wave, end, failed, make_study, report, start, write_journal

NOW = BEGIN + 3000
#: it has GPUs, a budget of GPU hours, and rungs at 1, 3 and 9
RUNGS = (
    SPEC.replace("algorithm: random, seed: 1", "algorithm: asha, seed: 1, max_resource: 9")
    .replace("n_trials: {n_trials}", "n_trials: {n_trials}, gpu_hours: 40")
    .replace("trial:", "resources: {{gpus_per_node: 2}}\ntrial:")
)


def live_study(runs: Path, running: int = 21) -> StudyLayout:
    """Four trials are complete, one failed, `running` run, and four wait."""
    layout = make_study(runs, "demo", n_trials=40, spec=RUNGS)
    add_wave(layout, range(9 + running))
    for trial in range(4):
        reports = [report(s, BEGIN + 100 + s * 100, eval_loss=2 / s + trial / 10) for s in range(1, 10)]
        done = end("complete", BEGIN + 1100, metrics={"eval_loss": 0.25 + trial / 100})
        write_journal(layout, trial, [start(trial, t=BEGIN + 100), *reports, done])
    write_journal(layout, 4, failed(4))
    for trial in range(5, 5 + running):
        began = start(trial, t=NOW - 700 - trial, host=f"gpu-node-{trial:03d}")
        steps = range(1, 3 + trial % 6)
        losses = {s: 2 / s + trial / 10 + s % 3 / 5 for s in steps}
        reports = [report(s, NOW - 60 * (steps[-1] - s) - 15, eval_loss=losses[s]) for s in steps]
        write_journal(layout, trial, [began, *reports])
    return layout


def live_page_of(layout: StudyLayout, now: float = NOW) -> LivePage:
    records = read_records(layout)
    return live_page(progress(records, now=now), records, records.spec)
