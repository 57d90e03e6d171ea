from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from itertools import pairwise
from random import Random
from statistics import median

import pytest

from hposlurm.search import Observation, next_requests
from hposlurm.search.points import draw_point, identity
from hposlurm.search.seeds import derive_seed
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace
from hposlurm.space.expressions import parse
from hposlurm.space.metric_constraints import Limits
from hposlurm.spec.search import SearchSpec
from hposlurm.trial import Direction, Objective, Params, TrialState
from tests.search.auto.playing import END, Curve, Study, problem
from tests.search.studies import NARROW, NESTED

BOX = SearchSpace(tuple(FloatParameter(name, 0.0, 1.0) for name in "abcd"))
LEVELS = (1, 3, 9, 27)


def bowl(params: Params, step: int) -> float:
    distance = sum((float(value or 0) - 0.7) ** 2 for value in params.values() if isinstance(value, float | int))
    return math.sqrt(distance) + 1 / step


def noise(params: Params, step: int) -> float:
    """A loss that does not depend on the configuration and is the same at every step."""
    return Random(derive_seed(json.dumps(dict(params)))).random() + 1 / step


def misleading(params: Params, step: int) -> float:
    """A loss whose early values have no relation to the final one."""
    return bowl(params, END) if step == END else 1.5 + Random(derive_seed(json.dumps(dict(params)))).random()


def history() -> list[Observation]:
    return Study(problem(NESTED), bowl).play(60).observations


EVERYWHERE = """
from tests.search.auto.test_recipe import *
print(next_requests(problem(NESTED), history(), 7))
"""


def test_the_same_records_give_the_same_answer_in_every_process() -> None:
    mine = next_requests(problem(NESTED), history(), 7)
    others = [
        subprocess.run([sys.executable, "-c", EVERYWHERE], capture_output=True, text=True, check=True).stdout.strip()
        for _ in range(2)
    ]
    assert others == [str(mine)] * 2
    assert {request.attrs.get("origin") for request in mine.requests if request.trial is None} >= {"gp"}


def test_an_answer_depends_only_on_the_observations() -> None:
    study = Study(problem(BOX), bowl).play(60)
    copied = [dataclasses.replace(o, attrs=json.loads(json.dumps(dict(o.attrs)))) for o in study.observations]
    assert next_requests(study.problem, copied, 5) == next_requests(study.problem, study.observations, 5)
    assert next_requests(problem(BOX, seed=1), copied, 5) != next_requests(study.problem, copied, 5)


def test_the_process_is_fitted_again_only_once_the_trials_are_a_tenth_more() -> None:
    study = Study(problem(BOX), bowl).play(120)
    fits = [o.attrs["gp"]["trials"] for o in study.observations if "gp" in o.attrs]  # type: ignore[index]
    assert len(fits) >= 3
    assert all(later > 1.1 * earlier + 2 for earlier, later in pairwise(fits))


@pytest.mark.parametrize("broken", [{"trials": 3}, {"trials": 1, "settings": ["nan"] * 7}, "text", None])
def test_damaged_settings_are_fitted_again(broken: object) -> None:
    observations = Study(problem(BOX), bowl).play(60).observations
    observations[-1] = dataclasses.replace(observations[-1], attrs={"gp": broken})
    assert next_requests(problem(BOX), observations, 5).requests


@pytest.mark.parametrize("space", [BOX, NESTED, NARROW])
def test_every_new_trial_is_a_new_allowed_configuration(space: SearchSpace) -> None:
    study = Study(problem(space), bowl).play(100)
    study.ask(12)
    points = [o.params for o in study.observations]
    assert len({identity(point) for point in points}) == len(points) > 30
    assert all(space.contains(point) and space.is_feasible(point) for point in points)


def test_a_wave_is_of_different_points_that_lie_apart() -> None:
    study = Study(problem(BOX), bowl).play(60)
    points = [
        request.params
        for request in next_requests(study.problem, study.observations, 30).requests
        if request.trial is None
    ]
    assert len({identity(point) for point in points}) == len(points) >= 20


def test_a_small_space_is_tried_out_to_the_end_and_nothing_twice() -> None:
    space = SearchSpace((IntParameter("n", 0, 5), CategoricalParameter("c", ("a", "b"))))
    study = Study(problem(space), noise).play(1000)
    assert len(study.observations) == len({identity(o.params) for o in study.observations}) == 12
    assert all(o.state is TrialState.COMPLETE for o in study.observations)
    assert study.answers[-1].finished == "the search space is exhausted"
    assert [answer.finished for answer in study.answers[:-1]] == [None] * (len(study.answers) - 1)


