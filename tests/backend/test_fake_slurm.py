"""The imitation of Slurm's commands, held to what the real ones are held to."""

from __future__ import annotations

import contextlib

import pytest

from hposlurm.backend.slurm import SlurmBackend
from tests.backend.contract import BackendContract, QueueContract, elements
from tests.fake_slurm import fake_slurm
from tests.fake_slurm.node import Node

__all__ = ["fake_slurm"]


class TestFakeSlurm(QueueContract, BackendContract):
    @pytest.fixture(autouse=True)
    def slurm(self, fake_slurm):
        self.slurm = fake_slurm

    @pytest.fixture
    def backend(self):
        return SlurmBackend()

    @pytest.fixture
    def ended(self, wait_until):
        def wait(backend, arrays):
            with Node(self.slurm):
                ids = elements(arrays)
                wait_until(lambda: all(s.state.is_terminal for s in backend.states(ids).values()), 180)

        return wait

    @contextlib.contextmanager
    def running(self, backend, arrays):  # noqa: ARG002
        with Node(self.slurm):
            yield
