"""The one table of algorithms: each fact about a sampler or a pruner that other modules decide by.

An algorithm is a pair of a sampler, which says what points are tried, and a pruner, which says how far each is trained.
What runs them stands in two registries by the same names: `hposlurm.search.sampler.BUILDERS` and
`hposlurm.search.requests.SCHEDULES`. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SamplerTraits:
    """States the facts of one sampler; the defaults are those of a model of the objectives."""

    name: str
    #: Where one of its points comes from, for people.
    origin: str
    #: The keys of `search` that it reads and not every sampler does.
    keys: tuple[str, ...] = ()
    #: Never looks at the value of a trial.
    is_blind: bool = False
    #: Lists every point of the space once, in an order of its own; so the study ends by itself.
    lists_all: bool = False
    #: Learns from a whole generation at once, which a wave has to be.
    by_generations: bool = False
    #: Learns from completed trials only: one that was stopped at a report has to be shown as completed.
    completed_only: bool = False
    #: Costs next to nothing to ask, so that a forecast may play it.
    is_cheap: bool = False
    #: Moves numbers only; what to use where there is none.
    instead_of_numbers: str = ""
    #: Has one objective only; what to use with several.
    instead_of_one_objective: str = ""
    #: The Python package that it needs beside those that hposlurm depends on, and what to do without it.
    package: str = ""
    package_hint: str = ""
    #: The pruner that an algorithm of its name stands for.
    pruner: str = "none"
    #: False for one half of a pair that works with its own other half only.
    is_free: bool = True
    #: The origin, of those that it gives its points, whose model learns from all rungs at once.
    over_rungs: str = ""

    @property
    def has_startup(self) -> bool:
        """Whether its first points are drawn at random."""
        return "startup_trials" in self.keys


@dataclass(frozen=True, slots=True)
class Need:
    """A key of `search` that a pruner cannot do without."""

    key: str
    #: What follows "is missing; ".
    why: str
    hint: str = ""
    #: A key that does instead.
    other: str = ""


@dataclass(frozen=True, slots=True)
class PrunerTraits:
    """States the facts of one pruner; the defaults are those of one that trains every trial to its end."""

    name: str
    #: The sampler that an algorithm of its name stands for; "" if there is no such algorithm.
    sampler: str
    #: The keys of `search` that it reads and not every pruner does.
    keys: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    #: Compares trials at rungs; "with max_resource": where the study file says where the highest one is.
    rungs: Literal["never", "always", "with max_resource"] = "never"
    #: Is asked by the worker at every report (see hposlurm.pruning.RULES), and waits for nobody.
    at_reports: bool = False
    #: Compares a whole generation before anyone goes on, and ends by itself.
    in_generations: bool = False
    #: A wave is a rung, and is decided when everyone in it has got there.
    by_rungs: bool = False
    #: May send a paused trial on at any time, however long ago it was paused.
    promotes_any_time: bool = False
    #: Looks at one number per report, which a comparison by domination does not give.
    one_number: bool = False
    #: Looks at the first objective only.
    first_objective: bool = False
    #: `search.percentile` where it is not given.
    percentile: float = 50.0
    #: The pruner that a forecast plays in its place where it has rungs.
    played_as: str = ""
    is_free: bool = True

    @property
    def in_one_go(self) -> bool:
        """Whether a trial is never paused: it is trained to its end, or stopped for good."""
        return not (self.in_generations or (self.rungs != "never" and not self.at_reports))

    def has_rungs(self, max_resource: int | None) -> bool:
        """True if trials are compared at rungs in a study with this `max_resource`."""
        return self.rungs == "always" or (self.rungs == "with max_resource" and max_resource is not None)


_RUNGS = ("min_resource", "reduction_factor")
_POPULATION = ("population_size",)
_SEVERAL = "with several use tpe, gp, nsga2, nsga3, qmc or random"

# The order of the rows is that in which messages list the names.
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
            package_hint="gp needs PyTorch wherever waves are planned, on the login node as in jobs; "
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
            needs=(Need("patience", "patient stops a trial that has not improved in so many reports"),),
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
                Need("population_size", "pbt needs it: how many models are trained side by side"),
                Need("max_resource", "pbt needs it: the step at which training ends"),
                Need(
                    "perturbation_interval",
                    "pbt needs it: after how many steps the worst become copies of the best",
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
            # its rungs are those of asha while early results predict late ones; otherwise there are fewer
            played_as="asha",
            is_free=False,
        ),
    )
}

#: What an algorithm stands for that is named after neither its sampler nor its pruner.
PAIRS: Mapping[str, tuple[str, str]] = {"bohb": ("tpe", "hyperband")}

DEFAULT = "auto"
DEFAULT_SAMPLER = "tpe"
DEFAULT_PRUNER = "none"
#: The rule that `search.patience` brings without a pruner.
PATIENCE_RULE = "patient"
#: The sampler that a forecast plays in place of one that is not cheap.
CHEAPEST = "random"


def pair_of(algorithm: str) -> tuple[str, str]:
    """Returns the sampler and the pruner that an algorithm of that name stands for; raises KeyError for no such one."""
    if sampler := SAMPLERS.get(algorithm):
        return algorithm, sampler.pruner
    if (pruner := PRUNERS.get(algorithm)) and pruner.sampler:
        return pruner.sampler, algorithm
    return PAIRS[algorithm]


def sampler_names() -> tuple[str, ...]:
    """Returns what `search.sampler` may be."""
    return tuple(row.name for row in SAMPLERS.values() if row.is_free)


def pruner_names() -> tuple[str, ...]:
    """Returns what `search.pruner` may be."""
    return (DEFAULT_PRUNER, *sorted(row.name for row in PRUNERS.values() if row.is_free and row.name != DEFAULT_PRUNER))


def algorithm_names() -> tuple[str, ...]:
    """Returns what `search.algorithm` may be."""
    pruners = (row.name for row in PRUNERS.values() if row.sampler and row.name not in SAMPLERS)
    return (DEFAULT, *sampler_names(), *sorted((*pruners, *PAIRS)))


def self_ending() -> tuple[str, ...]:
    """Returns the names of the samplers and pruners that end a study by themselves."""
    samplers = (row.name for row in SAMPLERS.values() if row.lists_all)
    return (*samplers, *(row.name for row in PRUNERS.values() if row.in_generations))


def users(key: str) -> tuple[str, ...]:
    """Returns the names of the samplers and pruners that read this key of `search`."""
    return tuple(row.name for rows in (SAMPLERS, PRUNERS) for row in rows.values() if key in row.keys)


def refusals(sampler: SamplerTraits, n_objectives: int, *, has_numbers: bool) -> Iterator[tuple[str, str]]:
    """Yields why the sampler cannot search for so many objectives, or without a number; each with what to do."""
    if sampler.instead_of_one_objective and n_objectives > 1:
        yield f"{sampler.name} has one objective only", sampler.instead_of_one_objective
    if sampler.instead_of_numbers and not has_numbers:
        what = f"{sampler.name} moves numbers (float and int parameters outside of conditionals), and there is none"
        yield what, sampler.instead_of_numbers
