"""Promotions to the next rung, which depend only on the records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hposlurm.search.auto.ladder import promotions
from hposlurm.search.auto.records import LossTable
from hposlurm.trial import Objective

LOSS = (Objective("loss"),)


def records(*losses: float | None) -> LossTable:
    """Returns one trial for each value, paused at the lowest of three rungs; None failed on the way there."""
    n = len(losses)
    failed = np.array([loss is None for loss in losses])
    known = np.full((n, 3), np.nan)
    known[:, 0] = [np.nan if loss is None else loss for loss in losses]
    none, all_of_them = np.zeros(n, bool), np.ones(n, bool)
    return LossTable(
        levels=(1, 3, 9),
        numbers=np.arange(n),
        rows=np.zeros((n, 1)),
        inside=all_of_them,
        losses=known,
        broken=np.zeros(n),
        target=np.zeros(n, np.int64),
        is_open=none,
        is_paused=~failed,
        is_complete=none,
        is_failed=failed,
        is_infeasible=none,
        is_through=none,
    )


def sent(found: LossTable, *, is_last: bool = False) -> list[int]:
    return [row for row, _ in promotions(found, 0, 3, LOSS, is_last=is_last)]


def test_a_trial_that_failed_on_the_way_to_a_rung_counts_in_it():
    assert sent(records(0.2, 0.1)) == []
    assert sent(records(0.2, 0.1, None)) == [1]


def test_a_trial_that_breaks_a_limit_ranks_below_all_that_keep_it():
    """It may still be promoted later: all trials break a limit on a metric that grows with training at first."""
    six = records(0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    assert sent(six) == [0, 1]
    assert sent(replace(six, broken=np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]))) == [1, 2]
    assert sent(replace(six, broken=np.array([3.0, 2.0, 1.0, 1.0, 2.0, 0.0]))) == [5, 2]
    words = [why for _, why in promotions(replace(six, broken=np.full(6, 1.0)), 0, 3, LOSS)]
    assert words == [
        f"rung 1: loss {loss}, place {place} of 6, the best 2 go on" for place, loss in [(1, 0.1), (2, 0.2)]
    ]


def test_without_new_trials_a_small_rung_promotes_its_best_one():
    assert sent(records(0.2, 0.1), is_last=True) == [1]
    gone = replace(records(0.2, 0.1), target=np.array([0, 1]))
    assert sent(gone, is_last=True) == []