@pytest.fixture(scope="module")
def by_chance() -> Study:
    """A study whose values do not depend on the configuration, so that proposals cannot get better with time."""
    return Study(problem(BOX), noise).play(400, workers=8)


def test_a_rung_promotes_a_third(by_chance: Study) -> None:
    through = [o for o in by_chance.observations if o.attrs.get("through")]
    for low, high in pairwise(LEVELS):
        below, above = by_chance.reached(low), by_chance.reached(high)
        let = sum(bool(o.curve) and o.curve[-1][0] >= high for o in through)
        assert 0.2 * below <= above - let <= 0.45 * below
    assert by_chance.reached(1) > 150


def test_trials_that_are_let_through_go_to_the_end_whatever_they_report(by_chance: Study) -> None:
    through = [o for o in by_chance.observations if o.attrs.get("through")]
    share = len(through) / len(by_chance.observations)
    assert 0.05 < share < 0.2
    assert all(o.is_open or o.state is TrialState.COMPLETE for o in through)
    worst = max(through, key=lambda o: o.curve[0][1] if o.curve else (0.0,))
    assert worst.curve[0][1][0] > 1.8


def test_promoted_trials_are_among_the_best_third_of_the_rung() -> None:
    study = Study(problem(BOX), bowl)
    for _ in range(150):
        answer = study.ask(1)
        for request in answer.requests:
            if request.trial is None or study.observations[request.trial].attrs.get("through"):
                continue
            at = LEVELS[LEVELS.index(request.to_step or 0) - 1]
            values = {o.number: dict(o.ends)[at][0] for o in study.observations if at in dict(o.ends)}
            place = sorted(values, key=lambda number: (values[number], number)).index(request.trial)
            assert place < len(values) // 3
            assert request.from_step == at
        study.end_one()


def test_a_study_of_few_trials_trains_one_of_them_to_the_end() -> None:
    for seed in range(4):
        study = Study(problem(BOX, seed=seed, n_trials=2), bowl).play(500)
        assert len(study.observations) == 2
        assert any(o.state is TrialState.COMPLETE for o in study.observations)
        assert study.answers[-1].requests == ()


def test_without_resources_every_trial_is_trained_fully() -> None:
    study = Study(problem(BOX, rungs=False), bowl).play(200)
    assert {request.to_step for answer in study.answers for request in answer.requests} == {None}
    assert all(request.is_final for answer in study.answers for request in answer.requests)
    assert {o.attrs["origin"] for o in study.observations} >= {"gp", "random"}
    assert not any("through" in o.attrs for o in study.observations)


def test_maximising_is_minimising_the_negative() -> None:
    down = Study(problem(BOX), bowl).play(80)
    up = Study(problem(BOX, direction=Direction.MAXIMIZE), lambda params, step: -bowl(params, step)).play(80)
    assert [o.params for o in down.observations] == [o.params for o in up.observations]


def test_it_finds_what_random_search_does_not() -> None:
    mine, by_chance = [], []
    for seed in range(3):
        mine.append(Study(problem(BOX, seed=seed), bowl).play(27 * 8).best)
        random = Random(seed)
        by_chance.append(min(bowl(draw_point(BOX, random), END) for _ in range(4 * 8)))
    excess = [value - 1 / END for value in (*mine, *by_chance)]
    assert max(excess[:3]) < 0.5 * min(excess[3:])


@pytest.mark.parametrize("rungs", [True, False])
def test_failures_and_configurations_that_do_not_fit_are_avoided(rungs: bool) -> None:
    """Half of the box exceeds the memory."""
    study = Study(problem(BOX, rungs=rungs), bowl).play(150 if rungs else 200)
    lost = [
        dataclasses.replace(o, state=TrialState.FAIL, values=None, curve=(), ends=(), infeasible=True, is_open=False)
        if float(o.params["a"] or 0) < 0.5
        else o
        for o in study.observations
    ]
    assert 3 <= sum(o.infeasible for o in lost) <= len(lost) - 10
    wanted = [
        request.params["a"]
        for request in next_requests(study.problem, lost, 30).requests
        if request.attrs.get("origin") == "gp"
    ]
    assert sum(float(a or 0) > 0.5 for a in wanted) > 0.8 * len(wanted) > 0


