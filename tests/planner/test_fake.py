"""The planner's cluster in memory, held to what real ones are held to."""

from __future__ import annotations

import pytest

from tests.backend.contract import QueueContract
from tests.planner.fake import FakeCluster


class TestFakeCluster(QueueContract):
    @pytest.fixture
    def backend(self):
        return FakeCluster()
