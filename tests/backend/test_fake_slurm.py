"""The imitation of Slurm's commands, held to what the real ones are held to."""

from __future__ import annotations

import contextlib

import pytest

from hposlurm.backend.slurm import SlurmBackend
from hposlurm.trial import JobState
from tests.backend.contract import BackendContract, QueueContract, elements, states
from tests.fake_slurm import fake_slurm
from tests.fake_slurm.node import Node

__all__ = ["fake_slurm"]


class TestFakeSlurm(QueueContract, BackendContract):
    @pytest.fixture(autouse=True)
    def slurm(self, fake_slurm):
        self.slurm = fake_slurm

    @pytest.fixture
    def backend(self):
        return SlurmBackend(patience_s=600.0)  # beside the other lanes a start of Python may take a minute

    @pytest.fixture
    def ended(self, wait_until):
        def wait(backend, arrays):
            with Node(self.slurm):
                ids = elements(arrays)
                wait_until(lambda: all(s.state.is_terminal for s in backend.states(ids).values()), 180)

        return wait

    def test_what_only_the_accounting_knows_is_alive_until_its_last_row_is_final(self, backend, request_of):
        arrays = backend.submit(request_of("first"))
        self.slurm.set("accounting", 1)
        self.slurm.set("forgetful", 1)
        self.slurm.change(arrays[0].job_id, states=["RUNNING", "SUSPENDED", "COMPLETED"])
        assert states(backend, arrays) == [JobState.RUNNING, JobState.RUNNING, JobState.COMPLETED]

    def test_a_banner_of_sbatch_is_not_the_job_id(self, backend, request_of):
        (self.slurm.home / "banner").write_text("Welcome\n2024\n")
        arrays = backend.submit(request_of("first"))
        assert [array.job_id for array in arrays] == [job["id"] for job in self.slurm.arrays()]

    def test_a_hidden_partition_hides_no_job(self, backend, request_of):
        arrays = backend.submit(request_of("first"))
        self.slurm.set("hidden", 1)
        assert states(backend, arrays) == [JobState.PENDING] * 3
        assert backend.submit(request_of("first")) == arrays
        planner = backend.submit_planner(request_of("first"), arrays)
        assert backend.submit_planner(request_of("first"), arrays) == planner

    def test_accounting_that_does_not_answer_is_not_taken_for_one_that_is_switched_off(self, backend, request_of):
        (array,) = backend.submit(request_of("first"))
        assert backend.usage([array.job_id]) is None
        self.slurm.set("accounting", 0)
        assert backend.usage([array.job_id]) == {}
        assert backend.states([f"{array.job_id}_0"])  # the queue knows it

    @contextlib.contextmanager
    def running(self, backend, arrays):  # noqa: ARG002
        with Node(self.slurm):
            yield
