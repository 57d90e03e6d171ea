"""The number of elements of a refill wave."""

from __future__ import annotations

import pytest

from hposlurm.decisions.modes import elements_wanted
from hposlurm.records.history import History
from hposlurm.spec import SearchSpec
from tests.simulation.studies import study


@pytest.mark.parametrize(("algorithm", "elements"), [("random", 9), ("asha_stopping", 9), ("median", 9), ("asha", 18)])
def test_only_a_trial_that_is_sent_on_needs_another_element(algorithm: str, elements: int) -> None:
    spec = study(9).model_copy(update={"search": SearchSpec(algorithm=algorithm, max_resource=9)})
    assert elements_wanted(spec, History(), 3, 1) == elements
