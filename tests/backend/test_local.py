"""The local backend, held to the contract, and what only it does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading

import pytest

from hposlurm.backend import WaveRequest
from hposlurm.backend.local import LocalBackend, visible_gpus
from hposlurm.trial import JobState
from tests.backend.contract import BackendContract, records, study
from tests.planner.fake import spec

PBT = {"algorithm": "pbt", "population_size": 4, "perturbation_interval": 2, "max_resource": 8}


class TestLocal(BackendContract):
    @pytest.fixture
    def backend(self):
        return LocalBackend(gpu_ids=["0", "1", "2", "3", "4", "5", "6", "7"])

    @pytest.fixture
    def ended(self):
        return lambda backend, arrays: backend.wait(arrays)

    @contextlib.contextmanager
    def running(self, backend, arrays):
        thread = threading.Thread(target=backend.wait, args=(arrays,))
        thread.start()
        yield
        thread.join()


def test_a_machine_without_gpus_runs_the_same_study_on_its_cpus(tmp_path):
    backend = LocalBackend(gpu_ids=[])
    layout, spec, _ = study(tmp_path, ['test -z "$CUDA_VISIBLE_DEVICES"'], gpus_per_node=2)
    arrays = backend.submit(WaveRequest(layout, spec, 0, 1, "t"))
    backend.wait(arrays)
    found = records(layout, 0)
    assert (found[0]["gpus"], found[-1]["exit_code"]) == (0, 0)


def test_more_gpus_than_the_machine_has_is_a_problem(tmp_path):
    _, spec, _ = study(tmp_path, ["true"], gpus_per_node=4)
    problems = LocalBackend(gpu_ids=["0", "1"]).problems(spec)
    assert [str(p) for p in problems] == ["resources.gpus_per_node: 4 requested, but this machine shows 2 (0, 1)"]


def test_another_process_sees_whether_the_driver_lives(tmp_path):
    backend = LocalBackend(gpu_ids=[])
    layout, spec, _ = study(tmp_path, ["true"])
    element = backend.submit(WaveRequest(layout, spec, 0, 1, "t"))[0].element(0)
    code = "import sys; from hposlurm.backend.local import LocalBackend as B; print(B([]).states(sys.argv[1:]))"
    seen = subprocess.run([sys.executable, "-c", code, element], capture_output=True, text=True, check=True).stdout
    assert "RUNNING" in seen and f"process {os.getpid()}" in seen

    code = (
        "import sys; from pathlib import Path; from hposlurm.backend.local import _driver_id; import os;"
        "print(_driver_id(os.getpid()) + '.0_0')"
    )
    gone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert backend.states([gone])[gone].state is JobState.NODE_FAIL


def test_gpus_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 3")
    assert visible_gpus() == ["2", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_gpus() == []


def test_a_driver_that_nobody_reaped_yet_is_dead() -> None:
    code = (
        "import os; from hposlurm.backend.local import _driver_id;print(_driver_id(os.getpid()) + '.0_0', flush=True)"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert driver.stdout
    element = driver.stdout.readline().strip()
    os.waitid(os.P_PID, driver.pid, os.WEXITED | os.WNOWAIT)  # a zombie from now on
    assert LocalBackend([]).states([element])[element].state is JobState.NODE_FAIL
    driver.communicate()


@pytest.mark.parametrize(
    ("budget", "search", "is_refused"),
    [
        ({"gpu_hours": 5}, {"algorithm": "random"}, True),
        ({"gpu_hours": 5, "target": 0.1}, {"algorithm": "random"}, True),  # may never be reached
        ({"gpu_hours": 5, "patience": 9}, {"algorithm": "random"}, False),
        ({"gpu_hours": 5}, PBT, False),  # ends with its last generation
    ],
)
def test_gpu_hours_that_nobody_uses_end_no_study(budget: dict, search: dict, *, is_refused: bool) -> None:
    x = {"type": "float", "min": -1.0, "max": 1.0, "mutable": search["algorithm"] == "pbt"}
    study = spec(parameters={"x": x}, budget=budget, search=search, waves={})
    assert bool(LocalBackend(gpu_ids=[]).problems(study)) == is_refused
    assert not LocalBackend(gpu_ids=["0", "1"]).problems(study)
