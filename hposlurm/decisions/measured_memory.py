"""Corrects the estimated GPU memory by the peaks that trials measured. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING

from hposlurm.records.retries import ended_by
from hposlurm.trial import Cause, Trial

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# Fewer measurements say little; of more the newest are enough
_LEAST, _MOST = 3, 50
# A peak that is further from the estimate measures something else (two processes on a card, a script's own cache)
_BOUNDS = (0.5, 2.0)
_STEP = 0.05  # finer corrections would change the space at every wave
_CONTEXT_GB = 0.5  # CUDA's own memory, which PyTorch does not measure


def measured_factor(spec: StudySpec, trials: Iterable[Trial]) -> float:
    """Returns real memory by estimated memory: the median over the newest finished trials, 1.0 with fewer than three.

    A trial that ran out of the GPU's memory counts as one that needed all of the card at least. A sampler that lists
    all points must not see another list, so it goes on with the estimate.
    """
    if spec.gpu_memory is None or spec.search.sampler_traits.lists_all:
        return 1.0
    ratios = list(islice(_ratios(spec, trials), _MOST))
    if len(ratios) < _LEAST:
        return 1.0
    low, high = _BOUNDS
    return round(round(min(high, max(low, median(ratios))) / _STEP) * _STEP, 2)


def _ratios(spec: StudySpec, trials: Iterable[Trial]) -> Iterator[float]:
    """Yields what each finished trial says, the newest first."""
    from hposlurm.spec.memory_limit import MemoryModelError, memory_model

    try:
        model = memory_model(spec)
    except MemoryModelError:  # of a spec that another version checked
        return
    if model is None:
        return
    facts = spec.resources.facts
    for trial in reversed([*trials]):
        if not trial.state.is_finished:
            continue
        is_beyond = any(ended_by(attempt, Cause.OUT_OF_GPU_MEMORY) for attempt in trial.attempts)
        measured = None if trial.peak_gpu_gb is None else trial.peak_gpu_gb + _CONTEXT_GB
        if is_beyond and model.card_gb is not None:
            measured = max(model.card_gb, measured or 0.0)
        if measured is not None:
            estimated = model.estimate({**facts, **trial.params}).gb
            yield max(1.0, measured / estimated) if is_beyond else measured / estimated
