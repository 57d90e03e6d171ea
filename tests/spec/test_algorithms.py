"""The one table of algorithms: it is complete, and whatever runs them knows the same names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hposlurm
from hposlurm.errors import SpecError
from hposlurm.pruning.rules import RULES
from hposlurm.search.requests import SCHEDULES
from hposlurm.search.sampler import BUILDERS
from hposlurm.spec import SearchSpec
from hposlurm.spec.algorithms import (
    CHEAPEST,
    DEFAULT,
    DEFAULT_PRUNER,
    DEFAULT_SAMPLER,
    PATIENCE_RULE,
    PRUNERS,
    SAMPLERS,
    algorithm_names,
    pair_of,
    pruner_names,
    sampler_names,
    users,
)
from tests.simulation.studies import study

PACKAGE = Path(hposlurm.__file__).parent
# Names that mean something else as well: a mode, a place in the text, a key of `search`
AMBIGUOUS = {"auto", "none", "random", "percentile", "threshold"}
# What keeps names of its own: the two registries, a sampler's own file, and auto, which proposes by two of them
OWNERS = ("spec/algorithms.py", "search/sampler.py", "search/requests.py", "search/auto/")
OWN = {
    "search/cma.py": {"cmaes"},
    "search/genetic.py": {"nsga2", "nsga3"},
    "search/grid.py": {"grid"},
    "spec/foreign.py": {"tpe", "grid", "median", "pbt"},  # what other tools' names for them are answered with
}


@pytest.mark.parametrize("name", sampler_names())
def test_each_sampler_has_a_builder_and_says_where_its_points_come_from(name: str) -> None:
    assert name in BUILDERS
    assert SAMPLERS[name].origin


def test_no_builder_is_without_a_row() -> None:
    assert {*BUILDERS} == {*sampler_names()}


def test_each_pruner_has_a_rule_or_a_schedule() -> None:
    assert {row.name for row in PRUNERS.values() if row.at_reports} == {*RULES}
    assert {row.name for row in PRUNERS.values() if not row.in_one_go} == {*SCHEDULES}


@pytest.mark.parametrize("name", algorithm_names())
def test_each_algorithm_is_a_pair_and_has_a_row_in_the_readme(name: str) -> None:
    sampler, pruner = pair_of(name)
    assert sampler in SAMPLERS and pruner in PRUNERS
    assert SearchSpec(algorithm=name, max_resource=9).pair == (sampler, pruner)
    assert name in documented()


def documented() -> set[str]:
    """The names in the first column of the README's table of algorithms."""
    lines = (PACKAGE.parent / "README.md").read_text("utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| `algorithm` |"))
    rows = lines[start + 2 : lines.index("", start)]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_names_that_are_special_are_in_the_table() -> None:
    assert {DEFAULT_SAMPLER, CHEAPEST} <= {*sampler_names()} and SAMPLERS[CHEAPEST].is_cheap
    assert {DEFAULT_PRUNER, PATIENCE_RULE} <= {*pruner_names()}
    assert DEFAULT in algorithm_names()
    assert {row.played_as for row in PRUNERS.values() if row.played_as} <= {*PRUNERS}


@pytest.mark.parametrize("row", [*SAMPLERS.values(), *PRUNERS.values()])
def test_a_row_reads_keys_of_the_study_file_only(row: Any) -> None:
    assert {*row.keys} <= {*SearchSpec.model_fields}
    assert all(row.name in users(key) for key in row.keys)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (
            "algorithm",
            "tbe",
            "'tbe' is not allowed (did you mean tpe? allowed: auto, grid, random, qmc, tpe, cmaes, gp, nsga2, nsga3, "
            "asha, asha_stopping, bohb, hyperband, median, patient, pbt, percentile, successive_halving, threshold, "
            "wilcoxon)",
        ),
        ("sampler", "auto", "'auto' is not allowed (allowed: grid, random, qmc, tpe, cmaes, gp, nsga2, nsga3)"),
        (
            "pruner",
            ["asha"],
            "a list is not allowed (did you mean asha? allowed: none, asha, asha_stopping, hyperband, median, "
            "patient, pbt, percentile, successive_halving, threshold, wilcoxon)",
        ),
    ],
)
def test_a_name_that_is_not_in_it_is_answered_with_those_that_are(key: str, value: Any, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        study(search={"algorithm": None, key: value})
    assert f"search.{key}: {told}" in str(caught.value)


def test_no_other_module_names_an_algorithm() -> None:
    assert list(strays()) == []


def strays() -> Iterator[str]:
    names = {*SAMPLERS, *PRUNERS, *algorithm_names()} - AMBIGUOUS
    for room in ("search", "decisions", "spec", "report", "cli"):
        for file in sorted((PACKAGE / room).rglob("*.py")):
            place = file.relative_to(PACKAGE).as_posix()
            found = [n for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, ast.Constant)]
            for constant in found if not place.startswith(OWNERS) else ():
                if constant.value in names - OWN.get(place, set()):
                    yield f"{place}:{constant.lineno}: {constant.value}"
