"""The section `search`: which points are tried and how far each is trained; and what does not go together in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from hposlurm.errors import Problem
from hposlurm.spec.fields import Number, PositiveWhole, Section, Whole

Sampler = Literal["grid", "random", "qmc", "tpe", "cmaes", "gp", "nsga2", "nsga3"]
Pruner = Literal[
    "none",
    "asha",
    "asha_stopping",
    "hyperband",
    "median",
    "patient",
    "percentile",
    "successive_halving",
    "threshold",
    "wilcoxon",
]
Algorithm = Literal[
    "auto",
    "grid",
    "random",
    "qmc",
    "tpe",
    "cmaes",
    "gp",
    "nsga2",
    "nsga3",
    "asha",
    "asha_stopping",
    "bohb",
    "hyperband",
    "median",
    "patient",
    "percentile",
    "successive_halving",
    "threshold",
    "wilcoxon",
]

DEFAULT = "auto"
# An algorithm is a pair: which points, and how far each goes
PAIRS: Mapping[str, tuple[str, str]] = {
    "auto": ("auto", "auto"),
    **{name: (name, "none") for name in ("grid", "random", "qmc", "tpe", "cmaes", "gp", "nsga2", "nsga3")},
    "asha": ("random", "asha"),
    "asha_stopping": ("random", "asha_stopping"),
    "successive_halving": ("random", "successive_halving"),
    "hyperband": ("random", "hyperband"),
    "bohb": ("tpe", "hyperband"),
    **{rule: ("tpe", rule) for rule in ("median", "patient", "percentile", "threshold", "wilcoxon")},
}
WITH_RUNGS = frozenset({"asha", "asha_stopping", "hyperband", "successive_halving"})
# Rules that look at every report instead of at rungs
AT_REPORTS = frozenset({"median", "patient", "percentile", "threshold", "wilcoxon"})


class SearchSpec(Section):
    """`algorithm` names a pair of a sampler and a pruner; `sampler` and `pruner` name the two apart in its place.

    `startup_trials` are drawn at random before tpe and gp begin. `population_size` is that of cmaes (None: at least
    4 + 3 ln d for d parameters, in whole waves), nsga2 and nsga3 (None: 50).

    Resources are steps as the training reports them. Rungs are at min_resource (1 if it is None) · reduction_factor^k
    below `max_resource`, where training ends. `brackets` is how many of Hyperband's are used, all if it is None.
    `compare_by` is how trials with several objectives are ranked at a rung.

    For the rules that look at every report: `percentile` (25) is the share of completed trials that a trial must not be
    worse than, `warmup_steps` and `warmup_trials` (5) how many steps of a trial and how many completed trials come
    first, `lower` and `upper` what may be reported, `p_value` (0.1) how sure it must be that a trial is worse than the
    best one. With `patience` a
    trial is stopped only if it has not improved in so many reports; without another rule that alone stops it.
    """

    algorithm: Algorithm | None = None
    sampler: Sampler | None = None
    pruner: Pruner | None = None
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

    @model_validator(mode="before")
    @classmethod
    def _with_algorithm(cls, data: Any) -> Any:
        """A study that names nothing keeps the default of its day."""
        is_named = not isinstance(data, dict) or {"algorithm", "sampler", "pruner"} & data.keys()
        return data if is_named else {**data, "algorithm": DEFAULT}

    @property
    def pair(self) -> tuple[str, str]:
        """The sampler's name and the pruner's, "none" where every trial is trained to its end."""
        if self.algorithm is not None:
            return PAIRS[self.algorithm]
        return self.sampler or "tpe", self.pruner or "none"

    @property
    def name(self) -> str:
        """The algorithm in one word for people: asha, or tpe + median where the two were named apart."""
        if self.algorithm is not None:
            return self.algorithm
        sampler, pruner = self.pair
        return sampler if pruner == "none" else f"{sampler} + {pruner}"


def search_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    """What does not go together in `search`, and with the objectives."""
    search = data.get("search", {})
    if not isinstance(search, dict):
        return  # the model reports it
    for key in ("sampler", "pruner"):
        if key in search and "algorithm" in search:
            yield Problem(
                f"search.{key}", "cannot stand beside search.algorithm, which names both", "take one of the two out"
            )
    try:
        spec = SearchSpec.model_validate({key: search[key] for key in search if key in SearchSpec.model_fields})
    except ValidationError:
        return  # the model reports it
    yield from _resource_problems(spec)
    yield from _rule_problems(spec, search)
    yield from _objective_problems(spec, data.get("objectives"))


def _resource_problems(spec: SearchSpec) -> Iterator[Problem]:
    least, most = spec.min_resource or 1, spec.max_resource
    pruner = spec.pair[1]
    if most is None:
        if pruner in WITH_RUNGS:
            what = f"is missing; {spec.name} compares trials on their way to it"
            yield Problem("search.max_resource", what, "the step of a whole training's last report: its epochs, say")
        elif spec.min_resource is not None:
            yield Problem("search.min_resource", "means nothing without search.max_resource", "set that as well")
    elif (pruner in WITH_RUNGS or spec.min_resource is not None) and least * 3 >= most * 2:
        what = f"{least} is too close to max_resource {most}: there is no rung between them"
        yield Problem(
            "search.min_resource", what, f"at most {(most * 2 - 1) // 3}" if most > 1 else "raise max_resource"
        )
    if spec.brackets is not None and pruner != "hyperband":
        yield Problem("search.brackets", f"is for hyperband and bohb, not for {spec.name}", "take it out")


def _rule_problems(spec: SearchSpec, given: Mapping[str, Any]) -> Iterator[Problem]:
    pruner = spec.pair[1]
    if pruner == "threshold" and spec.lower is None and spec.upper is None:
        yield Problem("search.upper", "is missing; threshold stops what is above it", "or set search.lower")
    if spec.lower is not None and spec.upper is not None and spec.lower > spec.upper:
        yield Problem("search.lower", f"must be at most upper: {spec.lower:g} > {spec.upper:g}")
    if pruner == "patient" and spec.patience is None:
        yield Problem("search.patience", "is missing; patient stops a trial that has not improved in so many reports")
    for key, users in _USED_BY.items():
        if key in given and pruner not in users:
            yield Problem(f"search.{key}", f"is for {' and '.join(users)}, not for {spec.name}", "take it out")


_USED_BY: Mapping[str, tuple[str, ...]] = {
    "percentile": ("percentile",),
    "lower": ("threshold",),
    "upper": ("threshold",),
    "p_value": ("wilcoxon",),
    "warmup_trials": ("median", "percentile"),
}


def _objective_problems(spec: SearchSpec, objectives: Any) -> Iterator[Problem]:
    entries = [entry for entry in objectives if isinstance(entry, dict)] if isinstance(objectives, list | tuple) else []
    if spec.compare_by != "first" and len(entries) == 1:
        yield Problem("search.compare_by", f"{spec.compare_by} needs several objectives, there is one", "take it out")
    if spec.compare_by == "domination" and spec.pair[1] in ("patient", "threshold", "wilcoxon"):
        what = f"{spec.pair[1]} looks at one number per report, which domination does not give"
        yield Problem("search.compare_by", what, "use first or weighted")
    if spec.compare_by != "weighted":
        for index, entry in enumerate(entries):
            if "weight" in entry:
                yield Problem(f"objectives.{index}.weight", "is used with search.compare_by: weighted alone")