def test_rungs_without_information_are_dropped_with_a_note() -> None:
    study = Study(problem(BOX), misleading).play(27 * 10, workers=8)
    last = study.ask(8)
    assert "no trial is stopped any more" in last.notes[0] and "at step 9" in last.notes[0]
    assert all(request.to_step == END and request.is_final for request in last.requests)
    assert last.notes == next_requests(study.problem, study.observations, 0).notes


def test_only_rungs_without_information_are_dropped() -> None:
    def late(params: Params, step: int) -> float:
        return bowl(params, step) if step >= 9 else misleading(params, step)

    # among few trials a rung may seem to predict the end, so not every study has found out by then
    studies = [Study(problem(BOX, seed=seed), late).play(27 * 10, workers=8) for seed in range(5)]
    noted = [answer for study in studies if (answer := study.ask(8)).notes]
    assert len(noted) >= 4
    for answer in noted:
        assert "the lowest rung is now step 9" in answer.notes[0]
        assert {request.to_step for request in answer.requests} <= {9, 27}


def test_rungs_that_predict_are_kept_without_a_note() -> None:
    study = Study(problem(BOX), bowl).play(27 * 10, workers=8)
    assert {answer.notes for answer in study.answers} == {()}


def test_misleading_rungs_cost_little_compared_with_none() -> None:
    """In the end the regret is within a fifth of that without rungs."""
    with_rungs = [Study(problem(BOX, seed=s), misleading).play(27 * 12, workers=8).best for s in range(5)]
    without = [Study(problem(BOX, seed=s, rungs=False), misleading).play(27 * 12, workers=8).best for s in range(5)]
    assert median(with_rungs) - 1 / END < 1.2 * (median(without) - 1 / END)


def test_more_trials_go_to_the_end_while_the_rungs_are_in_doubt() -> None:
    def murky(params: Params, step: int) -> float:
        return bowl(params, step) if step == END else 0.5 * (bowl(params, step) + noise(params, step))

    def shares(curve: Curve) -> float:
        studies = [Study(problem(BOX, seed=seed), curve).play(27 * 6, workers=8) for seed in range(4)]
        return median(sum("through" in o.attrs for o in s.observations) / len(s.observations) for s in studies)

    assert shares(murky) > 1.3 * shares(bowl)


@pytest.mark.parametrize(("workers", "first"), [(1, 6), (4, 6), (8, 8), (16, 10)])
def test_the_first_trials_go_to_the_end_so_that_the_rungs_can_be_judged_soon(workers: int, first: int) -> None:
    """As many as start at once, within limits: with few workers they would take all the time."""
    study = Study(problem(BOX), bowl).play(60 if workers > 1 else 240, workers=workers)
    through = [bool(o.attrs.get("through")) for o in study.observations]
    assert all(through[:first]) and not all(through[first : first + 4])
    assert sum(through[first:]) < 0.4 * len(through[first:])


def test_several_objectives_are_left_to_tpe_with_one_note() -> None:
    several = dataclasses.replace(problem(BOX, rungs=False), objectives=(Objective("loss"), Objective("size")))
    answer = next_requests(several, [], 3)
    assert len(answer.requests) == 3 and "TPE" in answer.notes[0]
    seen = [Observation(i, j.params, TrialState.COMPLETE, (float(i), 1.0)) for i, j in enumerate(answer.requests)]
    assert next_requests(several, seen, 1).notes == ()


def test_trials_of_an_earlier_space_neither_harm_nor_help() -> None:
    study = Study(problem(BOX), bowl).play(60)
    smaller = SearchSpace(tuple(FloatParameter(name, 0.0, 0.2) for name in "abce"))
    requests = next_requests(problem(smaller), study.observations, 5).requests
    new = [request for request in requests if request.trial is None]
    assert all(smaller.contains(request.params) for request in new)


def test_the_default_algorithm_is_auto() -> None:
    assert SearchSpec().algorithm == "auto"


