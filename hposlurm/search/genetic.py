"""NSGA-II and NSGA-III by Optuna, their generations rebuilt from the history.

Each trial keeps the number of its generation. Who the parents of a generation are follows from the values of all
generations before it, so nothing else has to be remembered.
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
    """Generations as they were told. To be inherited from before one of Optuna's genetic samplers.

    A generation is over when as many of its trials have a value as the population has, or when less of them are missing
    than a wave would overshoot; all of them are in the selection of the parents of the next one.
    """

    generation = 0

    def replay(self, study: Study, generations: dict[int, list[FrozenTrial]], newest: int, n: int) -> None:
        """Selects the parents of one generation after the other, up to those of `newest` at least.

        `n` is the size of the wave that is asked for, `newest` the generation of the newest trial, whatever its state.
        """
        self._told = generations
        self._parents: dict[int, list[FrozenTrial]] = {0: []}
        enough = (self.population_size or 0) - n // 2
        while self.generation < newest or len(generations.get(self.generation, ())) >= max(enough, MIN_PARENTS):
            self.generation += 1
            self._parents[self.generation] = self.select_parent(study, self.generation)

    def follow(self, other: Lineage) -> None:
        """Takes over what another sampler has replayed."""
        self._told, self._parents, self.generation = other._told, other._parents, other.generation

    def get_population(self, study: Study, generation: int) -> list[FrozenTrial]:  # noqa: ARG002
        return self._told.get(generation, [])

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
    """Proposes by the genetic sampler `algorithm`, one of KINDS, as Optuna has it.

    `seed` is the study's, which decides what is the same in every wave; `wave_seed` decides the `n` children.
    In a space with conditions every individual has a value for each parameter, used or not, so that children inherit
    from both parents whatever the branches that those are in.
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
        """Adds the trials that have values, and goes through all generations."""
        numbers: list[int] = []
        with quiet():
            for observation, point in lessons:
                if observation.values is None or observation.state not in (TrialState.COMPLETE, TrialState.PRUNED):
                    continue
                numbers.append(_generation_of(observation))
                # One that was stopped early is worse than all that were not, as one that breaks a constraint is
                violation = sum(point.violations) + float(observation.state is TrialState.PRUNED)
                genes = self._genes(observation.number, point)
                self.add(genes, OptunaState.COMPLETE, observation.values, constraints=(violation,))
            generations: defaultdict[int, list[FrozenTrial]] = defaultdict(list)
            for generation, trial in zip(numbers, self._study.get_trials(deepcopy=False), strict=True):
                generations[generation].append(trial)
            # NSGA-III draws lots among the last that survive: the same ones in every wave
            selector = genetic_sampler(
                self._algorithm, derive_seed(self._study_seed, "parents"), self._sampler.population_size or 0
            )
            newest = max((_generation_of(observation) for observation, _ in lessons), default=0)
            selector.replay(self._study, generations, newest, self._n)
            self._sampler.follow(selector)

    @property
    def attrs(self) -> Mapping[str, object]:
        """What is to be kept with the trial of each point that is asked now."""
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
        """Nothing: children know nothing of each other."""

    def refuse(self, point: Point) -> None:
        """Nothing: the next child is another one."""

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
    """Trials that came from elsewhere (the defaults, another study) are there from the beginning."""
    generation = observation.attrs.get("generation")
    is_own = observation.attrs.get("origin") in KINDS
    return generation if is_own and isinstance(generation, int) else 0
