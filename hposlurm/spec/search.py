"""The section `search`: how points are chosen, and how far each is trained."""

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

#: As in Optuna.
MOST_STARTUP = 10
_LEAST_STARTUP = 3  # with fewer TPE has no bad trials to compare good ones with
_STARTUP_SHARE = 4  # at most a quarter of the trials, as SMAC does: 10 of 12 at random would be random search


def default_startup(n_trials: int | None) -> int:
    """Returns how many trials are random before a model proposes, in a study with a budget of `n_trials`."""
    if n_trials is None:
        return MOST_STARTUP
    return min(MOST_STARTUP, max(_LEAST_STARTUP, n_trials // _STARTUP_SHARE))


def _one_of(names: Callable[[], tuple[str, ...]]) -> PlainValidator:
    """Returns a validator that accepts only `names()`; its error is that of a Literal."""

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
    """The choice of points, and of how far each is trained. Resources are steps, as the training reports them."""

    #: Names a pair of a sampler and a pruner.
    algorithm: AlgorithmName | None = None
    #: `sampler` and `pruner` name the two separately, instead of `algorithm`.
    sampler: SamplerName | None = None
    pruner: PrunerName | None = None
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 0
    #: The number of random trials before a model proposes; if a study file does not set it, `default_startup`.
    startup_trials: PositiveWhole = MOST_STARTUP
    #: Of cmaes (None: at least 4 + 3 ln d for d parameters, in whole waves), nsga2 and nsga3 (None: 50), and pbt, which
    #: trains this number of members.
    population_size: Annotated[Whole, Field(ge=4)] | None = None
    #: Rungs are at min_resource · reduction_factor^k below max_resource; None: 1.
    min_resource: PositiveWhole | None = None
    #: The step at which training ends.
    max_resource: PositiveWhole | None = None
    reduction_factor: Annotated[Whole, Field(ge=2, le=64)] = 3
    #: The number of Hyperband's brackets; None: all.
    brackets: PositiveWhole | None = None
    #: How trials with several objectives are ranked at a rung.
    compare_by: Literal["first", "weighted", "domination"] = "first"
    # ---- of stopping rules at reports
    #: A trial must be among the best `percentile` % of the completed trials; None: the pruner's default.
    percentile: Annotated[Number, Field(gt=0, lt=100)] | None = None
    #: The steps of a trial before the rule applies.
    warmup_steps: Annotated[Whole, Field(ge=0)] = 0
    #: The number of completed trials before the rule applies; None: 5.
    warmup_trials: PositiveWhole | None = None
    #: Reported values below `lower` or above `upper` stop a trial.
    lower: Number | None = None
    upper: Number | None = None
    #: The significance level of wilcoxon; None: 0.1.
    p_value: Annotated[Number, Field(gt=0, lt=1)] | None = None
    #: A trial is stopped only if it has not improved in this number of reports. Without a pruner, this is the only
    #: rule.
    patience: PositiveWhole | None = None
    # ---- of the first trials
    #: Configurations to try first.
    enqueue: tuple[Configuration, ...] = ()
    #: Studies and tables to learn from before the first trial.
    warm_start: tuple[WarmStart, ...] = ()
    # ---- of pbt
    #: The number of steps after which the worst members become copies of the best.
    perturbation_interval: PositiveWhole | None = None
    #: The share of the members that become copies.
    quantile: Annotated[Number, Field(gt=0, le=0.5)] = 0.25
    #: The probability that a mutable parameter of a copy is drawn again; else it is multiplied by a perturb factor.
    resample_probability: Annotated[Number, Field(ge=0, le=1)] = 0.25
    perturb_factors: tuple[Annotated[Number, Field(gt=0)], ...] = Field(default=(0.8, 1.2), min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _with_algorithm(cls, data: Any) -> Any:
        """Names the default algorithm if the file names none: a frozen spec keeps the default of its version."""
        is_named = not isinstance(data, dict) or {"algorithm", "sampler", "pruner"} & data.keys()
        return data if is_named else {**data, "algorithm": DEFAULT}

    @property
    def pair(self) -> tuple[str, str]:
        """Returns the names of the sampler and of the pruner ("none" if each trial is trained to its end)."""
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
        """True if all trials of a wave are compared before any of them continues."""
        return self.pruner_traits.in_generations

    @property
    def has_rungs(self) -> bool:
        """True if trials are compared at rungs on their way to `max_resource`."""
        return self.pruner_traits.has_rungs(self.max_resource)

    @property
    def stop_by(self) -> str | None:
        """Returns the rule of hposlurm.pruning that stops trials at a report; None if there is none."""
        pruner = self.pruner_traits
        if pruner.at_reports:
            return pruner.name
        return None if self.patience is None else PATIENCE_RULE

    @property
    def keys_read(self) -> frozenset[str]:
        """Returns the keys that this search reads and some others do not."""
        pruner = self.pruner_traits
        keys = {*self.sampler_traits.keys}
        keys |= set() if pruner.rungs != "never" and not self.has_rungs else {*pruner.keys}
        return frozenset(keys | ({*PRUNERS[self.stop_by].keys} if self.stop_by else set()))

    @property
    def name(self) -> str:
        """Returns the algorithm as text for people: asha, or tpe + median if the two were named separately."""
        if self.algorithm is not None:
            return self.algorithm
        sampler, pruner = self.pair
        return sampler if pruner == DEFAULT_PRUNER else f"{sampler} + {pruner}"
