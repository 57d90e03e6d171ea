"""Population-based training in generations: which members are replaced, by which copies, with which values."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hposlurm.search import Observation, SearchProblem, next_requests
from hposlurm.search.population import copies_each, generation_ends, select
from hposlurm.space import CategoricalParameter, SearchSpace
from hposlurm.space.expressions import parse
from hposlurm.space.metric_constraints import Limits
from hposlurm.spec import SearchSpec
from hposlurm.trial import Direction, Objective, Params, TrialState
from tests.search.play import LINE, LOSS, Play

PBT = {"algorithm": "pbt", "population_size": 4, "perturbation_interval": 2, "max_resource": 8}


def problem(space: SearchSpace = LINE, mutable: frozenset[str] = frozenset({"x"}), **changes: object) -> SearchProblem:
    n_trials = changes.pop("n_trials", None)
    return SearchProblem(space, SearchSpec(**{**PBT, **changes}), LOSS, n_trials, mutable=mutable)  # type: ignore[arg-type]


def members(*values: float | None, step: int = 2) -> list[Observation]:
    """Returns one member for each value at the step; None failed."""
    return [
        Observation(n, {"x": 0.5}, TrialState.FAIL, attrs={"member": n, "generation": 0}, to_step=step)
        if value is None
        else Observation(
            n,
            {"x": 0.5},
            TrialState.PAUSED,
            (value,),
            {"member": n, "generation": 0},
            to_step=step,
            ends=((step, (value,)),),
        )
        for n, value in enumerate(values)
    ]


def replaced(values: tuple[float | None, ...], **changes: object) -> dict[int, int] | None:
    """Returns the replaced members and their parents."""
    copies = select(problem(**changes), members(*values), 2, 1)
    return None if copies is None else {copy.loser.number: copy.parent.number for copy in copies}


def test_generations_end_together_and_the_last_one_where_training_does() -> None:
    assert generation_ends(2, 8) == (2, 4, 6, 8)
    assert generation_ends(3, 8) == (3, 6, 8)


def test_the_worst_become_copies_of_the_best() -> None:
    assert replaced((0.3, 0.1, 0.4, 0.2)) == {2: 1}
    two = replaced((0.3, 0.1, 0.4, 0.2), quantile=0.5)
    assert two is not None and two.keys() == {0, 2} and set(two.values()) <= {1, 3}


@pytest.mark.parametrize(("quantile", "count"), [(0.2, 1), (0.25, 2), (0.5, 2)])
def test_the_quantile_is_rounded_up_and_half_of_the_members_stay(quantile: float, count: int) -> None:
    search = problem(population_size=5, quantile=quantile).search
    assert copies_each(search) == count


def test_ties_go_to_the_older_trial() -> None:
    assert replaced((0.5, 0.5, 0.5, 0.5)) == {3: 0}


def test_failed_members_are_replaced_whichever_others_are_worst() -> None:
    assert replaced((0.3, 0.1, None, 0.2)) == {2: 1}
    assert replaced((None, 0.1, None, 0.2)) == {0: 1, 2: 1}
    assert replaced((None, None, None, 0.2)) == {0: 3, 1: 3, 2: 3}
    assert replaced((None, None, None, None)) is None


def test_a_member_that_exceeds_the_memory_is_replaced_with_that_reason() -> None:
    one, two, three = members(0.3, 0.1, 0.4)
    oom = replace(members(None)[0], number=3, infeasible=True)
    (copy,) = select(problem(), [one, two, three, oom], 2, 1) or []
    assert copy.reason.startswith(
        "generation 0, step 2: failed because of its configuration; replaced by a copy of trial 1"
    )


def test_a_member_that_breaks_a_limit_ranks_below_all_that_keep_it() -> None:
    limits = Limits((parse("peak_gpu_gb <= 30"),), frozenset({"peak_gpu_gb"}))
    limited = replace(problem(), space=replace(LINE, limits=limits))
    peaks = (20.0, 33.0, 20.0, 20.0)
    population = [
        replace(o, metrics={"peak_gpu_gb": p}) for o, p in zip(members(0.3, 0.1, 0.4, 0.2), peaks, strict=True)
    ]
    (copy,) = select(limited, population, 2, 1) or []
    assert (copy.loser.number, copy.parent.number) == (1, 3)
    assert "place 4 of 4 (loss 0.1; breaks peak_gpu_gb <= 30: peak_gpu_gb is 33)" in copy.reason


def test_a_generation_that_has_begun_stays_as_it_was_decided() -> None:
    """Metrics change while a generation is assigned in small waves: no other member is replaced for that."""
    limits = Limits((parse("peak <= 30"),), frozenset({"peak"}))
    play = Play(replace(problem(), space=replace(LINE, limits=limits)), moving)
    for number, request in play.start(4):
        play.end(number, request)
    ((first, copy),) = play.start(1)
    assert copy.copy_of is not None
    survivor = next(o.number for o in play.observations if o.state is TrialState.PAUSED and o.number != copy.copy_of)
    play.observations[survivor] = replace(play.observations[survivor], metrics={"peak": 99.0})
    others = [*play.start(1), *play.start(5)]
    assert [request.copy_of for _, request in others] == [None, None, None]
    assert survivor in {number for number, _ in others} and first not in {number for number, _ in others}


def test_enqueued_configurations_are_among_the_first_members() -> None:
    play = Play(problem(enqueue=({"x": 0.875}, {"x": 0.125})), moving)
    assert [request.params for _, request in play.start(4)][:2] == [{"x": 0.875}, {"x": 0.125}]


def test_a_space_of_fewer_points_than_members_is_drawn_from_again() -> None:
    two = SearchSpace((CategoricalParameter("x", (0.0, 1.0)),))
    play = Play(problem(two), moving)
    waves = play.waves(lambda _: 4)
    assert [len(wave) for wave in waves] == [4, 4, 4, 4]
    assert {request.params["x"] for _, request in play.requests} == {0.0, 1.0}


def test_a_maximised_objective_is_ranked_the_other_way() -> None:
    upward = replace(problem(), objectives=(Objective("f1", Direction.MAXIMIZE),))
    (copy,) = select(upward, members(0.3, 0.1, 0.4, 0.2), 2, 1) or []
    assert (copy.loser.number, copy.parent.number) == (1, 2)
    assert copy.reason == "generation 0, step 2: place 4 of 4 (f1 0.1); replaced by a copy of trial 2 (f1 0.4)"


def moving(params: Params, step: int) -> float:
    """A loss whose best x grows during training."""
    return abs(float(params["x"]) - step / 8)  # type: ignore[arg-type]


def test_a_study_is_as_many_waves_as_generations() -> None:
    play = Play(problem(), moving)
    waves = play.waves(lambda _: 4)
    assert [len(wave) for wave in waves] == [4, 4, 4, 4]
    assert {request.to_step for _, request in waves[-1]} == {8} and all(request.is_final for _, request in waves[-1])
    last = next_requests(play.problem, play.observations, 4)
    assert (last.requests, last.finished) == ((), "the population of 4 has ended its 4 generations")
    states = [o.state for o in play.observations]
    assert states.count(TrialState.COMPLETE) == 4 and states.count(TrialState.PRUNED) == 3


def test_a_copy_records_its_ancestors_and_begins_where_they_were() -> None:
    play = Play(problem(), moving)
    waves = play.waves(lambda _: 4)
    for generation, wave in enumerate(waves[1:], 1):
        ((number, request),) = [(n, j) for n, j in wave if j.copy_of is not None]
        assert wave[0][0] == number  # before its parent goes on, and may delete the checkpoint
        attrs = play.observations[number].attrs
        assert (attrs["generation"], attrs["parent"], attrs["parent_step"]) == (
            generation,
            request.copy_of,
            request.from_step,
        )
        assert request.from_step == 2 * generation and request.copy_of in {n for n, _ in wave}
        assert play.verdicts[generation - 1].trial == attrs["replaces"]


def test_every_continued_member_has_a_reason() -> None:
    play = Play(problem(), moving)
    play.waves(lambda _: 4)
    whys = [request.why for _, request in play.requests if request.trial is not None and request.to_step == 4]
    values = sorted(abs(float(o.params["x"]) - 2 / 8) for o in play.observations[:4])  # type: ignore[arg-type]
    assert sorted(whys) == [
        f"generation 0, step 2: place {place} of 4 (loss {value:.6g}), 1 of 4 members is replaced"
        for place, value in enumerate(values[:3], 1)
    ]


def test_the_same_records_give_the_same_decisions() -> None:
    one, other = Play(problem(), moving), Play(problem(), moving)
    assert one.waves(lambda _: 4) == other.waves(lambda _: 4)
    different = Play(problem(seed=1), moving)
    assert different.waves(lambda _: 4) != one.waves(lambda _: 4)


@pytest.mark.parametrize("size", [1, 3])
def test_with_smaller_waves_the_next_generation_waits_for_all_members(size: int) -> None:
    play = Play(problem(), moving)
    waves = play.waves(lambda _: size)
    reached = [request.to_step for wave in waves for _, request in wave]
    assert reached == sorted(reached) and reached == [end for end in (2, 4, 6, 8) for _ in range(4)]
    copies = [o.attrs["generation"] for o in play.observations if "parent" in o.attrs]
    assert copies == [1, 2, 3]


def test_a_failed_member_comes_back_as_a_copy() -> None:
    play = Play(problem(), moving, fails=lambda _, number: number == 2)
    play.waves(lambda _: 4)
    assert play.observations[2].state is TrialState.FAIL
    assert [o.attrs["replaces"] for o in play.observations[4:5]] == [2]
    assert sum(o.state is TrialState.COMPLETE for o in play.observations) == 4


def test_a_population_that_failed_as_a_whole_ends_the_study() -> None:
    play = Play(problem(), moving, fails=lambda *_: True)
    play.waves(lambda _: 4)
    assert (
        next_requests(play.problem, play.observations, 4).finished
        == "every member of the population failed before step 2"
    )


def test_without_trials_left_for_copies_all_members_train_on() -> None:
    play = Play(problem(n_trials=5), moving)
    waves = play.waves(lambda _: 4)
    assert [sum(request.trial is None for _, request in wave) for wave in waves] == [4, 1, 0, 0]
    assert sum(o.state is TrialState.COMPLETE for o in play.observations) == 4


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    size=st.integers(4, 9),
    interval=st.integers(1, 5),
    most=st.integers(6, 12),
    quantile=st.floats(0.05, 0.5),
    seed=st.integers(0, 1000),
    failing=st.frozensets(st.integers(0, 12), max_size=5),
    waves=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    n_trials=st.none() | st.integers(9, 20),
)
def test_every_population_ends_with_all_remaining_members_at_the_last_step(
    size: int,
    interval: int,
    most: int,
    quantile: float,
    seed: int,
    failing: frozenset[int],
    waves: list[int],
    n_trials: int | None,
) -> None:
    """Whichever members fail and whatever the wave size: no step is trained twice, and parents were among the best."""
    search = {"population_size": size, "perturbation_interval": interval, "max_resource": most, "quantile": quantile}
    asked = problem(seed=seed, n_trials=n_trials, **search)
    play = Play(asked, moving, fails=lambda _, number: number in failing)
    play.waves(lambda played: waves[len(played.requests) % len(waves)])
    assert next_requests(asked, play.observations, size).finished
    assert not any(o.is_open for o in play.observations)
    assert n_trials is None or len(play.observations) <= n_trials
    ends = generation_ends(interval, most)
    for number, o in enumerate(play.observations):
        legs = [(request.from_step, request.to_step) for n, request in play.requests if n == number]
        assert all(before[1] == after[0] for before, after in itertools.pairwise(legs))
        assert all(end in ends for _, end in legs)
        if (parent := o.attrs.get("parent")) is not None:
            assert legs[0][0] == o.attrs["parent_step"]
            assert play.observations[parent].ends  # type: ignore[index]
        if o.state is TrialState.COMPLETE:
            assert legs[-1][1] == most
    final = [o for o in play.observations if o.state is TrialState.COMPLETE]
    assert len({o.attrs["member"] for o in final}) == len(final)
    if not failing:
        assert len(final) == size
