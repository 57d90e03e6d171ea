"""Enqueued configurations come first, once each, and their open parameters are filled in."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hposlurm.search import Observation, suggest
from hposlurm.search.points import identity
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace
from hposlurm.space.expressions import parse
from hposlurm.trial import Params, TrialState
from tests.search.studies import LOSS, TINY_GRID, distinct

SPACE = SearchSpace(
    (
        FloatParameter("lr", 1e-6, 1e-2, log=True),
        CategoricalParameter("optimizer", ("adamw", "sgd"), default="adamw"),
        FloatParameter("momentum", 0.5, 0.9, condition=parse("optimizer == 'sgd'")),
        IntParameter("bs", 1, 8, default=4),
    ),
    (parse("not (optimizer == 'sgd' and bs > 4)"),),
)


def run(space: SearchSpace, algorithm: str, queue: Sequence[Params], waves: int, size: int) -> list[Observation]:
    history: list[Observation] = []
    for _ in range(waves):
        for s in suggest(space, algorithm, LOSS, history, size, 7, 5, enqueue=queue):
            number = len(history)
            history.append(Observation(number, s.params, TrialState.COMPLETE, (float(number),), attrs=s.attrs))
    return history


QUEUE = [{"lr": 1e-4, "bs": 2}, {"momentum": 0.7}, {"optimizer": "sgd", "bs": 1, "momentum": 0.5, "lr": 1e-5}]


@pytest.mark.parametrize("algorithm", ["random", "tpe", "qmc", "nsga2"])
@pytest.mark.parametrize("size", [1, 2, 8])
def test_the_queue_comes_first_in_order_whatever_the_waves(algorithm: str, size: int) -> None:
    history = run(SPACE, algorithm, QUEUE, 8 // size, size)
    assert [o.attrs["origin"] for o in history[:4]] == ["enqueue"] * 3 + ["default"]
    for observation, entry in zip(history, QUEUE, strict=False):
        assert entry.items() <= dict(observation.params).items()
        assert SPACE.contains(observation.params) and SPACE.is_feasible(observation.params)
    assert history[0].params["optimizer"] == "adamw"  # the default, as it was left open
    assert history[1].params["optimizer"] == "sgd"  # not the default, with which momentum would be inactive
    assert distinct([o.params for o in history]) == 8


def test_a_grid_runs_the_queue_first_and_every_point_once() -> None:
    history = run(TINY_GRID, "grid", [{"bs": 2, "wd": 0.01}, {"lr": 2e-4, "bs": 1, "wd": 0.0}], 5, 3)
    assert (history[0].params["bs"], history[0].params["wd"]) == (2, 0.01)
    assert history[1].params == {"lr": 2e-4, "bs": 1, "wd": 0.0}
    assert len(history) == 12 == distinct([o.params for o in history])


def test_an_entry_that_was_tried_already_is_skipped() -> None:
    entry = {"lr": 1e-4, "bs": 2, "optimizer": "adamw"}
    tried = [Observation(0, entry, TrialState.FAIL)]
    (found,) = suggest(SPACE, "random", LOSS, tried, 1, 7, 5, enqueue=[entry])
    assert found.attrs == {"origin": "random"}


def test_an_entry_stays_tried_where_the_space_has_changed_since() -> None:
    history = run(SPACE, "random", [{"bs": 2}], 1, 1)
    wider = SearchSpace((FloatParameter("lr", 1e-6, 1.0, log=True), *SPACE.parameters[1:]), SPACE.constraints)
    (found,) = suggest(wider, "random", LOSS, history, 1, 7, 5, enqueue=[{"bs": 2.0}])
    assert found.attrs["origin"] == "default"


def test_an_entry_that_no_allowed_point_matches_is_skipped() -> None:
    (found,) = suggest(TINY_GRID, "grid", LOSS, [], 1, 0, 5, enqueue=[{"bs": 64}])
    assert found.attrs == {"origin": "grid"}


def test_a_tight_constraint_is_met_by_going_through_a_small_space() -> None:
    names = [f"p{i}" for i in range(10)]
    space = SearchSpace(tuple(IntParameter(name, 0, 1) for name in names), (parse(" + ".join(names) + " == 10"),))
    (found,) = suggest(space, "random", LOSS, [], 1, 7, 5, enqueue=[{"p0": 1}])
    assert set(found.params.values()) == {1} and found.attrs["origin"] == "enqueue"


ENTRIES = st.fixed_dictionaries(
    {}, optional={"lr": st.floats(1e-6, 1e-2), "bs": st.integers(1, 4), "momentum": st.floats(0.5, 0.9)}
)


@settings(max_examples=50)
@given(queue=st.lists(ENTRIES, max_size=5), size=st.integers(1, 6))
def test_no_entry_is_ever_proposed_twice_and_the_answer_is_the_same_again(queue: list[Params], size: int) -> None:
    history = run(SPACE, "random", queue, 3, size)
    assert len({identity(o.params) for o in history}) == len(history)
    names = [o.attrs["enqueued"] for o in history if "enqueued" in o.attrs]
    assert len(set(names)) == len(names)
    again = run(SPACE, "random", queue, 3, size)
    assert [o.params for o in again] == [o.params for o in history]
