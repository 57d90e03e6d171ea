"""Study files are tried out here for as many configurations as on a person's machine."""

from __future__ import annotations

import pytest

from hposlurm.spec import draws
from tests.conftest import ALL_DRAWS


@pytest.fixture(autouse=True)
def all_draws(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Property tests of other things than that have few: they read a study file hundreds of times."""
    if not hasattr(request.function, "hypothesis"):
        monkeypatch.setattr(draws, "_COUNT", ALL_DRAWS)
