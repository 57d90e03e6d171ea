"""How well the rungs of a study predict the end: trials that reached them and trials that were trained further."""

from __future__ import annotations

from random import Random

import pytest

from hposlurm.search import Observation, SearchProblem
from hposlurm.search.rung_correlation import RungCorrelation, RungCorrelations, rank_correlation, rung_correlations
from hposlurm.space import FloatParameter, SearchSpace
from hposlurm.spec.search import SearchSpec
from hposlurm.trial import Objective, TrialState


def ended(number: int, state: TrialState, *losses: float) -> Observation:
    curve = tuple((step, (loss,)) for step, loss in enumerate(losses, start=1))
    return Observation(number, {"x": number / 8}, state, (losses[-1],), curve=curve, to_step=9)


def test_a_trial_stopped_at_a_rung_does_not_count_as_sent_on() -> None:
    space = SearchSpace((FloatParameter("x", 0.0, 1.0),))
    search = SearchSpec(algorithm="asha_stopping", max_resource=9)
    whole = ended(0, TrialState.COMPLETE, *[1.0 / step for step in range(1, 10)])
    trials = [whole, ended(1, TrialState.PRUNED, 2.0), ended(2, TrialState.PRUNED, 1.5, 1.4, 1.3)]
    found = rung_correlations(SearchProblem(space, search, (Objective("loss"),), 3), trials)
    assert found is not None
    assert [(rung.step, rung.reached, rung.sent_on) for rung in found.rungs] == [(1, 3, 2), (3, 2, 1)]


@pytest.mark.parametrize("seed", range(20))
def test_the_rank_correlation_is_spearmans(seed):
    from scipy.stats import spearmanr

    dice = Random(seed)
    early, final = ([dice.choice((0.1, 0.2, 0.3, dice.random())) for _ in range(12)] for _ in range(2))
    assert rank_correlation(early, final) == pytest.approx(float(spearmanr(early, final).statistic), abs=1e-12)


def test_the_rank_correlation_of_a_constant_is_0():
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) == 0.0


def test_a_correlation_among_promoted_trials_is_said_to_be_lower_than_over_all() -> None:
    rungs = (RungCorrelation(step=1, reached=30, sent_on=9, correlation=0.2, pairs=9),)
    assert "over all trials it is usually higher" in RungCorrelations(rungs, is_fair=False, lowest=1).text
    assert "over all trials" not in RungCorrelations(rungs, is_fair=True, lowest=1).text
