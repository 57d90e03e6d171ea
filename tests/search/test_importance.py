"""Importance: the same as Optuna's own on a study that Optuna itself would have made of the same trials."""

from __future__ import annotations

import math
import random
import warnings

import optuna
import pytest
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances

from hposlurm.search.importance import LEAST_TRIALS, MOST_IN_FOREST, importances
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace
from hposlurm.space.expressions import parse
from hposlurm.trial import Direction, Objective

LOSS, ACC = Objective("loss"), Objective("acc", Direction.MAXIMIZE)
SPACE = SearchSpace(
    (
        FloatParameter("lr", 1e-6, 1e-1, log=True),
        FloatParameter("wd", 0.0, 0.5, step=0.1),
        IntParameter("layers", 2, 32, step=2),
        CategoricalParameter("optimizer", ("adamw", "sgd", None)),
        FloatParameter("momentum", 0.0, 0.99, condition=parse("optimizer == 'sgd'")),
    )
)


def optuna_study(objectives, count):
    """A study as Optuna runs it, with a random sampler."""

    def objective(trial):
        lr = trial.suggest_float("lr", 1e-6, 1e-1, log=True)
        wd = trial.suggest_float("wd", 0.0, 0.5, step=0.1)
        layers = trial.suggest_int("layers", 2, 32, step=2)
        optimizer = trial.suggest_categorical("optimizer", ("adamw", "sgd", None))
        momentum = trial.suggest_float("momentum", 0.0, 0.99) if optimizer == "sgd" else 0.5
        loss = abs(math.log10(lr) + 3) + wd + (optimizer == "sgd") * (1 - momentum)
        return (loss, layers / 10 - loss)[: len(objectives)]

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler(seed=1)
    study = optuna.create_study(sampler=sampler, directions=[o.direction.value for o in objectives])
    study.optimize(objective, n_trials=count)
    return study


def own(evaluator, study, names, target=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_param_importances(study, evaluator=evaluator, params=names, target=target)


def of_study(study, objectives):
    return importances(SPACE, objectives, [(t.params, tuple(t.values)) for t in study.trials])


ALWAYS = ["lr", "wd", "layers", "optimizer"]


def test_one_objective_has_what_optuna_says():
    pytest.importorskip("sklearn", reason="Optuna's fANOVA needs scikit-learn")
    study = optuna_study([LOSS], 60)
    fanova, ped = of_study(study, [LOSS])
    assert (fanova.method, ped.method) == ("fANOVA", "PED-ANOVA")
    assert fanova.shares == pytest.approx(own(FanovaImportanceEvaluator(seed=0), study, ALWAYS))
    assert ped.shares == pytest.approx(own(PedAnovaImportanceEvaluator(), study, [*ALWAYS, "momentum"]))
    assert list(ped.shares.values()) == sorted(ped.shares.values(), reverse=True)
    assert fanova.left_out == ped.left_out == ("momentum",)
    assert not fanova.is_doubtful and not ped.is_doubtful


def test_several_objectives_are_judged_together_and_each_by_itself():
    study = optuna_study([LOSS, ACC], 80)
    front, *found = [each for each in of_study(study, [LOSS, ACC]) if each.method == "PED-ANOVA"]
    names = [*ALWAYS, "momentum"]
    assert front.objective == "" and front.shares == pytest.approx(own(PedAnovaImportanceEvaluator(), study, names))
    loss, acc = found
    wanted = own(PedAnovaImportanceEvaluator(), study, names, lambda t: t.values[0])
    assert loss.objective == "loss" and loss.shares == pytest.approx(wanted)
    # the evaluator takes low targets for good, as its documentation says
    wanted = own(PedAnovaImportanceEvaluator(), study, names, lambda t: -t.values[1])
    assert acc.objective == "acc" and acc.shares == pytest.approx(wanted)


def test_few_trials_are_doubtful_and_very_few_say_nothing():
    study = optuna_study([LOSS], 12)
    assert all(each.is_doubtful for each in of_study(study, [LOSS]))
    assert importances(SPACE, [LOSS], [(t.params, tuple(t.values)) for t in study.trials[: LEAST_TRIALS - 1]]) == ()


def test_trials_outside_of_the_space_do_not_count():
    study = optuna_study([LOSS], 12)
    trials = [(t.params, tuple(t.values)) for t in study.trials]
    strange = [({**trials[0][0], "lr": 5.0}, (0.0,)), ({"lr": 1e-3}, (0.0,))]
    assert importances(SPACE, [LOSS], [*trials, *strange]) == importances(SPACE, [LOSS], trials)


def test_the_forest_sees_a_limited_number_of_trials_of_all_times(monkeypatch):
    pytest.importorskip("sklearn", reason="Optuna's fANOVA needs scikit-learn")
    monkeypatch.setattr("hposlurm.search.importance.MOST_IN_FOREST", 10)
    space = SearchSpace((FloatParameter("x", 0.0, 1.0), FloatParameter("y", 0.0, 1.0)))
    rng = random.Random(0)
    # y matters in the second half only: a forest that saw only the first trials would not know
    points = [{"x": rng.random(), "y": rng.random()} for _ in range(35)]
    values = [(p["y"] if n > 17 else 0.5,) for n, p in enumerate(points)]
    fanova, ped = importances(space, [LOSS], list(zip(points, values, strict=True)))
    assert fanova.trials == 9 and ped.trials == 35
    assert fanova.shares["y"] > 0.5
    assert MOST_IN_FOREST >= 100


def test_a_study_without_scikit_learn_has_ped_anova_only(monkeypatch):
    monkeypatch.setattr("hposlurm.search.importance.has_fanova", lambda: False)
    assert [each.method for each in of_study(optuna_study([LOSS], 12), [LOSS])] == ["PED-ANOVA"]


def test_a_parameter_without_effect_is_not_above_its_shuffled_values():
    (*_, ped) = of_study(optuna_study([LOSS], 60), [LOSS])
    assert ped.shares["layers"] <= ped.floors["layers"]
    assert ped.shares["lr"] > ped.floors["lr"]
