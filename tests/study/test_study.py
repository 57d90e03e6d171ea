"""A study from Python: launched, followed, read, changed and cancelled by methods that print and ask nothing."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hposlurm
from hposlurm import Study
from hposlurm.errors import HposlurmError, RequestError, SpecError, StudyError
from hposlurm.records.clock import Clock
from hposlurm.records.history import History, read_history
from hposlurm.spec import StudySpec, parse
from hposlurm.trial import TrialState

TRIAL = (
    "python -c 'import sys; from hposlurm import client; x = float(sys.argv[1]); "
    "client.report(step=1, loss=(x - 0.5) ** 2)' {{ x }}"
)


@pytest.fixture(autouse=True)
def silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """No method may print, or ask."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPOSLURM_RUNS", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    yield
    assert capsys.readouterr() == ("", "")


def spec(**sections: Any) -> StudySpec:
    """Four trials of a program that takes no time, two at a time on this machine."""
    data: dict[str, Any] = {
        "name": "square",
        "backend": "local",
        "objectives": [{"name": "loss"}],
        "parameters": {"x": {"type": "float", "min": 0.0, "max": 1.0}},
        "search": {"algorithm": "random", "seed": 1},
        "budget": {"n_trials": 4},
        "waves": {"size": 2, "mode": "barrier"},
        "trial": {"command": TRIAL},
        "resources": {"mem_gb": 0.25, "time": "00:05:00"},
    }
    return parse({**data, **sections}, "test")


def launched(**sections: Any) -> Study:
    study = Study.create(spec(**sections))
    assert study.launch() is None and study.stays
    return study


@pytest.mark.long(20)
def test_a_study_is_launched_followed_read_and_resumed(tmp_path: Path) -> None:
    seen: list[History] = []
    study = launched()
    assert study.layout.root == tmp_path / "runs" / "square"
    history = study.wait(watch=seen.append)
    assert (history.counts()[TrialState.COMPLETE], history.finished) == (4, "4 of 4 trials are done")
    assert seen[-1].counts() == history.counts()
    assert study.collect().rows[0]["trial"] == study.best()[0].trial
    assert study.explain(0).origin == "drawn at random"
    assert study.explain().origins == {"random": 4}
    assert (study.status().phase, [line.study for line in Study.overview()]) == ("finished", ["square"])
    assert len(study.rebuild().trials) == 4
    assert study.clear(dry_run=True).removals == ()

    assert study.resume(["budget.n_trials=5"]) is None  # `wait` takes the step
    assert study.spec.budget.n_trials == 5
    assert study.wait().finished == "5 of 5 trials are done"
    assert [trial.number for trial in Study.open("square").records().history.trials] == [0, 1, 2, 3, 4]


@pytest.mark.long(10)
def test_a_cancelled_study_goes_on_where_it_stopped() -> None:
    study = launched()
    assert study.cancel() == "nothing was submitted, and no wave will be"
    assert study.layout.stop.exists()
    assert study.wait().trials == ()  # it is over at once
    study = Study.open()
    assert study.resume() is None and not study.layout.stop.exists()
    assert study.wait().counts()[TrialState.COMPLETE] == 4


@pytest.mark.long(10)
def test_a_study_may_be_driven_from_a_thread() -> None:
    """Only the main thread may take signals."""
    study = launched(budget={"n_trials": 1})
    found: list[History] = []
    thread = threading.Thread(target=lambda: found.append(study.wait()))
    thread.start()
    thread.join()
    assert found[0].finished == "1 of 1 trials are done"


def test_a_study_file_is_resolved_and_nothing_is_written(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        "name: given\nobjectives: [{name: loss}]\nparameters: {x: {type: float, min: 0.0, max: 1.0}}\n"
        "budget: {n_trials: 9}\ntrial: {command: 'train {{ x }}'}\n"
    )
    study = Study.create(file, settings=["backend=local", "budget.n_trials=3"], runs="elsewhere")
    first = study.preview()
    assert (study.spec.backend, study.spec.trial.workdir) == ("local", str(tmp_path))
    assert study.spec.waves.size or study.spec.waves.max_concurrent  # what this machine runs at once is frozen
    assert first.plan.assignments[0].command.startswith("train ")
    assert study.cost_question() is None  # without GPUs
    assert (study.is_launched, study.layout.root) == (False, tmp_path / "elsewhere" / "given")
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_a_simulated_study_runs_whole(tmp_path: Path) -> None:
    function = "def trial(params, from_step, to_step):\n    yield 1, {'loss': params['x']}, 60.0\n"
    (tmp_path / "trial.py").write_text(function)
    study = Study.create(spec(backend="simulated", simulation={"function": "trial.py:trial", "gpus": 2}))
    with pytest.raises(RequestError, match=r"simulate\(\) runs it"):
        study.launch()
    assert study.simulate().history.finished == "4 of 4 trials are done"
    assert Study.open("square-simulated").status().phase == "simulated"
    for refused in (study.advance, study.resume, study.simulate, study.try_one):
        with pytest.raises(RequestError):
            refused()


