"""What every process of a study imports until its end.

Stands for the time that it takes to start: a clock in a test would measure the neighbours. Help should appear within
0.2 s, `status` within 0.4 s, and a study on Slurm starts a planner job for each wave and a worker for each trial.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hposlurm.records.layout import StudyLayout
from tests.fake_slurm import FakeSlurm, fake_slurm
from tests.studies import publish, study_of_completed

__all__ = ["fake_slurm"]

#: Each takes 0.1 s to 2 s of CPU.
LIBRARIES = {
    "optuna",
    "cmaes",
    "scipy",
    "numpy",
    "pandas",
    "tabulate",
    "sqlalchemy",
    "sklearn",
    "matplotlib",
    "torch",
    "transformers",
    "asyncio",
    "http",
    "multiprocessing",
}
#: What reads and checks a study file takes 0.3 s.
SPEC = {"pydantic", "jinja2", "yaml"}
RICH = {"rich.live", "rich.markdown", "rich.traceback", "rich.syntax"}
# a planner step on Slurm has these of submitit
OF_SUBMITIT = {"asyncio", "multiprocessing"}
ROOMS = {f"hposlurm.{room}" for room in ("planner", "publish", "decisions", "search", "spec", "render", "worker")}

# arguments → what must not be imported, and how many modules of ours may be: a tenth more than there are, so that a
# file can be split (a small one costs 0.5 ms), but no room comes in unseen
LOOKS = {
    "--help": (
        LIBRARIES | SPEC | RICH | ROOMS | {"submitit", "sqlite3", "hposlurm.trial", "hposlurm.report.tables"},
        35,
    ),
    "--version": (LIBRARIES | SPEC | RICH | ROOMS | {"submitit", "sqlite3", "hposlurm.trial"}, 40),
    "status": (LIBRARIES | SPEC | RICH | ROOMS | {"submitit"}, 125),
    "list": (LIBRARIES | SPEC | RICH | ROOMS | {"submitit"}, 125),
    "logs demo 0": (LIBRARIES | SPEC | RICH | ROOMS | {"submitit"}, 125),
    "collect demo --format csv": (LIBRARIES | RICH | {"submitit", "hposlurm.planner"}, 190),
    "best demo": (LIBRARIES | RICH | {"submitit", "hposlurm.planner"}, 190),
    "explain demo 0": (LIBRARIES | RICH | {"submitit", "hposlurm.planner"}, 190),
    "rebuild demo": (LIBRARIES | RICH | {"submitit", "hposlurm.planner"}, 205),
}


def imported(module: str, *words: str, status: int = 0) -> set[str]:
    """The modules that `python -m module words` has imported at its end, which has that exit status."""
    code = f"import runpy, sys\nsys.argv = {['hposlurm', *words]!r}\n"
    code += f"try: runpy.run_module({module!r}, run_name='__main__')\n"
    code += "finally: print('\\n', *sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == status, done.stdout + done.stderr
    return set(done.stderr.splitlines()[-1].split())


def ours(loaded: set[str]) -> int:
    return sum(name.split(".")[0] == "hposlurm" for name in loaded)


@pytest.mark.parametrize("words", LOOKS)
def test_a_look_at_a_study_imports_no_more_than_it_shows(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = study_of_completed(tmp_path, 3)
    publish(layout)
    log = layout.root / "waves" / "0000" / "logs" / "100_0_0_log.out"
    log.parent.mkdir(exist_ok=True)
    log.write_text("done")
    monkeypatch.setenv("HPOSLURM_RUNS", str(tmp_path))
    forbidden, most = LOOKS[words]
    loaded = imported("hposlurm", *words.split())
    assert loaded & forbidden == set()
    assert ours(loaded) <= most


STUDY = {
    "name": "demo",
    "objectives": [{"name": "loss"}],
    "parameters": {"x": {"type": "categorical", "choices": [n / 16 for n in range(16)]}},
    "search": {"seed": 1},
    "budget": {"n_trials": 4},
    "waves": {"size": 2},
    "trial": {"command": """echo '{"step": 1, "metrics": {"loss": 1}}' >>"$HPOSLURM_METRICS_FILE"; true {{ x }}"""},
    "resources": {"mem_gb": 0.25, "time": "00:05:00"},
}


def study_file(directory: Path, algorithm: str, **sections: object) -> str:
    path = directory / "demo.yaml"
    path.write_text(yaml.safe_dump({**STUDY, "search": {"algorithm": algorithm, "seed": 1}, **sections}))
    return str(path)


@pytest.mark.parametrize("algorithm", ["random", "grid"])
def test_checking_a_study_that_asks_no_model_imports_no_library_of_the_search(algorithm: str, tmp_path: Path) -> None:
    loaded = imported("hposlurm", "check", study_file(tmp_path, algorithm, backend="local"))
    assert loaded & (LIBRARIES | RICH | {"submitit", "hposlurm.worker.run"}) == set()
    assert ours(loaded) <= 240


@pytest.mark.parametrize("algorithm", ["random", "grid"])
def test_launches_planner_jobs_and_workers_import_no_library_of_the_search(
    algorithm: str, tmp_path: Path, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPOSLURM_RUNS", str(tmp_path / "runs"))
    layout = StudyLayout(tmp_path / "runs" / "demo")
    file = study_file(tmp_path, algorithm, backend="slurm")
    forbidden = LIBRARIES - OF_SUBMITIT | RICH
    launch = imported("hposlurm", "launch", file)
    assert launch & forbidden == set()
    assert ours(launch) <= 255

    worker = imported("hposlurm.worker", str(layout.root), "0", "0")
    forbidden_to_workers = LIBRARIES | RICH | SPEC | ROOMS - {"hposlurm.worker"} | {"submitit", "typer", "rich"}
    assert worker & forbidden_to_workers == set()
    assert ours(worker) <= 95

    fake_slurm.change(fake_slurm.arrays()[0]["id"], states=["COMPLETED", "PENDING"])
    assert fake_slurm.run_released(layout) == 3
    planner = imported("hposlurm", "advance", "--patient", str(layout.root))
    assert (layout.root / "results.csv").is_file()
    assert planner & forbidden == set()
    assert ours(planner) <= 245
