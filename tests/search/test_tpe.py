"""TPE learns from the history, and from all of it."""

from __future__ import annotations

import inspect
import json
import math
from dataclasses import replace
from statistics import mean

import optuna
import pytest

from hposlurm.search import Observation, Proposal, suggest, tpe
from hposlurm.search.points import identity
from hposlurm.search.tpe import TpeSampler
from hposlurm.space import IntParameter, SearchSpace
from hposlurm.space.expressions import parse
from hposlurm.trial import Direction, Objective, Params, TrialState
from tests.search.studies import (
    LOSS,
    NESTED,
    SQUARE,
    ask_tpe,
    asked_in_turn,
    bowl,
    drawn,
    lessons,
    number,
    observed,
    params_of,
    play,
)


def mirrored_bowl(params: Params) -> float:
    return (number(params, "x") + 3) ** 2 + (number(params, "y") - 4) ** 2


def renumbered(*histories: list[Observation]) -> list[Observation]:
    flat = [o for history in histories for o in history]
    return [Observation(i, o.params, o.state, o.values, o.attrs) for i, o in enumerate(flat)]


def test_tpe_beats_random_search_by_far() -> None:
    def best(algorithm: str, seed: int) -> float:
        history = play(SQUARE, algorithm, bowl, waves=10, size=4, seed=seed)
        return min(o.values[0] for o in history if o.values)

    seeds = range(6)
    assert mean(best("tpe", s) for s in seeds) < mean(best("random", s) for s in seeds) / 4


def test_the_values_of_the_history_decide_where_tpe_looks() -> None:
    points = drawn(SQUARE, 30)
    here, there = ask_tpe(observed(points, bowl)), ask_tpe(observed(points, mirrored_bowl))
    assert mean(map(bowl, params_of(here))) < mean(map(bowl, params_of(there))) / 2
    assert mean(map(mirrored_bowl, params_of(there))) < mean(map(mirrored_bowl, params_of(here))) / 2


def test_maximising_is_minimising_the_negated_values() -> None:
    points = drawn(SQUARE, 30)
    up = [Objective("score", Direction.MAXIMIZE)]
    maximised = suggest(SQUARE, "tpe", up, observed(points, lambda p: -bowl(p)), 8, 1, 10)
    assert maximised == ask_tpe(observed(points, bowl))


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED])
def test_tpe_starts_when_enough_trials_have_ended_with_a_value(state: TrialState) -> None:
    history = observed(drawn(SQUARE, 10), bowl, state)
    unfinished = [Observation(10, {"x": 0.5, "y": 0.5}, TrialState.RUNNING), Observation(11, {}, TrialState.FAIL)]
    assert {s.attrs["origin"] for s in ask_tpe(renumbered(history[:9], unfinished))} == {"random"}
    assert {s.attrs["origin"] for s in ask_tpe(renumbered(history, unfinished))} == {"tpe"}


def test_a_wave_has_its_own_seed_even_if_nothing_was_learnt_since() -> None:
    history = observed(drawn(SQUARE, 12), bowl)
    failed = Observation(12, {"x": 99.0, "y": 99.0}, TrialState.FAIL)
    assert not {str(s.params) for s in ask_tpe(history)} & {str(s.params) for s in ask_tpe([*history, failed])}


# The liar


def test_eight_points_of_one_wave_are_spread() -> None:
    points = params_of(ask_tpe(observed(drawn(SQUARE, 30), bowl)))
    places = [(number(p, "x"), number(p, "y")) for p in points]
    assert min(math.dist(a, b) for i, a in enumerate(places) for b in places[:i]) > 0.5


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.WAITING, TrialState.PAUSED])
def test_trials_that_are_not_done_repel(state: TrialState) -> None:
    history = observed(drawn(SQUARE, 30), bowl)
    crowd = [{"x": 3 + 0.3 * math.cos(i), "y": -4 + 0.3 * math.sin(i)} for i in range(10)]
    around = renumbered(history, observed(crowd, bowl, state))
    failed = renumbered(history, observed(crowd, bowl, TrialState.FAIL))  # of which TPE knows nothing

    def distance(found: tuple[Proposal, ...]) -> float:
        return mean(math.sqrt(bowl(s.params)) for s in found)

    seeds = range(5)
    assert mean(distance(ask_tpe(around, 4, s)) for s in seeds) > 1.15 * mean(
        distance(ask_tpe(failed, 4, s)) for s in seeds
    )


