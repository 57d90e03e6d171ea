"""The planner's cluster in memory passes the contract tests of real backends."""

from __future__ import annotations

import pytest

from tests.backend.contract import QueueContract
from tests.planner.fake import FakeCluster


class TestFakeCluster(QueueContract):
    @pytest.fixture
    def backend(self):
        return FakeCluster()
