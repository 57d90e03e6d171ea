"""Trackers that planner jobs publish to on real daemons, and a score that workers compute there."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hposlurm.records.layout import StudyLayout
from tests.e2e.conftest import Shell

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.usefixtures("slurm_cluster"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the trackers' own libraries
]

#: The trials that are complete: the value of each, and what it reported by step
Found = dict[int, tuple[float, dict[int, float]]]

# Waits for the gate of its trial; reports two steps
GATED = (
    "import sys, time; from pathlib import Path; from hposlurm import client\n"
    "x, gate = float(sys.argv[1]), Path(sys.argv[2])\n"
    "while not gate.exists(): time.sleep(0.1)\n"
    "client.report(step=1, eval_loss=x + 1)\n"
    "client.report(step=2, eval_loss=x)\n"
)


def optuna_trials(url: str) -> Found:
    import optuna
    from optuna.trial import TrialState

    study = optuna.load_study(study_name="tracked", storage=url)
    trials = study.get_trials(states=[TrialState.COMPLETE])
    found = {t.user_attrs["hposlurm.trial"]: (t.value or 0.0, t.intermediate_values) for t in trials}
    assert len(found) == len(trials)
    return found


def mlflow_trials(uri: str) -> Found:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tracked")
    assert experiment is not None
    everything = client.search_runs([experiment.experiment_id])
    assert len([run for run in everything if "hposlurm.trial" not in run.data.tags]) == 1
    runs = [r for r in everything if "hposlurm.trial" in r.data.tags and r.info.status == "FINISHED"]
    found: Found = {}
    for run in runs:
        steps = client.get_metric_history(run.info.run_id, "eval_loss")
        assert len({each.step for each in steps}) == len(steps)
        values = {each.step: each.value for each in steps}
        found[int(run.data.tags["hposlurm.trial"])] = (run.data.metrics["objective.eval_loss"], values)
    assert len(found) == len(runs)
    return found


def csv_trials(layout: StudyLayout) -> Found:
    with layout.results.open(newline="") as results, layout.reports.open(newline="") as reports:
        steps = [(int(r["trial"]), int(r["step"]), float(r["eval_loss"])) for r in csv.DictReader(reports)]
        values = {int(r["trial"]): float(r["eval_loss"]) for r in csv.DictReader(results) if r["state"] == "COMPLETE"}
    return {n: (value, {step: loss for trial, step, loss in steps if trial == n}) for n, value in values.items()}


def database_trials(path: Path) -> Found:
    with closing(sqlite3.connect(f"file:{path}?immutable=1&mode=ro", uri=True)) as database:
        steps = database.execute("SELECT trial, step, value FROM reports WHERE name = 'eval_loss'").fetchall()
        values = database.execute("SELECT trial, value FROM objective_values").fetchall()
    return {n: (value, {step: loss for trial, step, loss in steps if trial == n}) for n, value in values}


def tensorboard_trials(directory: Path) -> Found:
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(directory)).Reload()
    return {
        int(run.removeprefix("trial-")): (
            multiplexer.Scalars(run, "objective/eval_loss")[-1].value,
            {e.step: e.value for e in multiplexer.Scalars(run, "eval_loss")},
        )
        for run, tags in multiplexer.Runs().items()
        if "objective/eval_loss" in tags["scalars"]
    }


@pytest.mark.long(60)
def test_planner_jobs_publish_and_catch_up_with_trackers_that_were_away(
    shell: Shell, write_study: Callable[..., Path], wait_until: Callable[..., Any]
) -> None:
    for name in ("optuna", "mlflow", "tensorboard"):
        pytest.importorskip(name, reason="the trackers are not installed: pip install -e '.[trackers]'")
    (shell.cwd / "train.py").write_text(GATED)
    trackers, away = shell.cwd / "trackers", shell.cwd / "away"
    trackers.mkdir()
    storage, uri = f"sqlite:///{trackers / 'optuna.db'}", f"sqlite:///{trackers / 'mlflow.db'}"
    study = write_study(
        "tracked",
        f"python train.py {{{{ x }}}} {shell.cwd}/gate-{{{{ x }}}}",
        parameters={"x": {"choices": [0.5, 1.5, 2.5]}},
        search={"algorithm": "grid"},
        budget={},
        waves={"size": 1, "mode": "barrier"},
        publish=["sqlite", "csv", "tensorboard", {"optuna": {"storage": storage}}, {"mlflow": {"uri": uri}}],
    )
    layout = StudyLayout(shell.cwd / "runs" / "tracked")
    readers: dict[str, Callable[[], Found]] = {
        "optuna": lambda: optuna_trials(storage),
        "mlflow": lambda: mlflow_trials(uri),
        "tensorboard": lambda: tensorboard_trials(layout.root / "tensorboard"),
        "sqlite": lambda: database_trials(layout.database),
        "csv": lambda: csv_trials(layout),
    }
    expected: Found = {}

    def trial_ends(number: int) -> None:
        """Lets the trial of a wave go on, and waits until the planner that comes after it has ended."""
        x = shell.plans("tracked")[number]["assignments"][0]["params"]["x"]
        expected[number] = (x, {1: x + 1, 2: x})
        (shell.cwd / f"gate-{x}").touch()
        wait_until(lambda: len(shell.plans("tracked")) == number + 2, 120)
        planner = json.loads(layout.wave(number).planner_job.read_bytes())["job_id"]
        wait_until(lambda: planner not in {job.job_id for job in shell.queued("tracked")}, 120)

    shell.ok("launch", str(study))
    trial_ends(0)
    assert shell.status("tracked")["unpublished"] == {}
    assert {name: read() for name, read in readers.items()} == dict.fromkeys(readers, expected)

    trackers.rename(away)
    trackers.touch()  # even root cannot write below a file
    trial_ends(1)
    unpublished = shell.status("tracked")["unpublished"]
    assert {*unpublished} == {"optuna", "mlflow"} and all(unpublished.values()), unpublished
    assert "mlflow: not published: " in shell.ok("status", "tracked")
    assert readers["csv"]() == readers["tensorboard"]() == expected

    trackers.unlink()
    away.rename(trackers)
    trial_ends(2)
    wait_until(lambda: not shell.queued("tracked"), 60)
    view = shell.status("tracked")
    assert (view["phase"], view["unpublished"]) == ("finished", {})
    assert {name: read() for name, read in readers.items()} == dict.fromkeys(readers, expected)

    shell.ok("rebuild", "tracked")  # sends everything once more
    shell.ok(
        "export",
        "tracked",
        "--to",
        f"optuna:{storage}",
    )
    assert {name: read() for name, read in readers.items()} == dict.fromkeys(readers, expected)


def test_the_better_score_wins_and_stands_beside_its_value(
    shell: Shell, write_study: Callable[..., Path], wait_until: Callable[..., Any]
) -> None:
    """0.099 with 1e9 parameters and 0.100 with half of them are 0.1089 and 0.105 at a weight of 0.1."""
    (shell.cwd / "train.py").write_text(
        "import sys; from hposlurm import client\n"
        "loss, size = {'large': (0.099, 1e9), 'small': (0.1, 5e8)}[sys.argv[1]]\n"
        "client.report(step=1, eval_loss=loss, n_parameters=size)\n"
    )
    efficiency = {"metric": "n_parameters", "budget": 1.0e9, "weight": 0.1}
    study = write_study(
        "scored",
        "python train.py {{ model }}",
        objectives=[{"name": "eval_loss", "direction": "minimize", "efficiency": efficiency}],
        parameters={"model": {"choices": ["large", "small"]}},
        search={"algorithm": "grid"},
        budget={},
    )
    shell.ok("launch", str(study))
    wait_until(lambda: shell.has_finished("scored"), 120)
    rows = shell.rows("scored")
    assert [(row["model"], row["eval_loss"], row["n_parameters"]) for row in rows] == [
        ("small", 0.1, 5e8),
        ("large", 0.099, 1e9),
    ]
    assert [row["eval_loss_score"] for row in rows] == [pytest.approx(0.105), pytest.approx(0.1089)]
    for verb in ("collect", "best"):
        shown = shell.ok(verb, "scored")
        assert all(text in shown for text in ("small", "eval_loss_score", "0.105", "eval_loss")), shown
