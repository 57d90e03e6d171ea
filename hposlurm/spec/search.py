"""The section `search`: which points are tried and how far each is trained; and what does not go together in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from hposlurm.errors import Problem
from hposlurm.spec.entries import Configuration, WarmStart
from hposlurm.spec.fields import Number, PositiveWhole, Section, Whole

Sampler = Literal["grid", "random", "qmc", "tpe", "cmaes", "gp", "nsga2", "nsga3"]
Pruner = Literal[
    "none",
    "asha",
    "hyperband",
    "pbt",
    "successive_halving",
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
    "bohb",
    "hyperband",
    "pbt",
    "successive_halving",
]

DEFAULT = "auto"
# An algorithm is a pair: which points, and how far each goes
PAIRS: Mapping[str, tuple[str, str]] = {
    "auto": ("auto", "auto"),
    **{name: (name, "none") for name in ("grid", "random", "qmc", "tpe", "cmaes", "gp", "nsga2", "nsga3")},
    "asha": ("random", "asha"),
    "successive_halving": ("random", "successive_halving"),
    "hyperband": ("random", "hyperband"),
    "bohb": ("tpe", "hyperband"),
    "pbt": ("random", "pbt"),
}
WITH_RUNGS = frozenset({"asha", "hyperband", "successive_halving"})


class SearchSpec(Section):
    """`algorithm` names a pair of a sampler and a pruner; `sampler` and `pruner` name the two apart in its place.

    `startup_trials` are drawn at random before tpe and gp begin. `population_size` is that of cmaes (None: at least
    4 + 3 ln d for d parameters, in whole waves), nsga2 and nsga3 (None: 50).

    Resources are steps as the training reports them. Rungs are at min_resource (1 if it is None) · reduction_factor^k
    below `max_resource`, where training ends. `brackets` is how many of Hyperband's are used, all if it is None.
    `compare_by` is how trials with several objectives are ranked at a rung.
    `enqueue` are configurations to try first, `warm_start` is where to learn from before the first trial.

    pbt trains `population_size` members to `max_resource`. Every `perturbation_interval` the worst `quantile` of them
    become copies of the best, in which each mutable parameter is drawn anew with `resample_probability`, else
    multiplied by one of `perturb_factors`.
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
        """The sampler's name and the pruner's, "none" where every trial is trained to its end."""
        if self.algorithm is not None:
            return PAIRS[self.algorithm]
        return self.sampler or "tpe", self.pruner or "none"

    @property
    def in_generations(self) -> bool:
        """Whether everyone is compared before anyone goes on, so that waves have to be waited for: pbt."""
        return self.pair[1] == "pbt"

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


def _objective_problems(spec: SearchSpec, objectives: Any) -> Iterator[Problem]:
    entries = [entry for entry in objectives if isinstance(entry, dict)] if isinstance(objectives, list | tuple) else []
    if spec.compare_by != "first" and len(entries) == 1:
        yield Problem("search.compare_by", f"{spec.compare_by} needs several objectives, there is one", "take it out")
    if spec.compare_by != "weighted":
        for index, entry in enumerate(entries):
            if "weight" in entry:
                yield Problem(f"objectives.{index}.weight", "is used with search.compare_by: weighted alone")
