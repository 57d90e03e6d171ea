"""How a study's waves follow each other: the rules behind `waves.mode`, pure functions of the spec.

barrier: a wave is planned when all of the one before have ended. overlap: several are in flight, and those planned
last wait in the queue behind the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hposlurm.search import Problem, jobs_per_wave
from hposlurm.stopping import AT_REPORTS

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# More trials than a study could run: a grid says itself where it ends.
_MANY = 1_000_000
# What waits behind the oldest wave must outlast its last trial: where lengths differ by 2×, in two rounds of slots.
_ROUNDS_BEHIND = 2
# Each wave has a planner job behind it, and a plan is the older the more waves it waits behind.
_WAVES_MOST = 8


def trials_per_wave(spec: StudySpec, wave_size: int) -> int:
    """As asked; else all at once where no result changes what comes next, else what can run at once.

    Where a wave is a rung, it is the first one: later ones are smaller.
    """
    if spec.waves.size is not None:
        return spec.waves.size
    rung = jobs_per_wave(Problem(spec.space, spec.search, spec.objectives, spec.budget.n_trials), ())
    if rung is not None:
        return rung
    budget, (sampler, pruner) = spec.budget, spec.search.pair
    is_known = sampler == "grid" or (sampler in ("random", "qmc") and budget.n_trials is not None)
    ends_early = (budget.wall_time_min, budget.patience, budget.target, budget.terminator or None)
    return _MANY if pruner in {"none", *AT_REPORTS} and is_known and ends_early == (None,) * 4 else wave_size


def waves_in_flight(spec: StudySpec, wave_size: int) -> int:
    """How many waves may be in flight at a time; 1 where the next one is planned behind the last one's end.

    With overlap as many as keep all slots busy until the oldest wave has ended, if no trial is more than twice as long
    as another: 3 where a wave has as many elements as there are slots (`wave_size`).
    """
    if spec.waves.mode != "overlap":
        return 1
    size = trials_per_wave(spec, wave_size)
    return min(_WAVES_MOST, max(2, 1 + -(-_ROUNDS_BEHIND * wave_size // size)))
