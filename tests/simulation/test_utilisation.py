"""How much of the GPUs' time is training, in each mode: 64 GPUs, 1,000 trials, none twice as long as another."""

from __future__ import annotations

from hposlurm.simulation import Cluster, simulate
from tests.simulation.studies import study, train


def _share(mode: str, **sections: object) -> tuple[float, float]:
    """Of the time in which there was still something to start, and of all the time until the last trial's end."""
    found = simulate(study(1000, **sections), train, Cluster(gpus=64), mode=mode)
    busy = sum(
        max(0.0, min(a.ended_at - found.begin, found.busy_s) - (a.started_at - found.begin))
        for t in found.history.trials
        for a in t.attempts
    )
    return busy / (64 * found.busy_s), found.training_share


def test_refill_leaves_no_gpu_idle_while_there_is_work():
    while_work, whole = _share("refill")
    assert while_work > 0.999
    assert whole > 0.94  # the last trials end one by one, whatever the mode


def test_a_barrier_idles_behind_the_fastest_of_each_wave():
    while_work, _ = _share("barrier", waves={"size": 64})
    assert while_work < 0.80
