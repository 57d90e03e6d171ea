"""TPE with choices, branches, constraints and several objectives."""

from __future__ import annotations

from statistics import mean

import pytest

from hposlurm.search import Observation, suggest
from hposlurm.search.tpe import TpeSampler
from hposlurm.space import CategoricalParameter, FloatParameter, SearchSpace
from hposlurm.space.expressions import parse
from hposlurm.trial import Direction, Objective, Params, TrialState
from tests.search.studies import (
    LOSS,
    NARROW,
    SQUARE,
    ask_tpe,
    asked_in_turn,
    bowl,
    drawn,
    lessons,
    number,
    observed,
    play,
)


def test_choices_that_are_equal_in_python_are_distinguished() -> None:
    """`True == 1`, and Optuna looks up choices by equality: without care 1's good values would count for True."""
    space = SearchSpace((CategoricalParameter("c", (True, 1, "1", None)), FloatParameter("x", 0.0, 1.0)))
    history = observed(drawn(space, 40), lambda p: 0.0 if type(p["c"]) is int else 1.0)
    chosen = [repr(s.params["c"]) for s in ask_tpe(history, 12, space=space)]
    assert chosen.count("1") > 2 * chosen.count("True")


def test_a_branch_is_learnt_with_its_own_parameters() -> None:
    space = SearchSpace(
        (
            CategoricalParameter("optimizer", ("adamw", "sgd")),
            FloatParameter("beta", 0.0, 1.0, condition=parse('optimizer == "adamw"')),
            FloatParameter("momentum", 0.0, 1.0, condition=parse('optimizer == "sgd"')),
        )
    )

    def value(params: Params) -> float:
        return 2.0 if params["optimizer"] == "adamw" else abs(number(params, "momentum") - 0.9)

    late = [o.params for seed in range(3) for o in play(space, "tpe", value, 10, 4, seed)[-16:]]
    momenta = [number(p, "momentum") for p in late if p["optimizer"] == "sgd"]
    assert len(momenta) > len(late) / 2
    assert mean(abs(m - 0.9) for m in momenta) < 0.2  # 0.41 at random


def test_points_that_are_not_allowed_teach_tpe_where_they_are() -> None:
    space = SearchSpace((FloatParameter("x", 0.0, 1.0), FloatParameter("y", 0.0, 1.0)), (parse("x + y <= 0.5"),))
    early, late = 0, 0
    for seed in range(4):
        points = [p for p in drawn(space, 200, seed) if space.is_feasible(p)][:20]
        study = TpeSampler(space, LOSS, seed, startup_trials=5)
        # the best values lie where nothing is allowed
        study.tell(lessons(space, observed(points, lambda p: 1 - number(p, "x") - number(p, "y"))))
        allowed = [space.is_feasible(point) for point in asked_in_turn(study, 60)]
        early += sum(allowed[:20])
        late += sum(allowed[40:])
    assert late > 1.5 * early


def test_tpe_itself_finds_most_points_of_a_narrow_region() -> None:
    """If refused points count as running ones, or not at all, it finds hardly any and the rest is drawn at random."""
    points = [s.params for s in suggest(NARROW, "random", LOSS, [], 16, 0, 10)]
    found = [s for seed in range(3) for s in ask_tpe(observed(points, lambda p: number(p, "x")), 8, seed, NARROW)]
    assert sum(s.attrs["origin"] == "tpe" for s in found) > len(found) / 2


def test_a_trial_that_a_new_constraint_forbids_is_not_a_good_example() -> None:
    bounded = SearchSpace(SQUARE.parameters, (parse("x <= 0"),))
    allowed = 0
    for seed in range(20):
        study = TpeSampler(bounded, LOSS, seed, startup_trials=10)
        study.tell(lessons(bounded, observed(drawn(SQUARE, 40), bowl)))  # the best ones have x near 3
        allowed += bounded.is_feasible(study.ask())
    assert allowed > 12


# Several objectives


def two_bowls(params: Params) -> tuple[float, float]:
    """Their Pareto set is y = 0, 1 ≤ x ≤ 3."""
    x, y = number(params, "x"), number(params, "y")
    return (x - 1) ** 2 + y**2, (x - 3) ** 2 + y**2


def from_the_front(params: Params) -> float:
    x, y = number(params, "x"), number(params, "y")
    return y**2 + max(0.0, 1 - x, x - 3) ** 2


def play_two(algorithm: str, seed: int, second: Direction) -> list[Params]:
    objectives = [Objective("a"), Objective("b", second)]
    sign = 1 if second is Direction.MINIMIZE else -1
    history: list[Observation] = []
    for _ in range(8):
        for s in suggest(SQUARE, algorithm, objectives, history, 5, seed, 10):
            a, b = two_bowls(s.params)
            history.append(Observation(len(history), s.params, TrialState.COMPLETE, (a, sign * b)))
    return [o.params for o in history]


@pytest.mark.parametrize("second", list(Direction))
def test_several_objectives_lead_to_their_front(second: Direction) -> None:
    def off(algorithm: str) -> float:
        return mean(from_the_front(p) for seed in range(3) for p in play_two(algorithm, seed, second)[-20:])

    assert off("tpe") < 0.75 * off("random")


def test_pruned_and_running_trials_go_with_several_objectives() -> None:
    points = drawn(SQUARE, 20)
    history = [Observation(i, p, TrialState.COMPLETE, two_bowls(p)) for i, p in enumerate(points)]
    history += [Observation(20, {"x": 1.0, "y": 1.0}, TrialState.PRUNED, (1.0, 2.0))]
    history += [Observation(21, {"x": 2.0, "y": 2.0}, TrialState.RUNNING)]
    assert len(suggest(SQUARE, "tpe", [Objective("a"), Objective("b")], history, 4, 0, 10)) == 4