def test_what_is_enqueued_comes_first_then_the_defaults() -> None:
    space = SearchSpace((FloatParameter("a", 0.0, 1.0, default=0.25), FloatParameter("b", 0.0, 1.0, default=0.5)))
    wanted: tuple[Params, ...] = ({"a": 0.1, "b": 0.2}, {"a": 0.3, "b": 0.4})
    asked = problem(space)
    asked = dataclasses.replace(asked, search=asked.search.model_copy(update={"enqueue": wanted}))
    study = Study(asked, bowl)
    study.ask(1)
    study.ask(3)
    assert [o.params for o in study.observations[:3]] == [*wanted, {"a": 0.25, "b": 0.5}]
    assert [o.attrs["origin"] for o in study.observations] == ["enqueue", "enqueue", "default", "random"]


def test_trials_of_other_studies_only_teach() -> None:
    earlier = Study(problem(BOX), bowl).play(150).observations
    asked = dataclasses.replace(problem(BOX, n_trials=20), prior=tuple(earlier))
    requests = next_requests(asked, [], 20).requests
    assert len(requests) == 20 and all(request.trial is None for request in requests)
    assert sum(request.attrs["origin"] == "gp" for request in requests) > 10
    assert bowl(requests[0].params, END) < 0.4 or bowl(requests[1].params, END) < 0.4


def test_a_trial_that_breaks_a_limit_is_neither_promoted_nor_sought() -> None:
    limits = Limits((parse("memory <= 30"),), frozenset({"memory"}))
    space = dataclasses.replace(BOX, limits=limits)
    observations = [
        dataclasses.replace(o, metrics={"memory": 80.0 * float(o.params["a"] or 0)})
        for o in Study(problem(BOX), bowl).play(80).observations
    ]
    requests = next_requests(problem(space), observations, 60).requests
    promoted = [observations[request.trial] for request in requests if request.trial is not None]
    assert all(float(o.params["a"] or 0) <= 0.375 or "through" in o.attrs for o in promoted)
    sought = [float(request.params["a"] or 0) for request in requests if request.attrs.get("origin") == "gp"]
    assert sum(a < 0.45 for a in sought) > 0.7 * len(sought) > 5


def test_a_limit_on_a_metric_of_the_end_stops_no_trial_before_it() -> None:
    limits = Limits((parse("latency <= 30"),), frozenset({"latency"}))
    limited, free = Study(problem(dataclasses.replace(BOX, limits=limits)), bowl), Study(problem(BOX), bowl)
    for study in (limited, free):
        for _ in range(60):
            study.ask(1)
            study.end_one()
            study.observations = [
                dataclasses.replace(o, metrics={"latency": 10.0} if o.state is TrialState.COMPLETE else {})
                for o in study.observations
            ]
    assert sum(o.state is TrialState.COMPLETE for o in free.observations) > 10
    assert [(o.params, o.to_step) for o in limited.observations] == [(o.params, o.to_step) for o in free.observations]


def test_the_reason_of_a_promotion_has_place_and_threshold_of_the_rung() -> None:
    study = Study(problem(BOX, direction=Direction.MAXIMIZE), lambda params, step: -bowl(params, step))
    sent = 0
    for _ in range(120):
        for request in study.ask(1).requests:
            if request.trial is None:
                assert request.why == ""
            elif study.observations[request.trial].attrs.get("through"):
                assert "let through" in request.why
            else:
                at = LEVELS[LEVELS.index(request.to_step or 0) - 1]
                values = sorted((dict(o.ends)[at][0] for o in study.observations if at in dict(o.ends)), reverse=True)
                mine = dict(study.observations[request.trial].ends)[at][0]
                goers = len(values) // 3
                assert f"rung {at}: loss {mine:.6g}, place {values.index(mine) + 1} of {len(values)}" in request.why
                assert f"(threshold {values[goers - 1]:.6g})" in request.why
                sent += 1
        study.end_one()
    assert sent > 10


def test_the_cached_tables_change_no_answer() -> None:
    """Trials that changed, trials that came, and another study with as many."""
    study, other = Study(problem(BOX), bowl), Study(problem(BOX, seed=5), noise)
    for _ in range(60):
        for mine in (study, other):
            answer = mine.ask(1)
            copied = [dataclasses.replace(o, params=dict(o.params)) for o in mine.observations]
            assert mine.ask(0).notes == next_requests(mine.problem, copied, 0).notes
            assert next_requests(mine.problem, copied, 4) == next_requests(mine.problem, mine.observations, 4)
            assert answer.requests
            mine.end_one()
