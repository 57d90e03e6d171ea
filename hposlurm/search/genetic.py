"""NSGA-II and NSGA-III by Optuna, their generations rebuilt from the history.

Each trial keeps the number of its generation. The parents of a generation follow from the values of all earlier
generations, so nothing else is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

import optuna
from optuna.samplers import BaseGASampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from hposlurm.search.known import KnownPoint
from hposlurm.search.observation import Observation
from hposlurm.search.optuna_study import BranchSpace, OptunaStudy, quiet
from hposlurm.search.points import Point, draw_point
from hposlurm.search.seeds import derive_seed
from hposlurm.space import SearchSpace
from hposlurm.trial import Objective, TrialState

POPULATION_SIZE = 50
MIN_PARENTS = 4


class Lineage(BranchSpace, BaseGASampler):
    """Generations as the history has them. A mixin that must come before one of Optuna's genetic samplers.

    A generation is over when as many of its trials have a value as the population has members, or when fewer are
    missing than a wave would overshoot; the parents of the next generation are selected from all of them.
    """

    generation = 0

    def replay(self, study: Study, generations: dict[int, list[FrozenTrial]], newest: int, n: int) -> None:
        """Selects the parents of each generation in turn, at least up to those of `newest`.

        `n` is the size of the wave that is asked for, `newest` the generation of the newest trial, whatever its state.
        """
        self._generations = generations
        self._parents: dict[int, list[FrozenTrial]] = {0: []}
        enough = (self.population_size or 0) - n // 2
        while self.generation < newest or len(generations.get(self.generation, ())) >= max(enough, MIN_PARENTS):
            self.generation += 1
            self._parents[self.generation] = self.select_parent(study, self.generation)

    def follow(self, other: Lineage) -> None:
        """Takes over the generations that another sampler has replayed."""
        self._generations, self._parents, self.generation = other._generations, other._parents, other.generation

    def get_population(self, study: Study, generation: int) -> list[FrozenTrial]:  # noqa: ARG002
        return self._generations.get(generation, [])

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:  # noqa: ARG002
        return self._parents[generation]

    def get_trial_generation(self, study: Study, trial: FrozenTrial) -> int:  # noqa: ARG002
        return self.generation


class Nsga2(Lineage, optuna.samplers.NSGAIISampler):
    pass


class Nsga3(Lineage, optuna.samplers.NSGAIIISampler):
    pass


KINDS: Mapping[str, type[Nsga2 | Nsga3]] = {"nsga2": Nsga2, "nsga3": Nsga3}


class GeneticSampler(OptunaStudy):
    """Proposes by Optuna's genetic sampler `algorithm`, one of KINDS.

    `seed` is the study's and decides what is the same in every wave; `wave_seed` decides the `n` children. In a space
    with conditions every individual has a value for each parameter, used or not, so that children inherit from both
    parents whatever their branches.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        algorithm: str,
        seed: int,
        wave_seed: int,
        population_size: int | None,
        n: int = 1,
    ) -> None:
        self._n = n
        self._algorithm = algorithm
        self._study_seed = seed
        self._sampler = genetic_sampler(algorithm, wave_seed, population_size or POPULATION_SIZE)
        self._whole = space
        flat = SearchSpace(tuple(replace(parameter, condition=None) for parameter in space.parameters))
        super().__init__(flat, objectives, self._sampler)

    def tell(self, lessons: Sequence[tuple[Observation, KnownPoint]]) -> None:
        """Adds the trials that have values, and replays all generations."""
        numbers: list[int] = []
        with quiet():
            for observation, point in lessons:
                if observation.values is None or observation.state not in (TrialState.COMPLETE, TrialState.PRUNED):
                    continue
                numbers.append(_generation_of(observation))
                # A trial that was stopped early counts as worse than all others, as one that breaks a constraint does
                violation = sum(point.violations) + float(observation.state is TrialState.PRUNED)
                genes = self._genes(observation.number, point)
                self.add(genes, OptunaState.COMPLETE, observation.values, constraints=(violation,))
            generations: defaultdict[int, list[FrozenTrial]] = defaultdict(list)
            for generation, trial in zip(numbers, self._study.get_trials(deepcopy=False), strict=True):
                generations[generation].append(trial)
            # NSGA-III draws the last survivors at random: this seed makes them the same in every wave
            selector = genetic_sampler(
                self._algorithm, derive_seed(self._study_seed, "parents"), self._sampler.population_size or 0
            )
            newest = max((_generation_of(observation) for observation, _ in lessons), default=0)
            selector.replay(self._study, generations, newest, self._n)
            self._sampler.follow(selector)

    @property
    def attrs(self) -> Mapping[str, object]:
        """Attributes to keep with the trial of each point that is asked for now."""
        return {"generation": self._sampler.generation}

    def ask(self) -> Point:
        """Returns a child, or a random point in the first generation."""
        with quiet():
            genes = self.ask_optuna()
        point: Point = {}
        for parameter in self._whole.parameters:
            if self._whole.is_active(parameter, point):
                point[parameter.name] = genes[parameter.name]
        return point

    def expect(self, point: Point) -> None:
        """Does nothing: children do not depend on each other."""

    def refuse(self, point: Point) -> None:
        """Does nothing: the next child is different anyway."""

    def _genes(self, number: int, point: KnownPoint) -> KnownPoint:
        active = point.point or {}
        if len(active) < len(self._space.parameters):
            active = draw_point(self._space, Random(derive_seed(self._study_seed, "genes", number)), active)
        return self._points.of(active)


def genetic_sampler(algorithm: str, seed: int, population_size: int) -> Nsga2 | Nsga3:
    """Returns Optuna's sampler with every flag set that is not deprecated."""
    with quiet():
        return KINDS[algorithm](
            population_size=population_size,
            mutation=None,  # a new random value
            mutation_prob=None,  # one parameter of each child, on average
            crossover=None,  # uniform
            crossover_prob=0.9,
            swapping_prob=0.5,
            seed=seed,
        )


def _generation_of(observation: Observation) -> int:
    """Returns the generation of a trial; 0 for one of another origin (the defaults, another study)."""
    generation = observation.attrs.get("generation")
    is_own = observation.attrs.get("origin") in KINDS
    return generation if is_own and isinstance(generation, int) else 0
