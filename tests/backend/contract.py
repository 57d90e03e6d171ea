"""The contract that every side of the Backend seam is held to, and each imitation of one that other tests rely on.

`SubmissionContract` is for what is asked of all of them, `QueueContract` for those whose jobs outlive the process that
submits them, `BackendContract` for those that run something. Subclasses give a `backend`, and how to end a wait.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hposlurm.backend import ArrayJob, Backend, Capacity, OwnJob, WaveRequest
from hposlurm.records.assignment import Assignment
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import WavePlan, record_plan
from hposlurm.spec import StudySpec, parse
from hposlurm.trial import JobState

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
        0, spec.name, time.time(), "study.yaml", 0, ("loss",), workdir=str(root), gpus=spec.resources.gpus_per_node,
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


def states(backend: Backend, arrays: list[ArrayJob]) -> list[JobState]:
    """The state of each element, in the order of the wave."""
    ids = elements(arrays)
    found = backend.states(ids)
    return [found[job_id].state for job_id in ids]


def elements(arrays: list[ArrayJob]) -> list[str]:
    count = sum(array.count for array in arrays)
    return [job_id for i in range(count) for array in arrays if (job_id := array.element(i))]


class SubmissionContract:
    """Each test gets `backend`, of which nothing runs."""

    @pytest.fixture
    def backend(self) -> Backend:
        raise NotImplementedError

    @pytest.fixture
    def request_of(self, tmp_path: Path, backend: Backend) -> Iterator[Callable[[str], WaveRequest]]:
        """`request_of(token)` is a request for a wave of three elements; what was submitted is cancelled in the end."""
        layout, spec, _ = study(tmp_path, [REPORT] * 3)
        requests = [WaveRequest(layout, spec, 0, 3, token) for token in ("first", "second")]
        yield lambda token: next(request for request in requests if request.token == token)
        for request in requests:
            backend.sweep(request, [])

    def test_it_has_all_that_the_seam_names(self, backend):
        named = {name for side in (Capacity, Backend) for name in (*vars(side), *side.__annotations__)}
        assert {name for name in named if name[0] != "_"} <= {*dir(backend)}

    def test_all_elements_wait_for_their_release(self, backend, request_of):
        arrays = backend.submit(request_of("first"))
        assert sum(array.count for array in arrays) == 3 and len(set(elements(arrays))) == 3
        assert states(backend, arrays) == [JobState.PENDING] * 3

    def test_what_is_cancelled_before_its_release_never_starts(self, backend, request_of, wait_until):
        arrays = backend.submit(request_of("first"))
        for _ in range(2):  # once more is no error
            backend.cancel([array.job_id for array in arrays])
            wait_until(lambda: states(backend, arrays) == [JobState.CANCELLED] * 3, 60)
        assert not any(records(request_of("first").layout, i) for i in range(3))

    def test_single_elements_can_be_cancelled(self, backend, request_of, wait_until):
        arrays = backend.submit(request_of("first"))
        kept, *cancelled = elements(arrays)
        backend.cancel(cancelled)

        def are_gone() -> bool:
            # Slurm 22.05 forgets elements that were cancelled one by one before they started: neither squeue nor sacct
            # has them
            found = backend.states([kept, *cancelled])
            known = [found[job_id].state for job_id in cancelled if job_id in found]
            return found[kept].state is JobState.PENDING and known == [JobState.CANCELLED] * len(known)

        wait_until(are_gone, 60)

    def test_cancelling_nothing_cancels_nothing(self, backend, request_of):
        arrays = backend.submit(request_of("first"))
        backend.cancel([])
        assert states(backend, arrays) == [JobState.PENDING] * 3

    def test_words_that_are_no_ids_are_not_asked_about(self, backend, request_of):
        arrays = backend.submit(request_of("first"))
        backend.cancel(["--user=root", "-n", "--state=PENDING"])
        found = backend.states(["--user=root", "-n"])
        assert all(s.state in (JobState.UNKNOWN, JobState.NODE_FAIL) for s in found.values())
        assert not backend.usage(["--user=root"])
        assert states(backend, arrays) == [JobState.PENDING] * 3

    def test_only_what_was_asked_about_has_a_state(self, backend, request_of):
        arrays = backend.submit(request_of("first"))
        asked = elements(arrays)[1]
        assert [*backend.states([asked])] == [asked]
        assert not backend.states([])

    def test_unknown_jobs_have_no_state_or_an_ended_one(self, backend):
        found = backend.states(["999999999_0"])
        assert all(s.state in (JobState.UNKNOWN, JobState.NODE_FAIL) for s in found.values())

    def test_it_says_what_a_study_can_be_given(self, backend, request_of):
        spec = request_of("first").spec
        assert backend.wave_size(spec) > 0 and backend.gpus(spec) == spec.resources.gpus_per_node
        assert all(isinstance(node, str) for node in backend.nodes(spec))

    def test_it_knows_the_job_that_a_process_runs_in(self, backend, monkeypatch):
        monkeypatch.delenv("SLURM_JOB_ID", raising=False)
        assert backend.own_job() is None
        for name, value in (("JOB_ID", "814"), ("ARRAY_JOB_ID", "812"), ("RESTART_COUNT", "2")):
            monkeypatch.setenv(f"SLURM_{name}", value)
        assert backend.own_job() == OwnJob("814", "812", 2)


# What people have in their shells, so that their own squeue shows what they want to see
FILTERS = {
    "SQUEUE_PARTITION": "elsewhere",
    "SQUEUE_STATES": "COMPLETED",
    "SQUEUE_USERS": "nobody",
    "SQUEUE_ACCOUNT": "another",
    "SCANCEL_PARTITION": "elsewhere",
    "SCANCEL_STATE": "SUSPENDED",
    "SLURM_CLUSTERS": "elsewhere",
}


class QueueContract(SubmissionContract):
    """Each test gets `backend`, whose jobs wait in a queue that other processes see as well."""

    @pytest.mark.parametrize("name", FILTERS)
    def test_no_variable_of_the_users_shell_hides_a_job(self, backend, request_of, monkeypatch, wait_until, name):
        arrays = backend.submit(request_of("first"))
        monkeypatch.setenv(name, FILTERS[name])
        assert states(backend, arrays) == [JobState.PENDING] * 3
        assert backend.submit(request_of("first")) == arrays
        backend.cancel([array.job_id for array in arrays])
        wait_until(lambda: states(backend, arrays) == [JobState.CANCELLED] * 3, 60)

    def test_a_submission_whose_answer_was_lost_is_found_again(self, backend, request_of):
        first = backend.submit(request_of("first"))
        assert backend.submit(request_of("first")) == first
        assert not {*elements(first)} & {*elements(backend.submit(request_of("second")))}

    def test_what_was_cancelled_is_not_found_again(self, backend, request_of, wait_until):
        first = backend.submit(request_of("first"))
        backend.cancel([array.job_id for array in first])
        wait_until(lambda: states(backend, first) == [JobState.CANCELLED] * 3, 60)
        assert not {*elements(first)} & {*elements(backend.submit(request_of("first")))}

    def test_a_sweep_leaves_only_the_named_arrays(self, backend, request_of, wait_until):
        first, second = backend.submit(request_of("first")), backend.submit(request_of("second"))
        backend.sweep(request_of("first"), first)
        assert states(backend, first) == states(backend, second) == [JobState.PENDING] * 3
        backend.sweep(request_of("first"), [])
        wait_until(lambda: states(backend, first) == [JobState.CANCELLED] * 3, 60)
        assert states(backend, second) == [JobState.PENDING] * 3

    def test_a_job_without_the_token_is_left_alone(self, backend, request_of, wait_until):
        arrays = backend.submit(request_of("first"))
        planner = backend.submit_planner(request_of("first"), arrays)
        ids = [arrays[0].job_id, elements(arrays)[1], planner]
        assert backend.cancel(ids, ["second", ""]) == tuple(ids)
        assert backend.cancel(ids, []) == tuple(ids)
        assert states(backend, arrays) == [JobState.PENDING] * 3
        assert backend.states([planner])[planner].state is JobState.PENDING
        assert backend.cancel(ids, ["second", "first"]) == ()

        def are_gone() -> bool:
            found = backend.states(elements(arrays))  # Slurm 22.05 may forget the element: see the test above
            first, *others = [found[job_id].state if job_id in found else None for job_id in elements(arrays)]
            return first is JobState.CANCELLED and {*others} <= {JobState.CANCELLED, None}

        wait_until(are_gone, 60)
        assert backend.cancel(ids, ["second"]) == ()  # it has ended

    def test_a_planner_that_waits_behind_the_wave_is_used_again(self, backend, request_of, wait_until):
        arrays = backend.submit(request_of("first"))
        planner = backend.submit_planner(request_of("first"), arrays)
        assert planner is not None
        assert backend.submit_planner(request_of("first"), arrays) == planner
        assert backend.states([planner])[planner].state is JobState.PENDING
        backend.cancel([planner])
        wait_until(lambda: backend.states([planner])[planner].state is JobState.CANCELLED, 60)
        again = backend.submit_planner(request_of("first"), arrays)
        assert again not in (None, planner)
        backend.cancel([again])


class BackendContract(SubmissionContract):
    """Each test gets `backend` and `ended(backend, arrays)`, which returns once the arrays have ended."""

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

    def running(self, backend: Backend, arrays: list[ArrayJob]):
        """A context in which the released arrays run by themselves."""
        raise NotImplementedError
