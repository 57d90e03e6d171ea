"""Notices on trials with the same parameters, and on the defaults."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from hposlurm.records.values import counted_value
from hposlurm.report.notices.notice import Evidence, Notice
from hposlurm.report.numbers import counted, shown
from hposlurm.trial import Trial

_LEAST_OTHERS = 10
_LEAST_DUPLICATES = 2


def repeat_notices(found: Evidence) -> Iterator[Notice]:
    """Yields the notices on repeated configurations and on the default one."""
    if found.spec.search.in_generations:
        return  # copies of a population's members go on from each other
    groups = _alike(found.complete)
    yield from _noise(found, groups)
    yield from _duplicates(found, groups)
    yield from _default(found)


def _alike(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Returns the trials that have another one with the same parameters, by their parameters."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.signature, []).append(trial)
    return [group for group in groups.values() if len(group) > 1]


def _noise(found: Evidence, groups: Sequence[Sequence[Trial]]) -> Iterator[Notice]:
    """Yields a notice if repeats of one configuration vary more than the two best configurations differ."""
    squares, freedom = 0.0, 0
    for group in groups:
        values = [found.loss(trial) for trial in group]
        mean = sum(values) / len(values)
        squares += sum((value - mean) ** 2 for value in values)
        freedom += len(values) - 1
    best = _means(found)
    if not freedom or len(best) < 2:
        return
    spread, gap = math.sqrt(squares / freedom), best[1][0] - best[0][0]
    if spread <= gap:
        return
    close = [trials for mean, trials in best if mean - best[0][0] < spread]
    yield Notice(
        "noise",
        f"repeats of one configuration vary by {shown(spread)} (standard deviation), and the best {len(close)} "
        f"configurations differ by less",
        "train the best few again with other seeds (trial.seed: trial, search.enqueue) before one is chosen",
        tuple(trial.number for trials in close for trial in trials),
    )


def _means(found: Evidence) -> list[tuple[float, list[Trial]]]:
    """Returns the mean loss of each configuration with its trials, the best first."""
    by_signature: dict[str, list[Trial]] = {}
    for trial in found.complete:
        by_signature.setdefault(trial.signature, []).append(trial)
    means = [(sum(map(found.loss, trials)) / len(trials), trials) for trials in by_signature.values()]
    return sorted(means, key=lambda pair: pair[0])


def _duplicates(found: Evidence, groups: Sequence[Sequence[Trial]]) -> Iterator[Notice]:
    """Yields a notice if configurations were trained again with the same seed."""
    if found.spec.command_seed is None:
        return  # each trial has a seed of its own: these are repeats, which somebody wanted
    again = [trial for group in groups for trial in sorted(group, key=lambda t: t.number)[1:]]
    if len(again) < _LEAST_DUPLICATES:
        return
    hours = sum(trial.gpu_hours for trial in again)
    cost = f", for {shown(hours)} GPU hours" if hours else ""
    yield Notice(
        "duplicates",
        f"{counted(len(again), 'trial')} trained a configuration again that had been trained with the same seed{cost}",
        "widen the space, lower budget.n_trials, or give repeats a seed of their own (trial.seed: trial)",
        tuple(sorted(trial.number for trial in again)),
    )


def _default(found: Evidence) -> Iterator[Notice]:
    """Yields a notice if the default configuration is the best one."""
    first = next((trial for trial in found.complete if trial.attrs.get("origin") == "default"), None)
    if first is None or len(found.complete) <= _LEAST_OTHERS or len(found.spec.objectives) > 1:
        return
    if found.loss(first) > found.loss(found.complete[0]):
        return
    objective = found.spec.objectives[0]
    counts = counted_value(first.attempts, objective.metric, objective.rule)
    at = f" ({objective.metric} {shown(counts.value)})" if counts else ""
    yield Notice(
        "default_is_best",
        f"none of {len(found.complete) - 1} other completed trials is better than the defaults{at}",
        "keep the defaults, search around them in a narrower space, or spend more trials",
        (first.number,),
    )
