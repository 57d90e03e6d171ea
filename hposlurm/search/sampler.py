"""The protocol that all samplers follow, and the class of each name.

Each class has its own module, imported where it is used: Optuna takes 0.2 s to import, SciPy 0.5 s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from hposlurm.errors import RequestError
from hposlurm.search.points import Point, free_numbers
from hposlurm.spec.algorithms import SamplerTraits, refusals

if TYPE_CHECKING:
    from hposlurm.search.known import KnownPoint
    from hposlurm.search.observation import Observation
    from hposlurm.search.unseen import UnseenPoints
    from hposlurm.space import SearchSpace
    from hposlurm.trial import Objective

ASKS = 50  # for one point; then a random one is taken (0.1 s each for TPE after 10,000 trials)
REJECTIONS = 400  # of a sampler's points in one call; then all are random


class Sampler(Protocol):
    """Proposes points, given what is known at one moment; each call of the search builds a new one."""

    @property
    def asks(self) -> int:
        """How often it is asked for one point before a random one is taken."""

    @property
    def rejections(self) -> int:
        """How many of its points may be rejected before all further ones are random."""

    @property
    def attrs(self) -> Mapping[str, object]:
        """Attributes to keep with the trial of the point that was asked for last, in addition to the origin."""

    def tell(self, lessons: Sequence[tuple[Observation, KnownPoint]]) -> None:
        """Learns from trials, each with its point in this space. Called once, before all else."""

    def ask(self) -> Point | None:
        """Returns the next point, which may be old or not allowed; None if there is no further one."""

    def expect(self, point: Point) -> None:
        """Learns that a point will run, whether it was asked for or not."""

    def refuse(self, point: Point) -> None:
        """Learns that an answer will not run."""


class BlindSampler:
    """The common part of samplers that ignore the trials' values."""

    asks = ASKS
    rejections = REJECTIONS

    @property
    def attrs(self) -> Mapping[str, object]:
        """No attributes: each call of the search starts from the beginning."""
        return {}

    def tell(self, lessons: Sequence[tuple[Observation, KnownPoint]]) -> None:
        """Does nothing: values do not matter."""

    def expect(self, point: Point) -> None:
        """Does nothing: running trials do not matter."""

    def refuse(self, point: Point) -> None:
        """Does nothing: the next point is different anyway."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The arguments that a sampler is built from."""

    name: str
    space: SearchSpace
    objectives: Sequence[Objective]
    #: The study's own trials.
    observations: Sequence[Observation]
    #: How many points are wanted in this call.
    n: int
    #: The study's seed, for what must be the same in every call.
    seed: int
    #: Different in every call.
    wave_seed: int
    startup_trials: int
    population_size: int | None
    unseen: UnseenPoints


def _grid(asked: Asked) -> Sampler:
    from hposlurm.search.grid import GridSampler

    return GridSampler(asked.space, asked.seed, asked.unseen.seen)


def _random(asked: Asked) -> Sampler:
    from hposlurm.search.uniform import RandomSampler

    return RandomSampler(asked.unseen)


def _sobol(asked: Asked) -> Sampler:
    from hposlurm.search.sobol import SobolSampler

    return SobolSampler(asked.space, asked.seed, asked.observations)


def _tpe(asked: Asked) -> Sampler:
    from hposlurm.search.tpe import TpeSampler

    return TpeSampler(asked.space, asked.objectives, asked.wave_seed, asked.startup_trials)


def _cmaes(asked: Asked) -> Sampler:
    from hposlurm.search.cma import CmaSampler

    return CmaSampler(asked.space, asked.objectives, asked.wave_seed, asked.population_size, asked.n)


def _gp(asked: Asked) -> Sampler:
    from hposlurm.search.gaussian import GpSampler

    return GpSampler(asked.space, asked.objectives, asked.wave_seed, asked.startup_trials)


def _genetic(asked: Asked) -> Sampler:
    from hposlurm.search.genetic import GeneticSampler

    return GeneticSampler(
        asked.space, asked.objectives, asked.name, asked.seed, asked.wave_seed, asked.population_size, asked.n
    )


#: The function that builds the sampler of each name in the table of algorithms.
BUILDERS: Mapping[str, Callable[[Asked], Sampler]] = {
    "grid": _grid,
    "random": _random,
    "qmc": _sobol,
    "tpe": _tpe,
    "cmaes": _cmaes,
    "gp": _gp,
    "nsga2": _genetic,
    "nsga3": _genetic,
}


def refuse_what_cannot_be_done(traits: SamplerTraits, space: SearchSpace, n_objectives: int) -> None:
    """Raises RequestError for a space or objectives that the sampler cannot search, or a package that it lacks."""
    for what, how in refusals(traits, n_objectives, has_numbers=bool(free_numbers(space))):
        raise RequestError(f"search: {what}; {how}")
    if traits.package and find_spec(traits.package) is None:
        raise RequestError(f"search: {traits.package_hint}")
