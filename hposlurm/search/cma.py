"""CMA-ES, rebuilt from the history: it learns the values of one generation after the other.

A trial keeps only the number of its generation and the population's size. Learning uses no random numbers, so the
rebuilt state equals that of a process that ran the whole time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from random import Random

import cmaes
import numpy as np

from hposlurm.search.known import KnownPoint
from hposlurm.search.observation import Observation
from hposlurm.search.points import Point, draw_point, free_numbers, given_defaults
from hposlurm.search.sampler import ASKS, REJECTIONS
from hposlurm.search.unit import from_unit, to_unit
from hposlurm.space import SearchSpace
from hposlurm.trial import Direction, Objective, TrialState

ORIGIN = "cmaes"
SIGMA = 1 / 6  # the first step size, as a part of each parameter's range
_WIDENING = 1.1  # the step from the mean grows by this factor with each refused answer

Lesson = tuple[Observation, KnownPoint]


class CmaSampler:
    """Proposes by CMA-ES.

    It searches over the numeric parameters that every configuration has; all others are drawn at random. A generation
    is over when as many of its trials have ended as the population has members, half of them with a value. Pruned
    trials count as worse than completed ones, failed trials as the worst.
    """

    asks = ASKS
    rejections = REJECTIONS

    def __init__(
        self, space: SearchSpace, objectives: Sequence[Objective], seed: int, population_size: int | None, n: int
    ) -> None:
        self._space = space
        self._sign = 1.0 if objectives[0].direction is Direction.MINIMIZE else -1.0
        self._numbers = free_numbers(space)
        self._seed = seed
        self._rng = Random(seed)
        self._size = population_size or 0
        self._n = n
        self._cma: cmaes.CMA | None = None
        self._refusals = 0

    def tell(self, lessons: Sequence[Lesson]) -> None:
        """Learns all generations of the history."""
        generations: defaultdict[int, list[Lesson]] = defaultdict(list)
        for lesson in lessons:
            generation = generation_of(lesson[0])
            if generation is not None:
                generations[generation].append(lesson)
        self._size = self._size or _recorded_size(generations.get(0, ())) or self._default_size()
        self._cma = self._first()
        while (solutions := self._solutions(generations.get(self._cma.generation, ()))) is not None:
            self._cma.tell(solutions)
        self._cma.reseed_rng(self._seed)

    @property
    def attrs(self) -> Mapping[str, object]:
        """Attributes to keep with the trial of each point that is asked for now."""
        assert self._cma is not None
        return {"generation": self._cma.generation, "population": self._size}

    def ask(self) -> Point:
        """Returns a point around the mean; the more points in a row were refused, the further away it is."""
        assert self._cma is not None
        mean = self._cma.mean
        coordinates = mean + (self._cma.ask() - mean) * _WIDENING**self._refusals
        fixed = {p.name: from_unit(p, float(c)) for p, c in zip(self._numbers, coordinates, strict=True)}
        return draw_point(self._space, self._rng, fixed)

    def expect(self, point: Point) -> None:  # noqa: ARG002
        """Ends the series of refused points; points of one generation do not depend on each other."""
        self._refusals = 0

    def refuse(self, point: Point) -> None:  # noqa: ARG002
        """Moves the next points further away: few points near the mean are left or allowed."""
        self._refusals += 1

    def _first(self) -> cmaes.CMA:
        defaults = given_defaults(self._space)
        mean = [to_unit(p, defaults[p.name]) if p.name in defaults else 0.5 for p in self._numbers]
        return cmaes.CMA(
            mean=np.array(mean),
            sigma=SIGMA,
            bounds=np.array([[0.0, 1.0]] * len(mean)),
            n_max_resampling=10 * len(mean),
            seed=self._seed,
            population_size=self._size,
            cov=None,
            lr_adapt=False,
        )

    def _default_size(self) -> int:
        # Whole waves, because results arrive only at the end of one
        return math.ceil((4 + math.floor(3 * math.log(len(self._numbers)))) / self._n) * self._n

    def _solutions(self, lessons: Sequence[Lesson]) -> list[tuple[np.ndarray, float]] | None:
        """Returns the generation's members with their ranks; None until it is over."""
        valued = [(o, p) for o, p in lessons if o.values is not None and o.state in _WITH_VALUE]
        failed = [(o, p) for o, p in lessons if o.state is TrialState.FAIL]
        members = [*valued, *failed][: self._size]
        if len(members) < self._size or 2 * len(valued) < self._size:
            return None
        members.sort(key=self._badness)
        return [(self._coordinates(p.point or {}), float(rank)) for rank, (_, p) in enumerate(members)]

    def _badness(self, lesson: Lesson) -> tuple[int, float]:
        observation, point = lesson
        if observation.values is None or observation.state not in _WITH_VALUE:
            return 2, 0.0
        is_worse = observation.state is TrialState.PRUNED or any(v > 0 for v in point.violations)
        return int(is_worse), self._sign * observation.values[0]

    def _coordinates(self, point: Point) -> np.ndarray:
        return np.array([to_unit(p, point[p.name]) for p in self._numbers])


_WITH_VALUE = (TrialState.COMPLETE, TrialState.PRUNED)


def generation_of(observation: Observation) -> int | None:
    """Returns the generation that asked for the trial; None if CMA-ES did not ask for it.

    The default values belong to the first generation, because the search begins there.
    """
    attrs: Mapping[str, object] = observation.attrs
    generation = 0 if attrs.get("origin") == "default" else attrs.get("generation")
    return generation if attrs.get("origin") in (ORIGIN, "default") and isinstance(generation, int) else None


def _recorded_size(lessons: Sequence[Lesson]) -> int:
    sizes = [size for o, _ in lessons if isinstance(size := o.attrs.get("population"), int)]
    return sizes[0] if sizes else 0
