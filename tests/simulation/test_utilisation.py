"""The share of the GPUs' time that is training, in each mode: 64 GPUs, 400 trials, durations within a factor of 2."""

from __future__ import annotations

from hposlurm.simulation import Cluster, simulate
from tests.simulation.studies import study, train


def _share(mode: str, **sections: object) -> tuple[float, float]:
    """Returns the utilisation until the last new trial started, and over all of the time."""
    found = simulate(study(400, **sections), train, Cluster(gpus=64), mode=mode)
    return found.busy_share, found.training_share


def test_refill_leaves_no_gpu_idle_while_there_is_work():
    while_work, whole = _share("refill")
    assert while_work > 0.999
    assert whole > 0.85  # the last trials end one by one, whatever the mode


def test_overlap_leaves_no_gpu_idle_while_there_is_work():
    while_work, whole = _share("overlap", waves={"size": 64})
    assert while_work > 0.999
    assert whole > 0.85


def test_a_barrier_idles_after_the_fastest_trials_of_each_wave():
    while_work, _ = _share("barrier", waves={"size": 64})
    assert while_work < 0.80
