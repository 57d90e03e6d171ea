"""Checks waves.mode refill, on the raw data: what prevents that a trial is chosen when its job starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hposlurm.errors import Problem
from hposlurm.spec.draft import Draft, section
from hposlurm.spec.search import SearchSpec


def why_no_refill(search: SearchSpec) -> str:
    """Returns why the search needs waves, as the end of a sentence; "" if it does not."""
    if search.in_generations:
        return f"cannot compare a whole generation, which {search.name} does before the next one begins"
    if search.pruner_traits.by_rungs:
        return f"cannot compare a whole rung, which {search.name} does before any trial continues"
    if search.sampler_traits.by_generations:
        return f"has no waves, which {search.pair[0]} needs as its generations"
    return ""


def refill_problems(data: Mapping[str, Any], draft: Draft) -> Iterator[Problem]:
    """Yields what contradicts waves.mode refill in `data`. `population_problems` reports pbt."""
    waves = section(data, "waves")
    if waves.get("mode") != "refill":
        return
    if waves.get("size") is not None:
        what = "has no meaning with mode refill: each job takes the next trial when it starts"
        yield Problem("waves.size", what, "remove it; waves.max_concurrent limits how many run at once")
    if section(data, "slurm").get("driver") == "chain":
        what = "chain cannot be used with waves.mode refill, which has only one array"
        yield Problem("slurm.driver", what, "planner or foreground; or waves.mode barrier")
    search = draft.search.whole
    if search is not None and not search.in_generations and (why := why_no_refill(search)):
        yield Problem("waves.mode", f"refill {why}", "overlap or barrier; asha promotes without waves")