def test_what_goes_wrong_is_an_error_with_all_its_problems(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("name: bad\nobjectives: 3\n")
    with pytest.raises(SpecError) as raised:
        Study.create("study.yaml")
    assert len(raised.value.problems) > 1
    with pytest.raises(RequestError, match="no study 'absent'"):
        Study.open("absent")
    study = launched()
    with pytest.raises(RequestError, match="the foreground"):
        study.advance()
    with pytest.raises(RequestError, match="objectives"):
        study.revise(["objectives=[{name: f1}]"])
    with pytest.raises(RequestError, match="another spec"):
        Study.create(spec(budget={"n_trials": 7})).launch()
    with pytest.raises(RequestError, match="trial 3"):
        study.cancel([3])
    with pytest.raises(StudyError, match="no completed trial"):
        study.best()
    study.layout.spec().write_text("name: [")
    with pytest.raises(SpecError):
        Study.open("square").status()


def test_a_large_study_asks_before_and_not_while_it_is_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    study = Study.create(spec(resources={"gpus_per_node": 2, "time": "10:00:00"}, budget={"n_trials": 60}))
    question = study.cost_question()
    assert question is not None
    assert (question.limit, question.cost.trial) == (1000, 20)
    assert study.launch() is None


def test_what_happens_is_told_to_who_listens() -> None:
    told: list[str] = []
    launched()
    Study.create(spec()).launch(log=told.append)
    assert [line.partition(" is launched already")[1] for line in told] == [" is launched already"]


def test_the_queue_is_asked_now_and_then_only(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = 0.0
    asked: list[float] = []
    launched()
    study = Study.open("square", clock=Clock(monotonic=lambda: passed))
    monkeypatch.setattr("hposlurm.report.queue.jobs_to_query", lambda _: asked.append(passed) or [])
    views = study.watch()
    for _ in range(7):
        next(views)
        passed += 10
    assert asked == [0, 30, 60]


def test_only_the_study_that_a_process_drives_is_its_own() -> None:
    """A second process that waits for a study on this machine is told so."""
    study = launched(trial={"command": "sh -c 'sleep 60' {{ x }}"})
    code = "from hposlurm import Study; Study.open('square').wait()"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as driver:
        try:
            _until(lambda: any(trial.attempts for trial in read_history(study.layout).trials))
            with pytest.raises(HposlurmError, match="another process drives this study"):
                study.wait()
        finally:
            driver.terminate()
    assert driver.returncode != 0


def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        threading.Event().wait(0.05)


def test_the_package_has_no_other_names() -> None:
    assert hposlurm.Study is Study
    with pytest.raises(AttributeError, match="no attribute 'Trial'"):
        hposlurm.Trial  # noqa: B018


def test_a_training_script_imports_the_standard_library_only() -> None:
    code = "import sys; import hposlurm.client; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    mine = {name for name in loaded if name.startswith("hposlurm")}
    assert not {name for name in mine if name.startswith(("hposlurm.study", "hposlurm.planner", "hposlurm.spec"))}
    assert not {"pydantic", "optuna", "numpy", "jinja2"} & set(loaded)


def test_a_study_that_was_not_launched_is_neither_driven_nor_changed() -> None:
    study = Study.create(spec())
    for verb in (study.wait, study.resume, study.advance, study.cancel, study.rebuild):
        with pytest.raises(RequestError, match="is not launched yet"):
            verb()
    assert not study.layout.root.exists()


def test_a_simulated_spec_made_in_python_never_takes_the_place_of_the_real_study() -> None:
    simulation = {"function": "trial.py:train", "gpus": 2}
    assert Study.create(spec(backend="simulated", simulation=simulation)).name == "square-simulated"


def test_an_error_of_who_watches_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    study, calls = launched(), []

    def watch(history: History) -> None:
        calls.append(history)
        if len(calls) > 1:
            raise ValueError("the screen is gone")

    monkeypatch.setattr("hposlurm.planner.follow.stays", lambda *_: False)  # as on Slurm: nothing to drive here
    monkeypatch.setattr("hposlurm.planner.follow._LOOK_EVERY_REMOTE_S", 0.01)
    with pytest.raises(ValueError, match="the screen is gone"):
        study.wait(watch=watch)
