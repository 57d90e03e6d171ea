"""Decides how a study's waves follow each other: the rules of `waves.mode`, pure functions of the spec.

barrier: a wave is planned when all trials of the previous one have ended. overlap: several waves are in flight, and the
newest wait in the queue behind the others. refill: one long array; each element takes an assignment when it starts,
from those that are proposed ahead while the array runs. auto: one of these, depending on the search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hposlurm.search import SearchProblem, requests_per_wave
from hposlurm.spec.bounds import MOST_IN_WAVE
from hposlurm.spec.refill import why_no_refill

if TYPE_CHECKING:
    from hposlurm.records.history import History
    from hposlurm.spec import StudySpec

# The waves behind the oldest one must outlast its last trial: where durations differ by 2×, that takes two rounds.
_ROUNDS_BEHIND = 2
# Each wave has its own planner job, and a plan gets older with each wave that it waits behind.
_WAVES_MOST = 8
# Waves with unequal parts of max_concurrent delay each other. Computed for trials that differ by 2×: with halves of 8
# slots more slots are busy than with one wave after the other, with halves of 7 fewer, with halves of 11 as many.
_EVEN_ENOUGH = 5
# Most sites would split a larger array into several, each with its own share of max_concurrent.
_ELEMENTS_MOST = 1000
#: The number of elements that run at once divided by this is proposed ahead: with fewer, elements would wait;
#: more would be based on older results.
AHEAD_SHARE = 8
# A trial that is promoted while it is among the better half has two runs on average.
_RUNS_WITH_RUNGS = 2
# Few trials use less than a quarter of their time limit: a budget pays for at most this many times as many runs.
_RUNS_PER_TIME_LIMIT = 4


@dataclass(frozen=True, slots=True)
class Mode:
    """The mode that a study runs in."""

    name: Literal["barrier", "overlap", "refill"]
    #: why it was chosen; "" if the study file sets it
    why: str = ""


def mode_of(spec: StudySpec) -> Mode:
    """Returns the mode that `waves.mode` means for this study."""
    if spec.waves.mode != "auto":
        return Mode(spec.waves.mode)
    if spec.slurm.driver == "chain":
        return Mode("barrier", "driver: chain submits all waves one after the other")
    if spec.search.in_generations:
        return Mode("barrier", "a generation begins when all members of the previous one have ended")
    sampler, n_trials, size = spec.search.sampler_traits, spec.budget.n_trials, spec.waves.size
    if sampler.by_generations:
        return Mode("barrier", f"{sampler.name} makes a generation from all results of the previous one")
    if size is None and _is_known(spec):
        return Mode("barrier", "no result changes what comes next, so all trials are one wave")
    can_refill = not why_no_refill(spec.search) and spec.slurm.driver == "planner" and spec.resources.nodes == 1
    if size is None and can_refill:
        return Mode("refill", "a job takes the best assignment known when it starts")
    is_short = n_trials is not None and size is not None and n_trials <= size * (1 + _ROUNDS_BEHIND)
    if is_short and not sampler.is_blind:
        return Mode("barrier", f"{n_trials} trials in waves of {size} would all be planned before the first result")
    most = spec.waves.max_concurrent
    if most is not None and _waves(spec, most) == 1:
        return Mode("barrier", _undivided(most))
    why = "waves that wait behind the running one take the GPUs that it frees"
    if most is not None and can_refill and not spec.has_one_queue:
        why += "; max_concurrent is divided among them, so refill (without waves.size) would use more of it"
    return Mode("overlap", why)


def _undivided(most: int) -> str:
    if most == 1:
        return "with max_concurrent: 1 a second wave would have nothing to run on"
    return f"parts of max_concurrent: {most} are too unequal for waves that end in turn"


def trials_per_wave(spec: StudySpec, wave_size: int) -> int:
    """Returns `waves.size` if it is set; else all trials if no result changes what comes next, else what fits at once.

    All trials are at most MOST_IN_WAVE. If a wave is a rung, returns the size of the first one: later ones are smaller.
    """
    if spec.waves.size is not None:
        return spec.waves.size
    return wave_size if is_refill(spec) else _planned_at_once(spec, wave_size)


def _planned_at_once(spec: StudySpec, wave_size: int) -> int:
    return _first_rung(spec) or (MOST_IN_WAVE if _is_known(spec) else wave_size)


def _first_rung(spec: StudySpec) -> int | None:
    """Returns how many trials the first rung has if a wave is a rung; else None."""
    return requests_per_wave(SearchProblem(spec.space, spec.search, spec.objectives, spec.budget.n_trials), ())


def _is_known(spec: StudySpec) -> bool:
    """True if no result changes what comes next."""
    budget, sampler = spec.budget, spec.search.sampler_traits
    is_known = sampler.is_blind and (sampler.lists_all or budget.n_trials is not None)
    return spec.search.pruner_traits.in_one_go and is_known and not budget.may_end_early


def waves_in_flight(spec: StudySpec, wave_size: int) -> int:
    """Returns how many waves may be in flight at a time; 1 if the next one is planned after the last one's end.

    With overlap they keep all slots busy until the oldest wave has ended, if no trial lasts more than twice as long as
    another: 3 where a wave has as many elements as there are slots (`wave_size`). Where `max_concurrent` is the limit
    on Slurm, each wave has a fixed part of it, so there are as few as keep their parts busy: 2 where a wave has as many
    elements as slots. Overlap suits studies that the cluster itself limits; under `max_concurrent` refill is better.
    """
    return _waves(spec, wave_size) if mode_of(spec).name == "overlap" else 1


def _waves(spec: StudySpec, wave_size: int) -> int:
    """Returns how many waves are in flight with overlap."""
    most, is_slurm = spec.waves.max_concurrent, not spec.has_one_queue
    size = spec.waves.size or _planned_at_once(spec, wave_size)
    # only the cluster knows how much runs at once; a given waves.size is taken as the user's estimate
    slots = max(wave_size, spec.waves.size or 0) if most is None and is_slurm else wave_size
    rounds = -(-_ROUNDS_BEHIND * slots // size)
    wanted = min(_WAVES_MOST, max(2, 1 + rounds))
    if most is None or not is_slurm or wanted * size <= most:
        return min(wanted, most or wanted)
    if spec.waves.size is None and _first_rung(spec) is not None:
        return min(2, most)  # waves that are rungs have many sizes: no division is even
    fewest = max(2, rounds)
    parts = range(fewest, min(_WAVES_MOST, most, 2 * fewest - 1) + 1)
    even = (n for n in parts if most % n == 0 or most // n >= _EVEN_ENOUGH)
    # waves much smaller than max_concurrent: the more there are, the less it matters that their parts differ
    return next(even, min(wanted, most) if size < most else 1)


def trials_in_flight(spec: StudySpec, wave_size: int) -> int:
    """Returns how many trials the waves in flight have together at most, if each has or runs at once `wave_size`."""
    return _ELEMENTS_MOST if is_refill(spec) else wave_size * waves_in_flight(spec, wave_size)


def is_refill(spec: StudySpec) -> bool:
    """True if an element of a wave takes its assignment when it starts."""
    return mode_of(spec).name == "refill"


def elements_wanted(
    spec: StudySpec, history: History, wave_size: int, proposed: int, affordable: int | None = None
) -> int:
    """Returns how many elements a refill wave has: about what the study still needs, at least `proposed`.

    If they are too few, another wave follows; an element without an assignment ends at once. `affordable` is how many
    the budget pays for if each uses all of its time (None: no limit).
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
    """Returns how many assignments of a refill wave are kept ready if `wave_size` elements run at once."""
    return -(-wave_size // AHEAD_SHARE)
