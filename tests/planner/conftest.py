"""Fixtures that several tests of the planner share."""

from __future__ import annotations

from pathlib import Path

import pytest

import hposlurm.planner.ends
from hposlurm.records.layout import StudyLayout
from tests.fake_slurm import fake_slurm_within
from tests.planner.fake import new_layout

__all__ = ["fake_slurm_within"]


@pytest.fixture
def layout(tmp_path: Path) -> StudyLayout:
    return new_layout(tmp_path)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens the times for which a planner waits for records and accounting."""
    for name in ("LOST_AFTER_S", "SETTLE_S", "_ASK_AGAIN_S"):
        monkeypatch.setattr(hposlurm.planner.ends, name, 0.01)
