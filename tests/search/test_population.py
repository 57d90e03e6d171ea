"""Population-based training in generations: who is replaced, by whom, with what values."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from hposlurm.expressions import parse
from hposlurm.search import Observation, Problem, next_jobs
from hposlurm.search.mutation import mutate
from hposlurm.search.population import generation_ends, select
from hposlurm.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace
from hposlurm.spec import SearchSpec
from hposlurm.trial import Direction, Objective, Params, TrialState
from tests.search.play import LINE, LOSS, Play

PBT = {"algorithm": "pbt", "population_size": 4, "perturbation_interval": 2, "max_resource": 8}


def problem(space: SearchSpace = LINE, mutable: frozenset[str] = frozenset({"x"}), **changes: object) -> Problem:
    n_trials = changes.pop("n_trials", None)
    return Problem(space, SearchSpec(**{**PBT, **changes}), LOSS, n_trials, mutable=mutable)  # type: ignore[arg-type]


def members(*values: float | None, step: int = 2) -> list[Observation]:
    """One member for each value at the step; None failed."""
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
    """Who is replaced by whom."""
    copies = select(problem(**changes), members(*values), 2, 1)
    return None if copies is None else {copy.loser.number: copy.parent.number for copy in copies}


def test_generations_end_together_and_the_last_one_where_training_does() -> None:
    assert generation_ends(2, 8) == (2, 4, 6, 8)
    assert generation_ends(3, 8) == (3, 6, 8)


def test_the_worst_become_copies_of_the_best() -> None:
    assert replaced((0.3, 0.1, 0.4, 0.2)) == {2: 1}
    two = replaced((0.3, 0.1, 0.4, 0.2), quantile=0.5)
    assert two is not None and two.keys() == {0, 2} and set(two.values()) <= {1, 3}


def test_ties_go_to_the_older_trial() -> None:
    assert replaced((0.5, 0.5, 0.5, 0.5)) == {3: 0}


def test_who_failed_is_replaced_whoever_else_is_worst() -> None:
    assert replaced((0.3, 0.1, None, 0.2)) == {2: 1}
    assert replaced((None, 0.1, None, 0.2)) == {0: 1, 2: 1}
    assert replaced((None, None, None, 0.2)) == {0: 3, 1: 3, 2: 3}
    assert replaced((None, None, None, None)) is None


def test_what_is_maximised_is_ranked_the_other_way() -> None:
    upward = replace(problem(), objectives=(Objective("f1", Direction.MAXIMIZE),))
    (copy,) = select(upward, members(0.3, 0.1, 0.4, 0.2), 2, 1) or []
    assert (copy.loser.number, copy.parent.number) == (1, 2)
    assert copy.reason == "generation 0, step 2: place 4 of 4 (f1 0.1); replaced by a copy of trial 2 (f1 0.4)"


def moving(params: Params, step: int) -> float:
    """The best value of x grows while training goes on."""
    return abs(float(params["x"]) - step / 8)  # type: ignore[arg-type]


def test_a_study_is_as_many_waves_as_generations() -> None:
    play = Play(problem(), moving)
    waves = play.waves(lambda _: 4)
    assert [len(wave) for wave in waves] == [4, 4, 4, 4]
    assert {job.to_step for _, job in waves[-1]} == {8} and all(job.is_final for _, job in waves[-1])
    last = next_jobs(play.problem, play.observations, 4)
    assert (last.jobs, last.finished) == ((), "the population of 4 has ended its 4 generations")
    states = [o.state for o in play.observations]
    assert states.count(TrialState.COMPLETE) == 4 and states.count(TrialState.PRUNED) == 3


def test_a_copy_tells_its_ancestors_and_begins_where_they_were() -> None:
    play = Play(problem(), moving)
    waves = play.waves(lambda _: 4)
    for generation, wave in enumerate(waves[1:], 1):
        ((number, job),) = [(n, j) for n, j in wave if j.copy_of is not None]
        assert wave[0][0] == number  # before its parent goes on, and may delete the checkpoint
        attrs = play.observations[number].attrs
        assert (attrs["generation"], attrs["parent"], attrs["parent_step"]) == (generation, job.copy_of, job.from_step)
        assert job.from_step == 2 * generation and job.copy_of in {n for n, _ in wave}
        assert play.verdicts[generation - 1].trial == attrs["replaces"]


def test_the_same_records_give_the_same_decisions() -> None:
    one, other = Play(problem(), moving), Play(problem(), moving)
    assert one.waves(lambda _: 4) == other.waves(lambda _: 4)
    different = Play(problem(seed=1), moving)
    assert different.waves(lambda _: 4) != one.waves(lambda _: 4)


@pytest.mark.parametrize("size", [1, 3])
def test_smaller_waves_hold_the_generation_back_until_everyone_has_arrived(size: int) -> None:
    play = Play(problem(), moving)
    waves = play.waves(lambda _: size)
    reached = [job.to_step for wave in waves for _, job in wave]
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
        next_jobs(play.problem, play.observations, 4).finished == "every member of the population failed before step 2"
    )


def test_without_trials_left_for_copies_everyone_trains_on() -> None:
    play = Play(problem(n_trials=5), moving)
    waves = play.waves(lambda _: 4)
    assert [sum(job.trial is None for _, job in wave) for wave in waves] == [4, 1, 0, 0]
    assert sum(o.state is TrialState.COMPLETE for o in play.observations) == 4


MIXED = SearchSpace(
    (
        FloatParameter("lr", 1e-5, 1e-1, log=True),
        FloatParameter("wd", 0.0, 0.5, step=0.1),
        IntParameter("k", 1, 9),
        CategoricalParameter("kind", ("a", "b", "c")),
        FloatParameter("fixed", 0.0, 1.0),
    ),
    (parse("k * wd <= 1"),),
)
HERE = {"lr": 1e-3, "wd": 0.3, "k": 3, "kind": "b", "fixed": 0.7}


def test_values_move_by_the_factors_or_by_a_step_and_stay_allowed() -> None:
    changed = frozenset({"lr", "wd", "k", "kind"})
    for seed in range(300):
        point = mutate(MIXED, HERE, changed, Random(seed), 0.0, (0.8, 1.2))
        assert MIXED.contains(point) and MIXED.is_feasible(point)
        assert point["lr"] in (pytest.approx(0.8e-3), pytest.approx(1.2e-3))
        assert point["k"] in (2, 4) and point["wd"] in (0.2, 0.4)
        assert point["kind"] in ("a", "c") and point["fixed"] == 0.7


def test_values_at_the_edge_stay_in_the_range() -> None:
    edge = {**HERE, "lr": 1e-1}
    found = {mutate(MIXED, edge, frozenset({"lr"}), Random(seed), 0.0, (1.2, 0.8))["lr"] for seed in range(20)}
    assert max(float(v) for v in found) <= 1e-1 and len(found) == 1  # of what changes nothing another is tried


def test_the_share_of_new_draws_is_the_probability() -> None:
    points = [mutate(LINE, {"x": 0.5}, frozenset({"x"}), Random(seed), 0.25, (0.8, 1.2)) for seed in range(2000)]
    moved = sum(point["x"] in (0.4, 0.6) for point in points)
    assert moved / len(points) == pytest.approx(0.75, abs=0.03)
