"""Tries the section `gpu_memory` out: which configurations of a study fit the card, and does the first trial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hposlurm.errors import Problem
from hposlurm.gpu_memory import Estimate
from hposlurm.space import SearchSpace
from hposlurm.spec.memory_limit import MemoryLimit, MemoryModel, MemoryModelError, memory_model
from hposlurm.spec.model import StudySpec
from hposlurm.trial import Params


@dataclass(frozen=True, slots=True)
class Fit:
    """The memory that a sample of configurations needs."""

    model: MemoryModel
    #: the configurations with the least and with the most memory, and their estimates
    smallest: tuple[Params, Estimate]
    largest: tuple[Params, Estimate]
    #: how many of how many fit the card; all where its memory is not known
    fitting: int
    drawn: int


def fit_of(spec: StudySpec, drawn: Sequence[Params]) -> Fit | None:
    """Returns what the configurations in `drawn` need; None without the section `gpu_memory`.

    Raises MemoryModelError for a key of the section that means nothing.
    """
    model = memory_model(spec)
    if model is None or not drawn:
        return None
    facts = spec.resources.facts
    estimates = [(params, model.estimate({**facts, **params})) for params in drawn]
    card = model.card_gb
    return Fit(
        model,
        min(estimates, key=lambda each: each[1].gb),
        max(estimates, key=lambda each: each[1].gb),
        sum(card is None or each.gb * model.factor <= card for _, each in estimates),
        len(estimates),
    )


def memory_problems(spec: StudySpec, space: SearchSpace, drawn: Sequence[Params]) -> Iterator[Problem]:
    """Yields a problem for a key that means nothing, if no configuration fits, and if the defaults do not."""
    try:
        found = fit_of(spec, drawn)
    except MemoryModelError as error:
        yield Problem(f"gpu_memory.{error.key}", str(error))
        return
    if found is None:
        return
    card = found.model.card_gb
    if card is not None and not found.fitting:
        params, estimate = found.smallest
        hint = "fewer tokens at a time, gradient_checkpointing, a higher zero_stage or LoRA need less"
        needs = needs_text(params, found.model, estimate)
        yield Problem("gpu_memory", f"no configuration fits {card:g} GB: {needs}", hint)
        return
    defaults = space.defaults()
    limits = [limit for limit in space.constraints if isinstance(limit, MemoryLimit)]
    values = {**space.facts, **defaults}
    for limit in limits:
        if limit.names <= values.keys() and not space.keeps(limit, defaults):
            needs = needs_text(defaults, limit.model, limit.model.estimate(values))
            what = f"the default values, which form the first trial, do not fit {card:g} GB"
            yield Problem("gpu_memory", f"{what}: {needs}")


def needs_text(params: Params, model: MemoryModel, estimate: Estimate) -> str:
    """Returns what a configuration needs, by the parameters that decide it, and what the most is for."""
    names = sorted({name for expression in model.varying.values() for name in expression.names} & params.keys())
    what = " ".join(f"{name}={params[name]}" for name in names) or "every configuration"
    largest = estimate.largest
    return f"{what} needs {estimate.gb * model.factor:.1f} GB ({largest} {getattr(estimate, largest) / 2**30:.1f})"
