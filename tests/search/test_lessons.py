"""Lessons beyond the study's own values: limits on metrics, trials of other studies, when to end."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from hposlurm.errors import RequestError
from hposlurm.search import Observation, suggest, terminator
from hposlurm.search.terminator import promises_nothing
from hposlurm.space import FloatParameter, SearchSpace
from hposlurm.space.expressions import parse
from hposlurm.space.metric_constraints import Limits
from hposlurm.trial import Objective, TrialState
from tests.search.studies import LOSS

X = FloatParameter("x", 0.0, 1.0)
PLAIN = SearchSpace((X,))
LIMITED = SearchSpace((X,), limits=Limits((parse("peak_gpu_gb <= 20"),), frozenset({"peak_gpu_gb"})))


def trials(n: int, first: int = 0, seed: int = 0) -> list[Observation]:
    """The loss falls towards x = 1, and the memory rises: it is over 20 above a half."""
    rng = Random(seed)
    points = [rng.random() for _ in range(n)]
    return [
        Observation(first + i, {"x": x}, TrialState.COMPLETE, (1 - x,), metrics={"peak_gpu_gb": 40 * x})
        for i, x in enumerate(points)
    ]


@pytest.mark.parametrize("algorithm", ["tpe", "gp"])
def test_a_broken_limit_is_learnt_like_a_violated_constraint(algorithm: str) -> None:
    if algorithm == "gp":
        pytest.importorskip("torch")
    plain, limited = (
        [s.params["x"] for s in suggest(space, algorithm, LOSS, trials(30), 8, 1, 10)] for space in (PLAIN, LIMITED)
    )
    assert sum(float(x or 0) > 0.5 for x in plain) >= 6
    assert sum(float(x or 0) > 0.5 for x in limited) <= 3


def test_infeasible_configurations_teach_from_the_start() -> None:
    """Two thirds of the first thirty diverged; the loss falls towards where they did."""
    seen = [
        Observation(i, {"x": x}, TrialState.FAIL, infeasible=True)
        if (x := (i + 0.5) / 30) > 0.33
        else Observation(i, {"x": x}, TrialState.COMPLETE, (1 - x,))
        for i in range(30)
    ]
    found = suggest(PLAIN, "tpe", LOSS, seen, 8, 1, 10)
    assert {s.attrs["origin"] for s in found} == {"tpe"}
    assert sum(float(s.params["x"] or 0) < 0.4 for s in found) >= 6
    crashed = [replace(o, infeasible=False) for o in seen]
    blind = suggest(PLAIN, "tpe", LOSS, crashed, 8, 1, 10)
    assert sum(float(s.params["x"] or 0) < 0.4 for s in blind) < 6
    early = [o for o in seen if o.infeasible]
    assert {s.attrs["origin"] for s in suggest(PLAIN, "tpe", LOSS, early, 1, 1, 10)} == {"tpe"}


def test_other_studies_teach_but_their_points_may_be_proposed_and_are_not_counted() -> None:
    prior = trials(30, first=-30)
    found = suggest(PLAIN, "tpe", LOSS, [], 8, 1, 10, prior=prior)
    assert {s.attrs["origin"] for s in found} == {"tpe"}  # no random start: enough is known
    assert sum(float(s.params["x"] or 0) > 0.6 for s in found) >= 6
    assert suggest(PLAIN, "random", LOSS, [], 3, 1, 10, prior=prior) == suggest(PLAIN, "random", LOSS, [], 3, 1, 10)


def test_trials_of_other_studies_outside_of_the_space_teach_nothing() -> None:
    prior = [Observation(-1 - i, {"x": 2.0 + i}, TrialState.COMPLETE, (0.0,)) for i in range(30)]
    found = suggest(PLAIN, "tpe", LOSS, [], 2, 1, 10, prior=prior)
    assert [s.attrs["origin"] for s in found] == ["random", "random"]


# ---- the terminator ----


def converging(n: int) -> list[Observation]:
    """A search that closes in on the best: x = 0.3."""
    rng = Random(1)
    points = [0.3 + rng.uniform(-0.3, 0.7) * 0.8 ** max(0, i - 10) for i in range(n)]
    return [Observation(i, {"x": x}, TrialState.COMPLETE, ((x - 0.3) ** 2,)) for i, x in enumerate(points)]


@pytest.fixture
def packages() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("scipy")


@pytest.mark.usefixtures("packages")
def test_the_terminator_ends_a_study_that_can_gain_less_than_the_noise() -> None:
    reason = promises_nothing(0.05, PLAIN, LOSS, converging(30), 1)
    assert reason is not None and reason.startswith("terminator: at most ") and "the noise of 0.05" in reason
    assert reason == promises_nothing(0.05, PLAIN, LOSS, converging(30), 1)
    assert promises_nothing(1e-9, PLAIN, LOSS, converging(30), 1) is None


@pytest.mark.usefixtures("packages")
def test_the_terminator_without_a_noise_looks_at_the_early_trials() -> None:
    rng = Random(3)
    wild = [Observation(i, {"x": rng.random()}, TrialState.COMPLETE, (rng.random(),)) for i in range(31)]
    assert promises_nothing(True, PLAIN, LOSS, wild, 1) is None


def test_the_terminator_waits_for_enough_completed_feasible_trials() -> None:
    assert promises_nothing(1e9, PLAIN, LOSS, converging(terminator.LEAST_WITH_NOISE - 1), 1) is None
    assert promises_nothing(1e9, LIMITED, LOSS, converging(40), 1) is None  # their memory is unknown
    assert promises_nothing(False, PLAIN, LOSS, converging(40), 1) is None
    assert promises_nothing(1e9, PLAIN, [Objective("a"), Objective("b")], converging(40), 1) is None


def test_without_its_packages_the_terminator_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminator, "find_spec", lambda name: None if name == "torch" else name)
    with pytest.raises(RequestError, match=r"budget\.terminator: needs torch wherever waves are planned"):
        promises_nothing(True, PLAIN, LOSS, converging(40), 1)
