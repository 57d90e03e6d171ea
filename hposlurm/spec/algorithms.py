"""The table of algorithms: the only place for facts about a sampler or a pruner that other modules depend on.

An algorithm is a pair: the sampler chooses the points to try, and the pruner decides how far each is trained. Two
registries have the code under the same names: `hposlurm.search.sampler.BUILDERS` and
`hposlurm.search.requests.SCHEDULES`. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SamplerTraits:
    """The facts about one sampler. The defaults are those of a sampler that models the objectives."""

    name: str
    #: The origin of its points, as text for people.
    origin: str
    #: The keys of `search` that this sampler reads and some others do not.
    keys: tuple[str, ...] = ()
    #: True if it never uses the values of trials.
    is_blind: bool = False
    #: True if it lists each point of the space once, in a fixed order; so the study ends by itself.
    lists_all: bool = False
    #: True if it learns from a whole generation at once; a wave must be a generation.
    by_generations: bool = False
    #: True if it learns from completed trials only: trials stopped at a report must be passed to it as completed.
    completed_only: bool = False
    #: True if a proposal costs almost nothing, so that a forecast may simulate it.
    is_cheap: bool = False
    #: Not empty if it needs numeric parameters: what to use if there are none.
    instead_of_numbers: str = ""
    #: Not empty if it supports only one objective: what to use with several.
    instead_of_one_objective: str = ""
    #: A Python package that it needs and that hposlurm does not depend on, and what to do without it.
    package: str = ""
    package_hint: str = ""
    #: The pruner of the algorithm with this name.
    pruner: str = "none"
    #: False if it works only with the pruner of its own name.
    is_free: bool = True
    #: The origin among those of its points whose model learns from all rungs at once.
    over_rungs: str = ""

    @property
    def has_startup(self) -> bool:
        """True if its first points are drawn at random."""
        return "startup_trials" in self.keys


@dataclass(frozen=True, slots=True)
class Need:
    """A key of `search` that a pruner requires."""

    key: str
    #: The text after "is missing; ".
    why: str
    hint: str = ""
    #: A key that is sufficient instead.
    other: str = ""


@dataclass(frozen=True, slots=True)
class PrunerTraits:
    """The facts about one pruner. The defaults are those of a pruner that trains each trial to its end."""

    name: str
    #: The sampler of the algorithm with this name; "" if there is no such algorithm.
    sampler: str
    #: The keys of `search` that this pruner reads and some others do not.
    keys: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    #: When it compares trials at rungs; "with max_resource": if the study file gives the highest rung.
    rungs: Literal["never", "always", "with max_resource"] = "never"
    #: True if the worker applies it at each report (see hposlurm.pruning.RULES), without waiting for other trials.
    at_reports: bool = False
    #: True if it compares a whole generation before any trial continues; it ends a study by itself.
    in_generations: bool = False
    #: True if a wave is a rung, decided when all its trials have reached it.
    by_rungs: bool = False
    #: True if it may send a paused trial on at any later time.
    promotes_any_time: bool = False
    #: True if it needs one number per report, which a comparison by domination does not provide.
    one_number: bool = False
    #: True if it uses only the first objective.
    first_objective: bool = False
    #: The default of `search.percentile`.
    percentile: float = 50.0
    #: The pruner that a forecast simulates instead of it if there are rungs.
    played_as: str = ""
    is_free: bool = True

    @property
    def in_one_go(self) -> bool:
        """True if a trial is never paused: it is trained to its end, or stopped for good."""
        return not (self.in_generations or (self.rungs != "never" and not self.at_reports))

    def has_rungs(self, max_resource: int | None) -> bool:
        """True if trials are compared at rungs in a study with this `max_resource`."""
        return self.rungs == "always" or (self.rungs == "with max_resource" and max_resource is not None)


_RUNGS = ("min_resource", "reduction_factor")
_POPULATION = ("population_size",)
_SEVERAL = "with several use tpe, gp, nsga2, nsga3, qmc or random"

# Messages list the names in the order of the rows.
SAMPLERS: Mapping[str, SamplerTraits] = {
    row.name: row
    for row in (
        SamplerTraits("grid", "the next point of the grid", is_blind=True, is_cheap=True, lists_all=True),
        SamplerTraits("random", "drawn at random", is_blind=True, is_cheap=True),
        SamplerTraits("qmc", "the next point of a Sobol sequence", is_blind=True, is_cheap=True),
        SamplerTraits("tpe", "proposed by TPE", keys=("startup_trials",)),
        SamplerTraits(
            "cmaes",
            "proposed by CMA-ES",
            keys=_POPULATION,
            by_generations=True,
            instead_of_numbers="use tpe, gp, nsga2, qmc, random or grid",
            instead_of_one_objective=_SEVERAL,
        ),
        SamplerTraits(
            "gp",
            "proposed by a Gaussian process",
            keys=("startup_trials",),
            completed_only=True,
            package="torch",
            package_hint="gp needs PyTorch wherever waves are planned, on the login node and in jobs; "
            "install torch there, or use tpe",
        ),
        SamplerTraits("nsga2", "proposed by NSGA-II", keys=_POPULATION, by_generations=True),
        SamplerTraits("nsga3", "proposed by NSGA-III", keys=_POPULATION, by_generations=True),
        SamplerTraits(
            "auto",
            "proposed by a Gaussian process, by TPE, or at random",
            keys=("startup_trials",),
            pruner="auto",
            is_free=False,
            over_rungs="gp",
        ),
    )
}

PRUNERS: Mapping[str, PrunerTraits] = {
    row.name: row
    for row in (
        PrunerTraits("none", sampler=""),
        PrunerTraits("asha", "random", keys=(*_RUNGS, "compare_by"), rungs="always", promotes_any_time=True),
        PrunerTraits("asha_stopping", "random", keys=(*_RUNGS, "compare_by"), rungs="always", at_reports=True),
        PrunerTraits("successive_halving", "random", keys=(*_RUNGS, "compare_by"), rungs="always", by_rungs=True),
        PrunerTraits("hyperband", "random", keys=(*_RUNGS, "compare_by", "brackets"), rungs="always", by_rungs=True),
        PrunerTraits("median", "tpe", keys=("compare_by", "warmup_steps", "warmup_trials"), at_reports=True),
        PrunerTraits(
            "percentile",
            "tpe",
            keys=("compare_by", "percentile", "warmup_steps", "warmup_trials"),
            at_reports=True,
            percentile=25.0,
        ),
        PrunerTraits(
            "wilcoxon", "tpe", keys=("compare_by", "p_value", "warmup_steps"), at_reports=True, one_number=True
        ),
        PrunerTraits(
            "threshold",
            "tpe",
            keys=("compare_by", "lower", "upper", "warmup_steps"),
            needs=(Need("upper", "threshold stops what is above it", "or set search.lower", other="lower"),),
            at_reports=True,
            one_number=True,
            first_objective=True,
        ),
        PrunerTraits(
            "patient",
            "tpe",
            keys=("compare_by", "warmup_steps"),
            needs=(Need("patience", "patient stops a trial that has not improved in this number of reports"),),
            at_reports=True,
            one_number=True,
        ),
        PrunerTraits(
            "pbt",
            "random",
            keys=(
                *_POPULATION,
                "compare_by",
                "perturbation_interval",
                "quantile",
                "resample_probability",
                "perturb_factors",
            ),
            needs=(
                Need("population_size", "pbt needs it: the number of models that are trained in parallel"),
                Need("max_resource", "pbt needs it: the step at which training ends"),
                Need(
                    "perturbation_interval",
                    "pbt needs it: the number of steps after which the worst become copies of the best",
                ),
            ),
            in_generations=True,
        ),
        PrunerTraits(
            "auto",
            "auto",
            keys=_RUNGS,
            rungs="with max_resource",
            promotes_any_time=True,
            # its rungs are those of asha as long as early results predict late ones; otherwise it has fewer
            played_as="asha",
            is_free=False,
        ),
    )
}

#: The pairs of the algorithms that are named after neither their sampler nor their pruner.
PAIRS: Mapping[str, tuple[str, str]] = {"bohb": ("tpe", "hyperband")}

DEFAULT = "auto"
DEFAULT_SAMPLER = "tpe"
DEFAULT_PRUNER = "none"
#: The stopping rule of a study that has `search.patience` and no pruner.
PATIENCE_RULE = "patient"
#: The sampler that a forecast simulates instead of one that is not cheap.
CHEAPEST = "random"


def pair_of(algorithm: str) -> tuple[str, str]:
    """Returns the sampler and the pruner of the algorithm with that name. Raises KeyError if there is none."""
    if sampler := SAMPLERS.get(algorithm):
        return algorithm, sampler.pruner
    if (pruner := PRUNERS.get(algorithm)) and pruner.sampler:
        return pruner.sampler, algorithm
    return PAIRS[algorithm]


def sampler_names() -> tuple[str, ...]:
    """Returns the allowed values of `search.sampler`."""
    return tuple(row.name for row in SAMPLERS.values() if row.is_free)


def pruner_names() -> tuple[str, ...]:
    """Returns the allowed values of `search.pruner`."""
    return (DEFAULT_PRUNER, *sorted(row.name for row in PRUNERS.values() if row.is_free and row.name != DEFAULT_PRUNER))


def algorithm_names() -> tuple[str, ...]:
    """Returns the allowed values of `search.algorithm`."""
    pruners = (row.name for row in PRUNERS.values() if row.sampler and row.name not in SAMPLERS)
    return (DEFAULT, *sampler_names(), *sorted((*pruners, *PAIRS)))


def without_stages(sampler: SamplerTraits, pruner: PrunerTraits) -> str:
    """Returns the keys of `search` that compare trials at the same rungs and never pause one, as YAML.

    "" if no other algorithm stands for this one: a population continues from the checkpoints of its best members.
    """
    if pruner.in_generations:
        return ""
    stopping = PRUNERS["asha_stopping"]
    is_whole = sampler.name == stopping.sampler or not sampler.is_free
    return f"algorithm: {stopping.name}" if is_whole else f"sampler: {sampler.name}, pruner: {stopping.name}"


def self_ending() -> tuple[str, ...]:
    """Returns the names of the samplers and pruners that end a study by themselves."""
    samplers = (row.name for row in SAMPLERS.values() if row.lists_all)
    return (*samplers, *(row.name for row in PRUNERS.values() if row.in_generations))


def users(key: str) -> tuple[str, ...]:
    """Returns the names of the samplers and pruners that read this key of `search`."""
    return tuple(row.name for rows in (SAMPLERS, PRUNERS) for row in rows.values() if key in row.keys)


def refusals(sampler: SamplerTraits, n_objectives: int, *, has_numbers: bool) -> Iterator[tuple[str, str]]:
    """Yields why the sampler cannot search for `n_objectives`, or without numeric parameters, each with a hint."""
    if sampler.instead_of_one_objective and n_objectives > 1:
        yield f"{sampler.name} supports only one objective", sampler.instead_of_one_objective
    if sampler.instead_of_numbers and not has_numbers:
        what = f"{sampler.name} needs numeric parameters (float or int, outside conditionals), and there are none"
        yield what, sampler.instead_of_numbers
