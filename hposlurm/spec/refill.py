"""Checks of waves.mode refill, on the raw data: with what each trial cannot be chosen when a job starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from hposlurm.errors import Problem
from hposlurm.spec.draft import section
from hposlurm.spec.search import SearchSpec

#: Where a wave is a rung, and is decided when everyone in it has got there.
BY_RUNGS = frozenset({"successive_halving", "hyperband"})
_BY_GENERATIONS = frozenset({"cmaes", "nsga2", "nsga3"})


def why_no_refill(search: SearchSpec) -> str:
    """Why the search cannot do without waves, as the end of a sentence; "" if it can."""
    sampler, pruner = search.pair
    if search.in_generations:
        return f"cannot compare a whole generation, which {search.name} does before the next one begins"
    if pruner in BY_RUNGS:
        return f"cannot compare a whole rung, which {search.name} does before anyone goes on"
    if sampler in _BY_GENERATIONS:
        return f"has no waves, which are the generations of {sampler}"
    return ""


def refill_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    """What does not go together with waves.mode refill in `data`; pbt is told of elsewhere."""
    waves = section(data, "waves")
    if waves.get("mode") != "refill":
        return
    if waves.get("size") is not None:
        what = "means nothing with mode refill: each job takes the next trial when it starts"
        yield Problem("waves.size", what, "take it out; waves.max_concurrent is how many run at once")
    if section(data, "slurm").get("driver") == "chain":
        what = "chain cannot be used with waves.mode refill, whose one array takes the place of many"
        yield Problem("slurm.driver", what, "planner or foreground; or waves.mode barrier")
    try:
        search = SearchSpec.model_validate(section(data, "search"))
    except ValidationError:
        return  # the model reports it
    if not search.in_generations and (why := why_no_refill(search)):
        yield Problem("waves.mode", f"refill {why}", "overlap or barrier; asha promotes without waves")