def test_tpe_learns_of_points_that_were_drawn_because_it_had_no_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TpeSampler, "asks", 1)
    expected: list[Params] = []
    real = TpeSampler.expect
    monkeypatch.setattr(TpeSampler, "expect", lambda study, point: (expected.append(point), real(study, point)))
    space = SearchSpace((IntParameter("a", 0, 3), IntParameter("b", 0, 3)), (parse("a == 0 or b == 0 or a == b"),))
    points = list(space.grid_points())
    found = suggest(space, "tpe", LOSS, observed(points[:8], lambda p: number(p, "a")), 9, 0, 5)
    assert len(found) == len(points) - 8
    assert expected
    new = dict.fromkeys(identity(p) for p in expected if p not in points[:8])
    assert list(new) == [identity(s.params) for s in found]
    assert {s.attrs["origin"] for s in found} == {"random", "tpe"}


def test_a_point_that_will_run_repels_like_one_that_was_asked() -> None:
    def asked(expected: list[Params]) -> float:
        distances = []
        for seed in range(6):
            study = TpeSampler(SQUARE, LOSS, seed, startup_trials=10)
            study.tell(lessons(SQUARE, observed(drawn(SQUARE, 30), bowl)))
            for point in expected:
                study.expect(dict(point))
            distances += [math.sqrt(bowl(point)) for point in asked_in_turn(study, 4)]
        return mean(distances)

    assert asked([{"x": 3 + 0.1 * i, "y": -4.0} for i in range(10)]) > 1.15 * asked([])


# Trials without a usable value


@pytest.mark.parametrize(
    ("state", "values"),
    [
        (TrialState.FAIL, None),
        (TrialState.FAIL, (1.0,)),
        (TrialState.COMPLETE, None),
        (TrialState.COMPLETE, (math.nan,)),
        (TrialState.COMPLETE, (math.inf,)),
        (TrialState.COMPLETE, (1.0, 2.0)),
        (TrialState.PRUNED, (math.nan,)),
    ],
)
def test_a_trial_without_a_usable_value_teaches_nothing(state: TrialState, values: tuple[float, ...] | None) -> None:
    history = observed(drawn(SQUARE, 12), bowl)
    odd = Observation(12, {"x": 3.0, "y": -4.0}, state, values)
    nothing = Observation(12, {"x": 99.0, "y": 99.0}, TrialState.FAIL)
    assert ask_tpe([*history, odd]) == ask_tpe([*history, nothing])


def test_a_pruned_trial_is_ranked_by_its_last_report() -> None:
    points = drawn(SQUARE, 30)
    pruned = [Observation(i, p, TrialState.PRUNED, (bowl(p),)) for i, p in enumerate(points)]
    blind = [Observation(i, p, TrialState.PRUNED) for i, p in enumerate(points)]
    assert mean(map(bowl, params_of(ask_tpe(pruned)))) < mean(map(bowl, params_of(ask_tpe(blind)))) / 1.5


def test_among_pruned_trials_the_one_that_got_further_is_better() -> None:
    """All had the same value; those near the optimum were stopped late, the others early."""
    points = sorted(drawn(SQUARE, 30), key=bowl)
    late = [Observation(i, p, TrialState.PRUNED, (1.0,), curve=((30 - i, (1.0,)),)) for i, p in enumerate(points)]
    early = [replace(o, curve=((o.number + 1, (1.0,)),)) for o in late]
    assert mean(map(bowl, params_of(ask_tpe(late)))) < mean(map(bowl, params_of(ask_tpe(early)))) / 1.5


def test_a_study_whose_trials_all_fail_goes_on_at_random() -> None:
    history = observed(drawn(SQUARE, 40), bowl, TrialState.FAIL)
    assert {s.attrs["origin"] for s in ask_tpe(history)} == {"random"}


