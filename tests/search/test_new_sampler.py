"""A new sampler needs a class that follows the protocol, a builder by name, and a row in the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

import pytest

from hposlurm.decisions import mode_of
from hposlurm.errors import RequestError, SpecError
from hposlurm.search import Observation, suggest
from hposlurm.search.known import KnownPoint
from hposlurm.search.points import Point, draw_point
from hposlurm.search.sampler import BUILDERS, Asked
from hposlurm.simulation import Cluster, simulate
from hposlurm.spec import unused
from hposlurm.spec.algorithms import SAMPLERS, SamplerTraits
from hposlurm.trial import TrialState
from tests.search.studies import LOSS, SQUARE, TINY_GRID
from tests.simulation.studies import study, train

ROW = SamplerTraits("nearby", "drawn near the best point so far", keys=("startup_trials",))
STARTUP = 6


class Nearby:
    """Takes some parameters from the best point so far and draws the others."""

    asks = 20
    rejections = 100

    def __init__(self, asked: Asked) -> None:
        self._space = asked.space
        self._rng = Random(asked.wave_seed)
        self._best: tuple[float, Point] | None = None

    @property
    def attrs(self) -> Mapping[str, object]:
        return {"near": self._best[0] if self._best else None}

    def tell(self, lessons: Sequence[tuple[Observation, KnownPoint]]) -> None:
        ended = [(o.values[0], p.point) for o, p in lessons if o.values and p.point]
        self._best = min(ended, key=lambda pair: pair[0], default=None)

    def ask(self) -> Point:
        kept = {n: v for n, v in (self._best[1] if self._best else {}).items() if self._rng.random() < 0.5}
        return draw_point(self._space, self._rng, kept)

    def expect(self, point: Point) -> None:
        pass

    def refuse(self, point: Point) -> None:
        pass


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setitem(SAMPLERS, ROW.name, ROW)
    monkeypatch.setitem(BUILDERS, ROW.name, Nearby)
    return monkeypatch


@pytest.mark.parametrize("mode", ["barrier", "refill"])
def test_a_study_runs_with_it_to_its_end(mode: str) -> None:
    found = simulate(study(24, search={"algorithm": "nearby", "startup_trials": STARTUP}), train, Cluster(4), mode=mode)
    assert [trial.state for trial in found.history.trials] == [TrialState.COMPLETE] * 24
    origins = [trial.attrs["origin"] for trial in found.history.trials]
    assert origins[:STARTUP] == ["random"] * STARTUP and origins[-8:] == ["nearby"] * 8
    known = {trial.values[0] for trial in found.history.trials if trial.values}
    assert all(trial.attrs["near"] in known for trial in found.history.trials[-8:])


def test_it_works_with_every_pruner_that_is_free() -> None:
    search = {"algorithm": None, "sampler": "nearby", "pruner": "asha", "max_resource": 9, "startup_trials": STARTUP}
    found = simulate(study(20, search=search), train, Cluster(4))
    assert {trial.state for trial in found.history.trials} == {TrialState.COMPLETE, TrialState.PAUSED}
    assert "nearby" in {trial.attrs["origin"] for trial in found.history.trials}


def test_a_small_space_is_used_up() -> None:
    found = suggest(TINY_GRID, "nearby", LOSS, [], 20, 0, startup_trials=0)
    assert len(found) == TINY_GRID.cardinality(100) == 12


def test_a_check_names_the_keys_that_it_does_not_read() -> None:
    spec = study(search={"algorithm": "nearby", "startup_trials": STARTUP, "reduction_factor": 2})
    assert unused(spec) == ("search.reduction_factor is not used by nearby",)
    with pytest.raises(SpecError, match="population_size: is for cmaes, nsga2, nsga3, pbt, not for nearby"):
        study(search={"algorithm": "nearby", "population_size": 8})


@pytest.mark.parametrize(
    ("changes", "mode"),
    [({}, "refill"), ({"by_generations": True}, "barrier"), ({"is_blind": True}, "barrier")],
)
def test_its_row_says_how_waves_follow_each_other(
    added: pytest.MonkeyPatch, changes: dict[str, bool], mode: str
) -> None:
    added.setitem(SAMPLERS, ROW.name, replace(ROW, **changes))
    assert mode_of(study(search={"algorithm": "nearby"})).name == mode


def test_its_row_says_what_it_cannot_do(added: pytest.MonkeyPatch) -> None:
    added.setitem(SAMPLERS, ROW.name, replace(ROW, instead_of_numbers="use grid", package="no_such_package"))
    with pytest.raises(RequestError, match=r"search: nearby needs numeric parameters .*; use grid"):
        suggest(TINY_GRID, "nearby", LOSS, [], 1, 0, 0)
    with pytest.raises(SpecError, match=r"search\.algorithm: nearby needs numeric parameters"):
        study(search={"algorithm": "nearby"}, parameters={"x": {"choices": [1, 2]}, "y": {"choices": [1, 2]}})
    with pytest.raises(RequestError):
        suggest(SQUARE, "nearby", LOSS, [], 1, 0, 0)
