"""The section `search`: which points are tried and how far each is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, model_validator
from pydantic_core import PydanticCustomError

from hposlurm.spec.algorithms import (
    DEFAULT,
    DEFAULT_PRUNER,
    DEFAULT_SAMPLER,
    PATIENCE_RULE,
    PRUNERS,
    SAMPLERS,
    PrunerTraits,
    SamplerTraits,
    algorithm_names,
    pair_of,
    pruner_names,
    sampler_names,
)
from hposlurm.spec.entries import Configuration, WarmStart
from hposlurm.spec.fields import Number, PositiveWhole, Section, Whole


def _one_of(names: Callable[[], tuple[str, ...]]) -> PlainValidator:
    """Accepts the names in the table of algorithms only, and answers others as a Literal does."""

    def check(value: Any) -> str:
        if isinstance(value, str) and value in names():
            return value
        expected = ", ".join(map(repr, names()))
        raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})

    return PlainValidator(check)


SamplerName = Annotated[str, _one_of(sampler_names)]
PrunerName = Annotated[str, _one_of(pruner_names)]
AlgorithmName = Annotated[str, _one_of(algorithm_names)]


class SearchSpec(Section):
    """`algorithm` names a pair of a sampler and a pruner; `sampler` and `pruner` name the two apart in its place.

    `startup_trials` are drawn at random before tpe and gp begin. `population_size` is that of cmaes (None: at least
    4 + 3 ln d for d parameters, in whole waves), nsga2 and nsga3 (None: 50).

    Resources are steps as the training reports them. Rungs are at min_resource (1 if it is None) · reduction_factor^k
    below `max_resource`, where training ends. `brackets` is how many of Hyperband's are used, all if it is None.
    `compare_by` is how trials with several objectives are ranked at a rung.

    For the pruners that are asked at every report: a trial must be among the best `percentile` % (25) of the completed
    ones; `warmup_steps` of it and `warmup_trials` (5) completed trials come first; `lower` and `upper` are what may be
    reported, `p_value` (0.1) is how sure wilcoxon must be. With `patience` a trial is stopped only if it has not
    improved in so many reports; without a pruner that alone stops it.

    `enqueue` are configurations to try first, `warm_start` is where to learn from before the first trial.

    pbt trains `population_size` members to `max_resource`. Every `perturbation_interval` the worst `quantile` of them
    become copies of the best, in which each mutable parameter is drawn anew with `resample_probability`, else
    multiplied by one of `perturb_factors`.
    """

    algorithm: AlgorithmName | None = None
    sampler: SamplerName | None = None
    pruner: PrunerName | None = None
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 0
    startup_trials: PositiveWhole = 10
    population_size: Annotated[Whole, Field(ge=4)] | None = None
    min_resource: PositiveWhole | None = None
    max_resource: PositiveWhole | None = None
    reduction_factor: Annotated[Whole, Field(ge=2, le=64)] = 3
    brackets: PositiveWhole | None = None
    compare_by: Literal["first", "weighted", "domination"] = "first"
    percentile: Annotated[Number, Field(gt=0, lt=100)] | None = None
    warmup_steps: Annotated[Whole, Field(ge=0)] = 0
    warmup_trials: PositiveWhole | None = None
    lower: Number | None = None
    upper: Number | None = None
    p_value: Annotated[Number, Field(gt=0, lt=1)] | None = None
    patience: PositiveWhole | None = None
    enqueue: tuple[Configuration, ...] = ()
    warm_start: tuple[WarmStart, ...] = ()
    perturbation_interval: PositiveWhole | None = None
    quantile: Annotated[Number, Field(gt=0, le=0.5)] = 0.25
    resample_probability: Annotated[Number, Field(ge=0, le=1)] = 0.25
    perturb_factors: tuple[Annotated[Number, Field(gt=0)], ...] = Field(default=(0.8, 1.2), min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _with_algorithm(cls, data: Any) -> Any:
        """A study that names nothing keeps the default of its day."""
        is_named = not isinstance(data, dict) or {"algorithm", "sampler", "pruner"} & data.keys()
        return data if is_named else {**data, "algorithm": DEFAULT}

    @property
    def pair(self) -> tuple[str, str]:
        """Returns the sampler's name and the pruner's, "none" where every trial is trained to its end."""
        if self.algorithm is not None:
            return pair_of(self.algorithm)
        return self.sampler or DEFAULT_SAMPLER, self.pruner or DEFAULT_PRUNER

    @property
    def sampler_traits(self) -> SamplerTraits:
        """Returns the row of its sampler in the table of algorithms."""
        return SAMPLERS[self.pair[0]]

    @property
    def pruner_traits(self) -> PrunerTraits:
        """Returns the row of its pruner in the table of algorithms."""
        return PRUNERS[self.pair[1]]

    @property
    def in_generations(self) -> bool:
        """True if everyone is compared before anyone goes on, so that waves have to be waited for."""
        return self.pruner_traits.in_generations

    @property
    def has_rungs(self) -> bool:
        """True if trials are compared at rungs on their way to `max_resource`."""
        return self.pruner_traits.has_rungs(self.max_resource)

    @property
    def stop_by(self) -> str | None:
        """Returns the rule of hposlurm.pruning by which trials are ended at a report; None if none is."""
        pruner = self.pruner_traits
        if pruner.at_reports:
            return pruner.name
        return None if self.patience is None else PATIENCE_RULE

    @property
    def keys_read(self) -> frozenset[str]:
        """Returns the keys that this search looks at and not every search does."""
        pruner = self.pruner_traits
        keys = {*self.sampler_traits.keys}
        keys |= set() if pruner.rungs != "never" and not self.has_rungs else {*pruner.keys}
        return frozenset(keys | ({*PRUNERS[self.stop_by].keys} if self.stop_by else set()))

    @property
    def name(self) -> str:
        """Returns the algorithm in one word for people: asha, or tpe + median where the two were named apart."""
        if self.algorithm is not None:
            return self.algorithm
        sampler, pruner = self.pair
        return sampler if pruner == DEFAULT_PRUNER else f"{sampler} + {pruner}"
