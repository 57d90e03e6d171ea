"""The faster paths through Optuna give the same answers as Optuna itself."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
import pytest
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState

from hposlurm.search import Observation, Proposal, optuna_study, suggest, tpe
from hposlurm.search.known import KnownPoints
from hposlurm.search.memory import SearchMemory
from hposlurm.search.optuna_study import OptunaStudy, SharedTrial
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace
from hposlurm.trial import Objective, TrialState
from tests.search.studies import LOSS, NARROW, NESTED, SQUARE, drawn

MIXED = SearchSpace(
    (
        FloatParameter("lr", 1e-6, 1e-3, log=True),
        FloatParameter("dropout", 0.1, 0.7, step=0.1),
        IntParameter("n", 1, 1000, log=True),
        CategoricalParameter("c", (True, 1, "1", None)),
        FloatParameter("fixed", 2.0, 2.0),
    )
)
ONE = SearchSpace((FloatParameter("x", 0.0, 1.0),))
SEVERAL = (Objective("a"), Objective("b"))


def history(space: SearchSpace, objectives: Sequence[Objective]) -> list[Observation]:
    """Trials of all kinds."""
    kinds = [TrialState.COMPLETE] * 5 + [TrialState.PRUNED, TrialState.RUNNING, TrialState.FAIL]
    found = []
    for i, params in enumerate(drawn(space, 64, 3)):
        state = kinds[i % len(kinds)]
        values = tuple(float((j + 1) * i * i % 29 + j) for j in range(len(objectives)))
        has_values = state in (TrialState.COMPLETE, TrialState.PRUNED)
        found.append(Observation(i, params, state, values if has_values else None, infeasible=i % 16 == 7))
    return found


def asked(space: SearchSpace, objectives: Sequence[Objective]) -> tuple[Proposal, ...]:
    return suggest(space, "tpe", objectives, history(space, objectives), 12, 5, 10)


@pytest.mark.parametrize("objectives", [LOSS, SEVERAL], ids=["one", "several"])
@pytest.mark.parametrize(
    "space", [SQUARE, MIXED, NESTED, NARROW, ONE], ids=["square", "mixed", "nested", "narrow", "one"]
)
def test_quick_tpe_answers_as_optuna_does(
    space: SearchSpace, objectives: Sequence[Objective], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = asked(space, objectives)
    # now without any of the short cuts: Optuna copies and checks every trial, and infers and splits at every ask
    monkeypatch.setattr(tpe, "QuickTpeSampler", optuna.samplers.TPESampler)

    def whole(trial: SharedTrial) -> FrozenTrial:
        return create_trial(
            state=trial.state,
            values=trial.values,
            params=trial.params,
            distributions=trial.distributions,
            intermediate_values=trial.intermediate_values,
            constraints=trial.violations,
        )

    add_trial = optuna.Study.add_trial
    monkeypatch.setattr(optuna.Study, "add_trial", lambda study, trial: add_trial(study, whole(trial)))
    assert asked(space, objectives) == quick


def test_the_cache_of_points_distinguishes_equal_values_of_different_types() -> None:
    points = KnownPoints(MIXED)
    base = {"lr": 1e-5, "dropout": 0.1, "n": 3, "fixed": 2.0}
    found = [points.of({**base, "c": c}).point for c in (True, 1, 1.0)]
    assert [repr(p["c"]) for p in found if p] == ["True", "1", "1"]
    other = SearchSpace((CategoricalParameter("c", (1.0,)),))
    equal = SearchSpace((CategoricalParameter("c", (1,)),))
    assert repr(KnownPoints(other).of({"c": 1}).point) != repr(KnownPoints(equal).of({"c": 1}).point)


def test_answers_do_not_depend_on_the_cache() -> None:
    first, memory = asked(NESTED, LOSS), SearchMemory()
    for _ in range(3):  # the other space makes it forget this one
        kept = [
            suggest(NESTED, "tpe", LOSS, history(NESTED, LOSS), 12, 5, 10, points=memory.known_points(NESTED))
            for _ in range(2)
        ]
        assert kept == [first, first]
        suggest(SQUARE, "random", LOSS, [], 3, 0, 10, points=memory.known_points(SQUARE))


def test_an_added_trial_is_shared_and_never_changed() -> None:
    point = KnownPoints(SQUARE).of({"x": 1.0, "y": 2.0})
    studies = [OptunaStudy(SQUARE, LOSS, optuna.samplers.RandomSampler(seed=0)) for _ in range(2)]
    for count, study in enumerate(studies):
        for _ in range(count):
            study.ask_optuna()
        study.add(point, OptunaState.COMPLETE, (3.0,), constraints=(0.0,))
    numbers = [study._study.trials[-1].number for study in studies]
    assert numbers == [0, 1]
    assert all(study._study.trials[-1].params == {"x": 1.0, "y": 2.0} for study in studies)


def test_optunas_settings_are_restored_after_an_error() -> None:
    before = optuna.logging.get_verbosity()
    with pytest.raises(ZeroDivisionError), optuna_study.quiet():
        1 / 0  # noqa: B018
    assert optuna.logging.get_verbosity() == before
