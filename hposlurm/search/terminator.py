"""Asks Optuna's terminator whether a further trial promises more than the noise of an evaluation.

Optuna's Gaussian process needs PyTorch and SciPy; both are imported only if a study uses the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from hposlurm.errors import RequestError
from hposlurm.search.observation import Observation
from hposlurm.search.points import Point, project
from hposlurm.search.seeds import derive_seed
from hposlurm.space import SearchSpace
from hposlurm.trial import Objective, TrialState

if TYPE_CHECKING:
    from optuna.study import Study

# Completed trials before the rule is asked: the bound on the regret means little earlier. Noise that is not given is
# estimated from the expected improvement of the 11th to the 30th trial.
LEAST_WITH_NOISE = 20
LEAST_WITHOUT = 30
_NEEDS = ("torch", "scipy")


def require_packages() -> None:
    """Raises RequestError if this Python lacks a package that the rule needs."""
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        raise RequestError(
            f"budget.terminator: needs {' and '.join(missing)} wherever waves are planned, on the login node as in "
            "jobs; install it there, or use budget.patience"
        )


def promises_nothing(
    rule: bool | float,
    space: SearchSpace,
    objectives: Sequence[Objective],
    observations: Sequence[Observation],
    seed: int,
) -> str | None:
    """Returns why the study should end, as a sentence; None if it should not, or if too little is known.

    If `rule` is a number, the noise of an evaluation, the possible remaining regret is compared with it
    (RegretBoundEvaluator). If it is true, the model's expected gap to the best is compared with a hundredth of the gap
    in early trials (EMMREvaluator, MedianErrorEvaluator). Only completed trials in the space that keep its limits
    count. The same arguments give the same answer. Raises RequestError if PyTorch or SciPy is missing.
    """
    if rule is False or len(objectives) != 1:
        return None
    require_packages()
    known = [
        (p, o.values[0]) for o in observations if o.values and _counts(o, space) and (p := project(space, o.params))
    ]
    is_noise = not isinstance(rule, bool)
    if len(known) < (LEAST_WITH_NOISE if is_noise else LEAST_WITHOUT):
        return None
    return _ask(float(rule) if is_noise else None, space, objectives[0], known, derive_seed(seed, "terminator"))


def _counts(observation: Observation, space: SearchSpace) -> bool:
    is_complete = observation.state is TrialState.COMPLETE
    return is_complete and space.limits.is_feasible(observation.params, observation.metrics)


def _ask(
    noise: float | None,
    space: SearchSpace,
    objective: Objective,
    known: Sequence[tuple[Point, float]],
    seed: int,
) -> str | None:
    from optuna import terminator as rules

    from hposlurm.search.optuna_study import quiet, study_of

    with quiet():
        improvement: rules.BaseImprovementEvaluator
        error: rules.BaseErrorEvaluator
        if noise is None:
            improvement = rules.EMMREvaluator(seed=seed)
            error = rules.MedianErrorEvaluator(rules.EMMREvaluator(seed=seed))
        else:
            improvement, error = rules.RegretBoundEvaluator(seed=seed), rules.StaticErrorEvaluator(noise)
        study: Study = study_of(space, objective, known)
        trials = study.get_trials(deepcopy=False)
        left = improvement.evaluate(trials, study.direction)
        bound = error.evaluate(trials, study.direction)
    if left >= bound:
        return None
    if noise is None:
        return (
            f"terminator: the expected gap to the best, {left:.3g}, is below {bound:.3g}, a hundredth of the early one"
        )
    return f"terminator: at most {left:.3g} of {objective.metric} can be left, less than the noise of {noise:g}"