@pytest.mark.parametrize("space", [SQUARE, SearchSpace(SQUARE.parameters, (parse("x + y <= 15"),))])
def test_tpe_avoids_the_region_that_does_not_fit_although_it_promises_most(space: SearchSpace) -> None:
    """The best point, (3, -4), lies in the half that is too large for the memory: nothing there has a value."""

    def share_of_the_large_half(infeasible: bool) -> float:
        asked = []
        for seed in range(4):
            history = [
                Observation(i, p, TrialState.FAIL, infeasible=infeasible)
                if number(p, "x") > 0
                else Observation(i, p, TrialState.COMPLETE, (bowl(p),))
                for i, p in enumerate(drawn(space, 40, seed))
            ]
            asked += ask_tpe(history, seed=seed, space=space)
        return mean(number(s.params, "x") > 0 for s in asked)

    assert share_of_the_large_half(infeasible=True) < 0.3
    assert share_of_the_large_half(infeasible=False) > 0.5


def test_infeasible_trials_count_among_those_that_tpe_needs_to_begin() -> None:
    """Otherwise a space of which most cannot work would be sampled at random for long."""
    history = observed(drawn(SQUARE, 5), bowl)
    infeasible = [Observation(5 + i, p, TrialState.FAIL, infeasible=True) for i, p in enumerate(drawn(SQUARE, 5, 1))]
    assert {s.attrs["origin"] for s in ask_tpe([*history, *infeasible[:4]])} == {"random"}
    assert {s.attrs["origin"] for s in ask_tpe([*history, *infeasible])} == {"tpe"}


# A history from another space


def test_trials_outside_of_the_space_are_left_out() -> None:
    inside = observed(drawn(SQUARE, 15), bowl)
    outside: list[Params] = [{"x": 30.0, "y": 0.0}, {"x": 1.0}, {"x": "left", "y": 0.0}, {"x": True, "y": 0.0}]
    found = ask_tpe(renumbered(inside, observed(outside, lambda _: -1e9)))
    assert found == ask_tpe(renumbered(inside, [Observation(0, {}, TrialState.FAIL)] * 4))


def test_a_parameter_that_is_gone_is_forgotten_but_the_trial_is_not() -> None:
    points = drawn(SQUARE, 30)
    longer = [{**p, "gone": i} for i, p in enumerate(points)]
    assert ask_tpe(
        [Observation(o.number, q, o.state, o.values) for o, q in zip(observed(points, bowl), longer, strict=True)]
    ) == ask_tpe(observed(points, bowl))


def test_a_history_that_went_through_json_is_the_same() -> None:
    history = observed(drawn(NESTED, 20), lambda p: number(p, "lr"))
    again = [Observation(o.number, json.loads(json.dumps(dict(o.params))), o.state, o.values) for o in history]
    assert ask_tpe(again, space=NESTED) == ask_tpe(history, space=NESTED)


# Optuna itself


def test_every_flag_of_tpe_is_set_or_deprecated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new or changed flag of a new Optuna must be decided on, not inherited."""
    deprecated = {
        "consider_prior",
        "prior_weight",
        "consider_magic_clip",
        "consider_endpoints",
        "gamma",
        "weights",
        "warn_independent_sampling",
        "constraints_func",
    }
    flags = set(inspect.signature(optuna.samplers.TPESampler.__init__).parameters) - {"self"}
    given: dict[str, object] = {}
    monkeypatch.setattr(tpe, "QuickTpeSampler", lambda **kwargs: given.update(kwargs))
    tpe.tpe_sampler(seed=7, startup_trials=3, is_conditional=True)
    assert set(given) == flags - deprecated
    assert given["multivariate"] is given["group"] is given["constant_liar"] is True
    assert (given["seed"], given["n_startup_trials"]) == (7, 3)


def test_only_conditional_spaces_use_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[object] = []
    real = tpe.QuickTpeSampler
    monkeypatch.setattr(tpe, "QuickTpeSampler", lambda **kwargs: groups.append(kwargs["group"]) or real(**kwargs))
    TpeSampler(SQUARE, LOSS, 0, 5)
    TpeSampler(NESTED, LOSS, 0, 5)
    assert groups == [False, True]


def test_optuna_logs_nothing_and_its_settings_stay(capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        ask_tpe(observed(drawn(NESTED, 12), lambda p: number(p, "lr")), space=NESTED)
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
