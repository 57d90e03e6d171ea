"""The Gaussian process by Optuna, which needs PyTorch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from statistics import mean

import pytest

from hposlurm.errors import RequestError
from hposlurm.search import Observation, sampler, suggest
from hposlurm.space import SearchSpace
from hposlurm.space.expressions import parse
from hposlurm.trial import Direction, Objective, TrialState
from tests.search.studies import LOSS, NESTED, SQUARE, TINY_GRID, bowl, distinct, drawn, number, observed, params_of

TWO = [Objective("a"), Objective("b", Direction.MAXIMIZE)]


def test_missing_torch_is_reported_before_the_first_wave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "find_spec", lambda _: None)
    with pytest.raises(RequestError, match="gp needs PyTorch wherever waves are planned"):
        suggest(SQUARE, "gp", LOSS, [], 4, 0, 10)


class TestWithTorch:
    @pytest.fixture(autouse=True)
    def _needs_torch(self) -> Iterator[None]:
        torch = pytest.importorskip("torch")
        threads = torch.get_num_threads()
        yield
        assert torch.get_num_threads() == threads

    def test_it_goes_where_the_values_are_good(self) -> None:
        found = params_of(suggest(SQUARE, "gp", LOSS, observed(drawn(SQUARE, 20), bowl), 4, 1, 10))
        assert distinct(found) == 4
        assert mean(map(bowl, found)) < 15 < mean(map(bowl, drawn(SQUARE, 20)))

    def test_until_enough_trials_have_values_it_draws_at_random(self) -> None:
        history = observed(drawn(SQUARE, 9), bowl)
        history.append(Observation(9, {"x": 1.0, "y": 1.0}, TrialState.PRUNED, (1.0,)))
        assert {s.attrs["origin"] for s in suggest(SQUARE, "gp", LOSS, history, 2, 1, 10)} == {"random"}
        history.append(Observation(10, {"x": 2.0, "y": 1.0}, TrialState.COMPLETE, (1.0,)))
        assert {s.attrs["origin"] for s in suggest(SQUARE, "gp", LOSS, history, 2, 1, 10)} == {"gp"}

    def test_another_process_suggests_the_same(self) -> None:
        code = (
            "from tests.search.studies import *\n"
            "print(suggest(SQUARE, 'gp', LOSS, observed(drawn(SQUARE, 14), bowl), 3, 1, 10))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
        here = suggest(SQUARE, "gp", LOSS, observed(drawn(SQUARE, 14), bowl), 3, 1, 10)
        assert done.stdout.strip() == repr(here)

    def test_several_objectives_and_running_trials_go_together(self) -> None:
        points = drawn(SQUARE, 14)
        history = [
            Observation(i, p, TrialState.COMPLETE, (bowl(p), -((number(p, "x") + 3) ** 2)))
            for i, p in enumerate(points)
        ]
        history += [Observation(14, {"x": 2.0, "y": 2.0}, TrialState.RUNNING)]
        history += [Observation(15, {"x": 2.0, "y": 3.0}, TrialState.FAIL)]
        found = params_of(suggest(SQUARE, "gp", TWO, history, 3, 0, 10))
        assert distinct(found) == 3 and all(SQUARE.contains(p) for p in found)

    def test_branches_and_constraints_hold(self) -> None:
        points = [s.params for s in suggest(NESTED, "random", LOSS, [], 14, 0, 10)]
        found = params_of(suggest(NESTED, "gp", LOSS, observed(points, lambda p: number(p, "lr")), 4, 0, 10))
        assert distinct(found) == 4 and all(NESTED.contains(p) and NESTED.is_feasible(p) for p in found)

    def test_it_learns_where_nothing_is_allowed_and_what_does_not_fit(self) -> None:
        """The best point, (3, -4), is not allowed in either way."""
        forbidden = SearchSpace(SQUARE.parameters, (parse("x <= 0"),))
        points = [p for p in drawn(SQUARE, 40) if number(p, "x") <= 0][:16]
        found = suggest(forbidden, "gp", LOSS, observed(points, bowl), 3, 0, 10)
        assert all(number(s.params, "x") <= 0 for s in found) and "gp" in {s.attrs["origin"] for s in found}
        history = [
            Observation(i, p, TrialState.FAIL, infeasible=True)
            if number(p, "x") > 0
            else Observation(i, p, TrialState.COMPLETE, (bowl(p),))
            for i, p in enumerate(drawn(SQUARE, 30))
        ]
        assert mean(number(s.params, "x") > 1 for s in suggest(SQUARE, "gp", LOSS, history, 4, 0, 10)) <= 0.25

    def test_a_small_space_is_used_up(self) -> None:
        points = list(TINY_GRID.grid_points())
        history = observed(points[:8], lambda p: number(p, "wd"))
        found = suggest(TINY_GRID, "gp", LOSS, history, 9, 0, 5)
        assert sorted(str(s.params) for s in found) == sorted(map(str, points[8:]))
