"""Checks the keys of `search` against each other and against the objectives, on the raw data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hposlurm.errors import Problem
from hposlurm.spec.algorithms import PAIRS, PATIENCE_RULE, PRUNERS, pair_of, users
from hposlurm.spec.draft import Draft, section
from hposlurm.spec.search import SearchSpec


def search_problems(data: Mapping[str, Any], draft: Draft) -> Iterator[Problem]:
    """Yields contradictions in `search`, and between `search` and the objectives."""
    search = section(data, "search")
    for key in ("sampler", "pruner"):
        if key in search and "algorithm" in search:
            yield Problem(
                f"search.{key}",
                "cannot be used together with search.algorithm, which names both",
                "remove one of the two",
            )
    spec = draft.search.known
    if spec is None:
        return
    yield from _resource_problems(spec)
    yield from _rule_problems(spec)
    yield from _objective_problems(spec, data.get("objectives"))


def _resource_problems(spec: SearchSpec) -> Iterator[Problem]:
    least, most = spec.min_resource or 1, spec.max_resource
    needs_rungs = spec.pruner_traits.rungs == "always"
    if most is None:
        if needs_rungs:
            what = f"is missing; {spec.name} compares trials on their way to it"
            yield Problem(
                "search.max_resource",
                what,
                "the step of the last report of a whole training, such as its number of epochs",
            )
        elif spec.min_resource is not None:
            yield Problem("search.min_resource", "has no meaning without search.max_resource", "set both")
    elif (needs_rungs or spec.min_resource is not None) and least * 3 >= most * 2:
        what = f"{least} is too close to max_resource {most}: there is no rung between them"
        yield Problem(
            "search.min_resource", what, f"at most {(most * 2 - 1) // 3}" if most > 1 else "raise max_resource"
        )
    if spec.brackets is not None and "brackets" not in spec.keys_read:
        what = f"is for {' and '.join(_algorithms('brackets'))}, not for {spec.name}"
        yield Problem("search.brackets", what, "remove it")


def _algorithms(key: str) -> list[str]:
    """Returns the names of the algorithms whose pruner reads a key of `search`."""
    pruners = [name for name in users(key) if name in PRUNERS]
    return pruners + [name for name in PAIRS if pair_of(name)[1] in pruners]


def missing_keys(spec: SearchSpec) -> Iterator[Problem]:
    """Yields a problem for each missing key that the pruner requires."""
    for need in spec.pruner_traits.needs:
        if all(getattr(spec, key) is None for key in (need.key, need.other) if key):
            yield Problem(f"search.{need.key}", f"is missing; {need.why}", need.hint)


def _rule_problems(spec: SearchSpec) -> Iterator[Problem]:
    if spec.lower is not None and spec.upper is not None and spec.lower > spec.upper:
        yield Problem("search.lower", f"must be at most upper: {spec.lower:g} > {spec.upper:g}")
    if not spec.in_generations:
        yield from missing_keys(spec)
    if spec.patience is not None and spec.stop_by == PATIENCE_RULE and not _is_in_one_go(spec):
        hint = "remove it, or name a pruner such as asha_stopping or median"
        what = f"is for trials that are trained in one go; {spec.name} decides itself how far each is trained"
        yield Problem("search.patience", what, hint)
    for key in _OF_RULES:
        is_given = getattr(spec, key) != SearchSpec.model_fields[key].default  # frozen specs name all defaults
        if is_given and key not in spec.keys_read:
            yield Problem(f"search.{key}", f"is for {' and '.join(users(key))}, not for {spec.name}", "remove it")


def _is_in_one_go(spec: SearchSpec) -> bool:
    pruner = spec.pruner_traits
    return pruner.in_one_go or (pruner.rungs != "never" and not spec.has_rungs)


# The keys of single stopping rules; an error with any other rule
_OF_RULES = ("percentile", "lower", "upper", "p_value", "warmup_steps", "warmup_trials")


def _objective_problems(spec: SearchSpec, objectives: Any) -> Iterator[Problem]:
    entries = [entry for entry in objectives if isinstance(entry, dict)] if isinstance(objectives, list | tuple) else []
    if spec.compare_by != "first" and len(entries) == 1:
        yield Problem(
            "search.compare_by", f"{spec.compare_by} needs several objectives; there is only one", "remove it"
        )
    rule = None if spec.stop_by is None else PRUNERS[spec.stop_by]
    looks_at_one = rule is not None and rule.one_number
    if spec.compare_by == "domination" and (looks_at_one or spec.patience is not None):
        by = spec.stop_by if looks_at_one else "patience"
        what = f"{by} needs one number per report, which domination does not provide"
        yield Problem("search.compare_by", what, "use first or weighted")
    if spec.compare_by == "weighted" and rule is not None and rule.first_objective:
        yield Problem("search.compare_by", f"{rule.name} uses only the first objective", "remove it")
    if spec.compare_by != "weighted":
        for index, entry in enumerate(entries):
            if "weight" in entry:
                yield Problem(f"objectives.{index}.weight", "is used only with search.compare_by: weighted")
