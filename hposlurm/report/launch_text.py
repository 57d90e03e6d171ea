"""Describes what a study would train and cost, before its launch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hposlurm.decisions import Population, is_refill, population_of, trials_wanted
from hposlurm.decisions.cost import Cost, CostQuestion, disk_gb
from hposlurm.decisions.forecast import Startup
from hposlurm.report.numbers import counted, duration, size_text
from hposlurm.search import SearchProblem
from hposlurm.search.estimate import Training, training

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

_SHORT = 0.1  # of resources.time: nobody asks for a job that is ten times as long as what it may run
_RANGES = {
    "order": "the fewest if the best trials come first, the most if each is better than all before it",
    "prediction": "the fewest if early values predict late ones well, the most, all of every trial, if they do not",
}
_DRIVERS = {
    "planner": "after each wave a planner job submits the next one",
    "chain": "all waves are submitted at launch; jobs submit nothing",
    "foreground": "`hposlurm launch` keeps running and submits each wave; jobs submit nothing",
}


def cost_line(spec: StudySpec, cost: Cost) -> str:
    """Returns the cost of the study, of its first wave and of one trial, in one line."""
    if not cost.trial:
        return "cost: no GPU hours"
    resources = spec.resources
    minutes = sum(minutes for _, minutes in cost.stages) or resources.time_min
    one = f"one trial: {resources.facts['gpus']} GPUs for up to {minutes} min = {_hours(cost.trial)}"
    return f"cost: {_bound(cost)}; wave 0: {_hours(cost.first_wave)} ({one})"


def time_line(spec: StudySpec, cost: Cost) -> str:
    """Returns the time limits of jobs that each train one stage of a trial; "" if one job trains all of it."""
    if not cost.stages:
        return ""
    steps = ", ".join(f"{step}: {minutes}" for step, minutes in cost.stages)
    return f"time limits: minutes of a job up to step {steps} (of {spec.resources.time_min} for a whole training)"


def limits_line(spec: StudySpec) -> str:
    """Returns the limits of time with their units."""
    timeout_s, wall_min = spec.trial.timeout_s, spec.budget.wall_time_min
    found = [f"a job {duration(spec.resources.time_min * 60)}"]
    found += [] if timeout_s is None else [f"a command {duration(timeout_s)}"]
    found += [] if wall_min is None else [f"the study {duration(wall_min * 60)}"]
    return f"times at most: {', '.join(found)}"


def time_notes(spec: StudySpec) -> Iterator[str]:
    """Yields a note for each limit that is much shorter than the time limit of one job: it may have another unit."""
    if "time_min" not in spec.resources.model_fields_set:
        return
    whole_s, wall_min = spec.resources.time_min * 60, spec.budget.wall_time_min
    wall_s = None if wall_min is None else wall_min * 60
    for key, limit_s, unit in (
        ("trial.timeout", spec.trial.timeout_s, "seconds"),
        ("budget.wall_time", wall_s, "minutes"),
    ):
        if limit_s is not None and limit_s < _SHORT * whole_s:
            yield (
                f"{key} is {duration(limit_s)}, less than a tenth of resources.time ({duration(whole_s)}); a plain "
                f"number there means {unit}, so write the unit: 30m, 2h, 1d"
            )


def question_text(question: CostQuestion) -> str:
    """Returns why a confirmation is needed."""
    what = f"{question.study} may cost {_bound(question.cost)}"
    return f"{what}; more than {_hours(question.limit)} need a confirmation"


def refusal_text(question: CostQuestion) -> str:
    """Returns the question, and what to do where no terminal can answer it."""
    enough = question.limit >= question.cost.trial
    bound = f"bound it with --set budget.gpu_hours={question.limit:g}"
    smaller = bound if enough else "make it smaller (resources.time)"
    return f"{question_text(question)}: launch it with --yes, or {smaller}"


def _bound(cost: Cost) -> str:
    if cost.study is None:
        return "any number of GPU hours (no budget bounds them)"
    return f"at most {_hours(cost.study)} GPU hours"


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 1000 else f"{hours:.3g}"


def disk_line(spec: StudySpec, first_wave: int) -> str:
    """Returns in one line how much disk space checkpoints may use."""
    trial = spec.trial
    if trial.checkpoint_gb is None:
        return "disk: unknown; set trial.checkpoint_gb to the space that all checkpoints of one trial use"
    at_most = disk_gb(spec, first_wave)
    one = f"{size_text(trial.checkpoint_gb * 1e9)} a trial"
    if at_most is None:
        bound = "trial.keep_checkpoints" if trial.keep_checkpoints is None else "budget.n_trials"
        return f"disk: {one}, and no budget bounds the number of trials; set {bound} to bound it"
    kept = "all trials' checkpoints are kept"
    if trial.keep_checkpoints is not None:
        kept = "as trial.keep_checkpoints says" + (", once a wave of many has ended" if is_refill(spec) else "")
    return f"disk: at most {size_text(at_most * 1e9)} of checkpoints ({one}, {kept})"


def driver_line(spec: StudySpec) -> str:
    """Returns how the waves after the first one are submitted, for a study on a cluster."""
    return f"driver: {spec.slurm.driver}: {_DRIVERS[spec.slurm.driver]}"


def points_line(spec: StudySpec, forecast: Startup) -> str:
    """Returns how many points are random before a model proposes; "" if none or all are, which is a note."""
    if not forecast.random or forecast.is_all:
        return ""
    count = f"{forecast.random:,}" if forecast.trials is None else f"{forecast.random:,} of {forecast.trials:,}"
    what = f"search.startup_trials {spec.search.startup_trials}, and those that start before these have ended"
    return f"points: about the first {count} at random ({what}), then {spec.search.sampler_traits.origin}"


def training_lines(spec: StudySpec, at_once: int = 1) -> Iterator[str]:
    """Yields the rungs or the population, and the training; nothing if the length of a training is unknown.

    `at_once` is how many trials run at the same time.
    """
    n_trials = trials_wanted(spec)
    problem = SearchProblem(spec.space, spec.search, spec.objectives, spec.budget.n_trials)
    found = training(problem, n_trials or 0, at_once)
    if found is None:
        return
    if len(found.levels) > 1:
        rungs = ", ".join(map(str, found.levels))
        yield f"rungs: {rungs} ({spec.search.name}, reduction_factor {spec.search.reduction_factor})"
    if population := population_of(spec):
        yield _population_line(population)
    if n_trials is not None:
        yield _amount(found, n_trials or 0)


def _population_line(population: Population) -> str:
    ends, copies = ", ".join(map(str, population.ends)), population.trials - population.members
    return (
        f"population: {population.members} members, {counted(len(population.ends), 'generation')} to the steps {ends}: "
        f"{population.jobs} jobs; {population.trials} trials, {copies} of them copies, if none fails"
    )


def _amount(found: Training, n_trials: int) -> str:
    is_range = found.most_steps is not None and found.most_steps > found.steps
    if is_range:
        most = (found.most_steps or 0) / found.levels[-1]
        line = f"training: {found.steps:,} to {found.most_steps:,} steps, {found.trainings:,.4g} to {most:,.4g} full "
        line += f"trainings of {found.levels[-1]}: {_RANGES[found.decided_by]}"
        line += f"; about {found.likely_steps:,} steps if they come in no order" if found.likely_steps else ""
    else:
        steps = f"{found.steps:,} step{'' if found.steps == 1 else 's'}"
        line = f"training: {'at most ' if found.surety == 'at most' else ''}{steps}"
        line += f", {found.trainings:,.4g} full training{'' if found.trainings == 1 else 's'} of {found.levels[-1]}"
    if len(found.levels) > 1:
        got = ", ".join(f"{count:,} to {level}" for level, count in zip(found.levels, found.counts, strict=True))
        line += f" (of {n_trials:,} trials; {'at least ' if is_range else ''}{got})"
    return line
