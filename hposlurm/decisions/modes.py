"""How a study's waves follow each other: the rules behind `waves.mode`, pure functions of the spec.

barrier: a wave is planned when all of the one before have ended. overlap: several are in flight, and those planned
last wait in the queue behind the others. refill: one long array, each element of which takes an assignment when it
starts, of those that are proposed ahead while it runs. auto: one of these, by what the search can do with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hposlurm.search import SearchProblem, requests_per_wave
from hposlurm.spec.refill import why_no_refill

if TYPE_CHECKING:
    from hposlurm.records.history import History
    from hposlurm.spec import StudySpec

# More trials than a study could run: a grid says itself where it ends.
_MANY = 1_000_000
# What waits behind the oldest wave must outlast its last trial: where lengths differ by 2×, in two rounds of slots.
_ROUNDS_BEHIND = 2
# Each wave has a planner job behind it, and a plan is the older the more waves it waits behind.
_WAVES_MOST = 8
# Waves that end in turn hold each other up where one may run more at once than another. Computed for trials that differ
# by 2×: in halves of 8 slots more of them are busy than with one wave after the other, of 7 fewer, of 11 as many.
_EVEN_ENOUGH = 5
# An array of more would be cut into several at most sites, each with its own share of max_concurrent
_ELEMENTS_MOST = 1000
#: Of all that run at once, how many are kept proposed: less would make them wait, more be proposed on older results
AHEAD_SHARE = 8
# A trial that is sent on for as long as it is among the better half has two runs on average
_RUNS_WITH_RUNGS = 2
# A budget of GPU hours pays for more trials than with all of their time limits, but few use less than a quarter
_RUNS_PER_TIME_LIMIT = 4


@dataclass(frozen=True, slots=True)
class Mode:
    """The mode that a study runs in, and why; `why` is "" where the study file says it."""

    name: Literal["barrier", "overlap", "refill"]
    why: str = ""


def mode_of(spec: StudySpec) -> Mode:
    """What `waves.mode` is for this study."""
    if spec.waves.mode != "auto":
        return Mode(spec.waves.mode)
    if spec.slurm.driver == "chain":
        return Mode("barrier", "driver: chain lays all waves one behind the other")
    if spec.search.in_generations:
        return Mode("barrier", "a generation begins when everyone of the one before has arrived")
    sampler, n_trials, size = spec.search.sampler_traits, spec.budget.n_trials, spec.waves.size
    if sampler.by_generations:
        return Mode("barrier", f"{sampler.name} breeds a generation from all results of the one before")
    if size is None and _is_known(spec):
        return Mode("barrier", "no result changes what comes next, so that all is one wave")
    can_refill = not why_no_refill(spec.search) and spec.slurm.driver == "planner" and spec.resources.nodes == 1
    if size is None and can_refill:
        return Mode("refill", "a job that starts takes what is best to do by then")
    is_short = n_trials is not None and size is not None and n_trials <= size * (1 + _ROUNDS_BEHIND)
    if is_short and not sampler.is_blind:
        return Mode("barrier", f"of {n_trials} trials in waves of {size} all would be planned before the first result")
    most = spec.waves.max_concurrent
    if most is not None and _waves(spec, most) == 1:
        return Mode("barrier", _undivided(most))
    why = "waves that wait behind the running one take the GPUs that it leaves"
    if most is not None and can_refill and not spec.has_one_queue:
        why += "; max_concurrent is divided among them, so that without waves.size refill would use more of it"
    return Mode("overlap", why)


def _undivided(most: int) -> str:
    if most == 1:
        return "with max_concurrent: 1 a second wave would have nothing to run on"
    return f"parts of max_concurrent: {most} are too unequal for waves that end in turn"


def trials_per_wave(spec: StudySpec, wave_size: int) -> int:
    """As asked; else all at once where no result changes what comes next, else what can run at once.

    Where a wave is a rung, it is the first one: later ones are smaller.
    """
    if spec.waves.size is not None:
        return spec.waves.size
    return wave_size if is_refill(spec) else _planned_at_once(spec, wave_size)


def _planned_at_once(spec: StudySpec, wave_size: int) -> int:
    return _first_rung(spec) or (_MANY if _is_known(spec) else wave_size)


def _first_rung(spec: StudySpec) -> int | None:
    """How many trials the first rung has, where a wave is one."""
    return requests_per_wave(SearchProblem(spec.space, spec.search, spec.objectives, spec.budget.n_trials), ())


def _is_known(spec: StudySpec) -> bool:
    """Whether no result changes what comes next."""
    budget, sampler = spec.budget, spec.search.sampler_traits
    is_known = sampler.is_blind and (sampler.lists_all or budget.n_trials is not None)
    return spec.search.pruner_traits.in_one_go and is_known and not budget.may_end_early


def waves_in_flight(spec: StudySpec, wave_size: int) -> int:
    """How many waves may be in flight at a time; 1 where the next one is planned behind the last one's end.

    With overlap as many as keep all slots busy until the oldest wave has ended, if no trial is more than twice as long
    as another: 3 where a wave has as many elements as there are slots (`wave_size`). Where `max_concurrent` binds on
    Slurm, each has a fixed part of it, so there are as few as have enough to do with theirs: 2 where a wave has as many
    elements as slots. Overlap is for what the cluster itself limits; under `max_concurrent` refill is better.
    """
    return _waves(spec, wave_size) if mode_of(spec).name == "overlap" else 1


def _waves(spec: StudySpec, wave_size: int) -> int:
    """How many are in flight with overlap."""
    most, is_slurm = spec.waves.max_concurrent, not spec.has_one_queue
    size = spec.waves.size or _planned_at_once(spec, wave_size)
    # how much runs at once the cluster alone knows; who asks for waves of some size expects that of them
    slots = max(wave_size, spec.waves.size or 0) if most is None and is_slurm else wave_size
    rounds = -(-_ROUNDS_BEHIND * slots // size)
    wanted = min(_WAVES_MOST, max(2, 1 + rounds))
    if most is None or not is_slurm or wanted * size <= most:
        return min(wanted, most or wanted)
    if spec.waves.size is None and _first_rung(spec) is not None:
        return min(2, most)  # these have many sizes: no parts are even
    fewest = max(2, rounds)
    parts = range(fewest, min(_WAVES_MOST, most, 2 * fewest - 1) + 1)
    even = (n for n in parts if most % n == 0 or most // n >= _EVEN_ENOUGH)
    # waves much smaller than max_concurrent: the more there are, the less it matters that their parts differ
    return next(even, min(wanted, most) if size < most else 1)


def trials_in_flight(spec: StudySpec, wave_size: int) -> int:
    """How many trials the waves in flight have at most together, if one has `wave_size`, or runs as many at once."""
    return _ELEMENTS_MOST if is_refill(spec) else wave_size * waves_in_flight(spec, wave_size)


def is_refill(spec: StudySpec) -> bool:
    """Whether an element of a wave takes its assignment when it starts."""
    return mode_of(spec).name == "refill"


def elements_wanted(
    spec: StudySpec, history: History, wave_size: int, proposed: int, affordable: int | None = None
) -> int:
    """How many elements a refill wave has: about what the study still needs, at least the `proposed` assignments.

    With fewer than it needs another wave follows, and an element that finds nothing to do ends at once. `affordable`
    is how many the budget pays for if each uses all of its time (None: it sets no limit).
    """
    most = _ELEMENTS_MOST if affordable is None else min(_ELEMENTS_MOST, _RUNS_PER_TIME_LIMIT * affordable)
    known = [n for n in (spec.budget.n_trials, spec.space.cardinality(_ELEMENTS_MOST)) if n is not None]
    if not known:
        return max(proposed, most)
    unfinished = sum(not trial.state.is_finished for trial in history.trials)
    new = max(0, min(known) - len(history.trials))
    may_pause = not spec.search.pruner_traits.in_one_go and spec.search.max_resource is not None
    runs = (_RUNS_WITH_RUNGS if may_pause else 1) * (new + unfinished)
    return max(proposed, min(most, max(runs, min(wave_size, new + unfinished))))


def proposed_ahead(wave_size: int) -> int:
    """How many assignments of a refill wave are kept ready where `wave_size` elements run at once."""
    return -(-wave_size // AHEAD_SHARE)
