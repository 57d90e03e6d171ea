"""The observations that samplers get of trials that were stopped at a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hposlurm.search import Observation, Proposal, fresh, next_requests
from hposlurm.trial import TrialState
from tests.search.play import problem_of

STOPPED = Observation(0, {"x": 0.5}, TrialState.PRUNED, (2.0,), curve=((1, (2.0,)),))
SILENT = Observation(1, {"x": 0.6}, TrialState.PRUNED)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Observation]:
    """The observations in the last call of a sampler."""
    seen: list[Observation] = []

    def suggest(_space: Any, _name: Any, _objectives: Any, observations: Sequence[Observation], *_: Any, **__: Any):
        seen[:] = observations
        return (Proposal({"x": 0.1}),)

    monkeypatch.setattr(fresh, "suggest", suggest)
    return seen


@pytest.mark.parametrize(
    ("search", "states"),
    [
        ({"sampler": "tpe", "pruner": "median"}, ["PRUNED", "PRUNED"]),
        ({"sampler": "gp", "pruner": "median"}, ["COMPLETE", "PRUNED"]),
        ({"sampler": "gp", "patience": 3}, ["COMPLETE", "PRUNED"]),
        ({"sampler": "tpe", "pruner": "asha_stopping", "max_resource": 9}, ["COMPLETE", "FAIL"]),
    ],
)
def test_models_learn_of_stopped_trials(seen: list[Observation], search: dict[str, Any], states: list[str]) -> None:
    next_requests(problem_of(9, **search), [STOPPED, SILENT], 1)
    assert [str(o.state) for o in seen] == states
    assert seen[0].values == (2.0,)


def test_a_rung_counts_with_just_enough_values_and_those_of_failed_trials_are_none() -> None:
    high = Observation(0, {"x": 0.1}, TrialState.PAUSED, curve=((1, (5.0,)), (3, (2.0,))), to_step=3)
    broken = Observation(1, {"x": 0.2}, TrialState.FAIL, curve=((1, (1.0,)), (3, (0.1,))))
    seen = fresh.at_one_rung([high, broken], (1, 3), 1)
    assert [(o.state, o.values) for o in seen] == [(TrialState.COMPLETE, (2.0,)), (TrialState.FAIL, None)]
    seen = fresh.at_one_rung([high, broken], (1, 3), 2)  # a value of the failed one would be the second
    assert [(o.state, o.values) for o in seen] == [(TrialState.COMPLETE, (5.0,)), (TrialState.FAIL, None)]
