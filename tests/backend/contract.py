"""The contract that every side of the Backend seam is held to. Subclasses give a `backend` and how to end a wait."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hposlurm.backend import ArrayJob, Backend, WaveRequest
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan, record_plan
from hposlurm.spec import StudySpec, parse
from hposlurm.trial import Assignment, JobState

REPORT = """python3 -c 'import json, os
with open(os.environ["HPOSLURM_METRICS_FILE"], "a") as file:
    file.write(json.dumps({"step": 1, "metrics": {"loss": 1.0}}) + chr(10))'"""


def study(root: Path, commands: list[str], **resources: object) -> tuple[StudyLayout, StudySpec, WavePlan]:
    """A study directory with a recorded wave 0 of these commands."""
    waves = {"max_concurrent": resources.pop("max_concurrent")} if "max_concurrent" in resources else {}
    spec = parse(
        {
            "name": f"contract-{root.name[-20:]}",
            "objectives": [{"name": "loss"}],
            "parameters": {"x": {"type": "float", "min": 0.0, "max": 1.0}},
            "budget": {"n_trials": len(commands)},
            "waves": waves,
            "trial": {"command": "true {{ x }}"},
            "resources": {"time": "00:05:00", "mem_gb": 0.25, **resources},
        },
        "contract",
    )
    layout = StudyLayout(root / "study")
    layout.root.mkdir(mode=0o700)
    assignments = tuple(Assignment(i, {"x": i / 10}, f"{i:08x}", i, command) for i, command in enumerate(commands))
    plan = WavePlan(
        0, spec.name, time.time(), "study.yaml", 0, ("loss",), str(root), spec.resources.gpus_per_node, 1, 0,
        assignments=assignments,
    )  # fmt: skip
    assert record_plan(layout.wave(0), plan)
    return layout, spec, plan


def records(layout: StudyLayout, trial: int) -> list[dict]:
    """The journal of a trial's first attempt; [] if it never started."""
    try:
        lines = layout.trial(trial).journal(0).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def interval(layout: StudyLayout, trial: int) -> tuple[float, float]:
    found = records(layout, trial)
    return found[0]["t"], found[-1]["t"]


class BackendContract:
    """Each test gets `backend` and `ended(backend, arrays)`, which returns once the arrays have ended."""

    @pytest.fixture
    def backend(self) -> Backend:
        raise NotImplementedError

    @pytest.fixture
    def ended(self) -> Callable[[Backend, list[ArrayJob]], None]:
        raise NotImplementedError

    def test_every_element_runs_once_and_only_after_its_release(self, tmp_path, backend, ended):
        layout, spec, _ = study(tmp_path, [REPORT] * 3)
        request = WaveRequest(layout, spec, 0, 3, "token1")
        arrays = backend.submit(request)
        assert sum(a.count for a in arrays) == 3
        ids = [e for i in range(3) for a in arrays if (e := a.element(i))]
        assert {s.state for s in backend.states(ids).values()} == {JobState.PENDING}
        assert not any(records(layout, i) for i in range(3))

        backend.release(arrays)
        ended(backend, arrays)

        for index in range(3):
            found = records(layout, index)
            assert [r["kind"] for r in found if r["kind"] in ("start", "report", "end")] == ["start", "report", "end"]
            assert (found[0]["index"], found[0]["job_id"]) == (index, ids[index])
            assert found[-1]["outcome"] == "complete"
            assert layout.trial(index).attempts() == [0]
        assert {s.state for s in backend.states(ids).values()} == {JobState.COMPLETED}

    def test_at_most_max_concurrent_elements_run_at_a_time(self, tmp_path, backend, ended):
        layout, spec, _ = study(tmp_path, [f"sleep 0.6; {REPORT}"] * 5, max_concurrent=2)
        arrays = backend.submit(WaveRequest(layout, spec, 0, 5, "token2"))
        backend.release(arrays)
        ended(backend, arrays)
        spans = [interval(layout, i) for i in range(5)]
        assert max(sum(a <= start < b for a, b in spans) for start, _ in spans) == 2

    def test_a_failed_command_is_a_failed_element(self, tmp_path, backend, ended):
        layout, spec, _ = study(tmp_path, [REPORT, "echo some words; exit 3"])
        arrays = backend.submit(WaveRequest(layout, spec, 0, 2, "token3"))
        backend.release(arrays)
        ended(backend, arrays)
        states = backend.states([e for i in range(2) for a in arrays if (e := a.element(i))])
        assert [s.state for s in states.values()] == [JobState.COMPLETED, JobState.FAILED]
        end = records(layout, 1)[-1]
        assert (end["outcome"], end["exit_code"], end["tail"]) == ("fail", 3, ["some words"])
        assert "some words" in (layout.root / records(layout, 1)[0]["log"]).read_text()

    def test_no_two_running_elements_share_a_gpu(self, tmp_path, backend, ended):
        layout, spec, _ = study(
            tmp_path, [f"sleep 0.6; {REPORT}"] * 5, gpus_per_node=2, gpu_type="v100", max_concurrent=4
        )
        arrays = backend.submit(WaveRequest(layout, spec, 0, 5, "token4"))
        backend.release(arrays)
        ended(backend, arrays)
        starts = [records(layout, i)[0] for i in range(5)]
        used = [{(s["host"], gpu) for gpu in s["gpu_ids"].split(",")} for s in starts]
        assert [len(gpus) for gpus in used] == [2] * 5 and [s["gpus"] for s in starts] == [2] * 5
        spans = [interval(layout, i) for i in range(5)]
        together = [
            (i, j) for i in range(5) for j in range(i) if spans[i][0] < spans[j][1] and spans[j][0] < spans[i][1]
        ]
        assert together
        assert not any(used[i] & used[j] for i, j in together)

    def test_cancelled_elements_end_and_say_so(self, tmp_path, backend, wait_until):
        layout, spec, _ = study(tmp_path, ["sleep 300"] * 2)
        arrays = backend.submit(WaveRequest(layout, spec, 0, 2, "token5"))
        backend.release(arrays)
        with self.running(backend, arrays):
            wait_until(lambda: all(records(layout, i) for i in range(2)), 60)
            backend.cancel([a.job_id for a in arrays])
        wait_until(lambda: all(records(layout, i)[-1]["kind"] == "end" for i in range(2)), 60)
        assert [records(layout, i)[-1]["outcome"] for i in range(2)] == ["interrupted"] * 2
        ids = [e for i in range(2) for a in arrays if (e := a.element(i))]
        wait_until(lambda: all(s.state is JobState.CANCELLED for s in backend.states(ids).values()), 60)
        backend.cancel([a.job_id for a in arrays])  # once more is no error

    def test_releasing_again_is_harmless(self, tmp_path, backend, ended):
        layout, spec, _ = study(tmp_path, [REPORT])
        arrays = backend.submit(WaveRequest(layout, spec, 0, 1, "token6"))
        backend.release(arrays)
        backend.release(arrays)
        ended(backend, arrays)
        backend.release(arrays)
        assert layout.trial(0).attempts() == [0]

    def test_unknown_jobs_have_no_state_or_an_ended_one(self, backend):
        states = backend.states(["999999999_0"])
        assert all(s.state in (JobState.UNKNOWN, JobState.NODE_FAIL) for s in states.values())

    def running(self, backend: Backend, arrays: list[ArrayJob]):
        """A context in which the released arrays run by themselves."""
        raise NotImplementedError
