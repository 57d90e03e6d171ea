"""What does not go together in the section `search`, and with the objectives, on the raw data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from hposlurm.errors import Problem
from hposlurm.pruning import AT_REPORTS
from hposlurm.spec.search import WITH_RUNGS, SearchSpec


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
    yield from _rule_problems(spec)
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


def _rule_problems(spec: SearchSpec) -> Iterator[Problem]:
    pruner = spec.pair[1]
    if pruner == "threshold" and spec.lower is None and spec.upper is None:
        yield Problem("search.upper", "is missing; threshold stops what is above it", "or set search.lower")
    if spec.lower is not None and spec.upper is not None and spec.lower > spec.upper:
        yield Problem("search.lower", f"must be at most upper: {spec.lower:g} > {spec.upper:g}")
    if pruner == "patient" and spec.patience is None:
        yield Problem("search.patience", "is missing; patient stops a trial that has not improved in so many reports")
    if spec.patience is not None and spec.stop_by == "patient" and not _is_in_one_go(spec):
        hint = "take it out, or name a pruner such as asha_stopping or median"
        what = f"is for trials that are trained in one go; {spec.name} decides itself how far each goes"
        yield Problem("search.patience", what, hint)
    for key, users in _USED_BY.items():
        is_given = getattr(spec, key) != SearchSpec.model_fields[key].default  # frozen specs name all defaults
        if is_given and spec.stop_by not in users:
            yield Problem(f"search.{key}", f"is for {' and '.join(users)}, not for {spec.name}", "take it out")


def _is_in_one_go(spec: SearchSpec) -> bool:
    pruner = spec.pair[1]
    return pruner in {"none", *AT_REPORTS} or (pruner == "auto" and spec.max_resource is None)


_USED_BY: Mapping[str, tuple[str, ...]] = {
    "percentile": ("percentile",),
    "lower": ("threshold",),
    "upper": ("threshold",),
    "p_value": ("wilcoxon",),
    "warmup_steps": ("median", "percentile", "wilcoxon", "threshold", "patient"),
    "warmup_trials": ("median", "percentile"),
}
_ONE_NUMBER = ("patient", "threshold", "wilcoxon")


def _objective_problems(spec: SearchSpec, objectives: Any) -> Iterator[Problem]:
    entries = [entry for entry in objectives if isinstance(entry, dict)] if isinstance(objectives, list | tuple) else []
    if spec.compare_by != "first" and len(entries) == 1:
        yield Problem("search.compare_by", f"{spec.compare_by} needs several objectives, there is one", "take it out")
    if spec.compare_by == "domination" and (spec.stop_by in _ONE_NUMBER or spec.patience is not None):
        by = spec.stop_by if spec.stop_by in _ONE_NUMBER else "patience"
        what = f"{by} looks at one number per report, which domination does not give"
        yield Problem("search.compare_by", what, "use first or weighted")
    if spec.compare_by == "weighted" and spec.stop_by == "threshold":
        yield Problem("search.compare_by", "threshold looks at the first objective alone", "take it out")
    if spec.compare_by != "weighted":
        for index, entry in enumerate(entries):
            if "weight" in entry:
                yield Problem(f"objectives.{index}.weight", "is used with search.compare_by: weighted alone")
