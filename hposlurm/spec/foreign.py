"""The words of other tools (W&B, Ray Tune, Optuna, NNI, Hydra, Slurm), and what they are called here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_DIRECTION = "objectives: [{name: …, direction: minimize}]"
_PRUNERS = "search.algorithm: asha_stopping, median, asha or hyperband"
_DEFINITION: Mapping[str, str] = {
    **dict.fromkeys(("values", "options", "categories", "space"), "choices"),
    **dict.fromkeys(("value", "const", "constant"), "choices with one value"),
    **dict.fromkeys(("low", "lower", "from", "minimum"), "min"),
    **dict.fromkeys(("high", "upper", "to", "maximum"), "max"),
    **dict.fromkeys(("distribution", "dist", "prior", "_type"), "type: float or int, with log: true"),
    **dict.fromkeys(("bounds", "range", "_value"), "min and max, or choices"),
    **dict.fromkeys(("log_scale", "logscale", "log_uniform"), "log: true"),
    **dict.fromkeys(("q", "quantization", "granularity"), "step"),
    **dict.fromkeys(("initial", "init", "default_value"), "default"),
    **dict.fromkeys(("mu", "sigma", "mean", "std"), "min and max: there are no normal distributions"),
    "parameters": "names with a dot, such as optimizer.lr: {…}",
}
_KEYS: Mapping[str, Mapping[str, str]] = {
    "": {
        **dict.fromkeys(("metric", "metrics_to_optimize", "objective", "goal", "mode", "direction"), _DIRECTION),
        **dict.fromkeys(("method", "tuner", "strategy", "sweeper"), "search.algorithm"),
        **dict.fromkeys(("early_terminate", "assessor", "scheduler", "early_stopping"), _PRUNERS),
        **dict.fromkeys(("run_cap", "num_samples", "max_trial_number", "max_trials", "trials"), "budget.n_trials"),
        **dict.fromkeys(("trial_concurrency", "max_concurrent_trials", "n_jobs", "parallel"), "waves.max_concurrent"),
        **dict.fromkeys(("program", "script", "trial_command", "cmd"), "trial.command"),
        **dict.fromkeys(("search_space", "space", "params", "hyperparameters"), "parameters"),
        **dict.fromkeys(("project", "entity", "group", "description"), "tags: {key: value}"),
        **dict.fromkeys(("max_experiment_duration", "time_budget_s", "time_budget"), "budget.wall_time"),
        "sbatch": "slurm",
        "cluster": "slurm",
    },
    "objectives.*": {"goal": "direction", "mode": "direction", "metric": "name", "target": "budget.target"},
    "trial": {
        **dict.fromkeys(("cmd", "script", "program"), "command"),
        **dict.fromkeys(("max_retries", "retry"), "retries"),
        **dict.fromkeys(("env", "environment"), "slurm.setup: [export NAME=value]"),
        **dict.fromkeys(("cwd", "chdir", "directory"), "workdir"),
    },
    "budget": {
        **dict.fromkeys(("trials", "max_trials", "num_samples", "run_cap"), "n_trials"),
        **dict.fromkeys(("time", "timeout", "max_time", "hours"), "wall_time"),
    },
    "waves": dict.fromkeys(("concurrency", "parallel", "max_parallel"), "max_concurrent"),
    "resources": {
        **dict.fromkeys(("gpus", "gpu", "num_gpus", "gres"), "gpus_per_node"),
        **dict.fromkeys(("cpus", "cpu", "cores", "num_cpus"), "cpus_per_task"),
        **dict.fromkeys(("mem", "memory", "ram", "memory_gb"), "mem_gb"),
        **dict.fromkeys(("walltime", "time_limit", "timeout", "duration", "hours"), "time"),
    },
    "slurm": dict.fromkeys(("modules", "module", "prolog", "env", "commands"), "setup: [module load …]"),
    "search": {
        **dict.fromkeys(("method", "name", "type"), "algorithm"),
        **dict.fromkeys(("min_iter", "grace_period", "r_min"), "min_resource"),
        **dict.fromkeys(("max_iter", "max_t", "r_max"), "max_resource"),
        **dict.fromkeys(("eta", "factor"), "reduction_factor"),
        **dict.fromkeys(("s",), "brackets"),
        **dict.fromkeys(("n_startup_trials", "random_state_trials", "n_initial_points"), "startup_trials"),
        **dict.fromkeys(("random_state", "random_seed"), "seed"),
        **dict.fromkeys(("points_to_evaluate", "initial_points"), "enqueue"),
    },
}
_VALUES: Mapping[str, str] = {
    **dict.fromkeys(("bayes", "bayesian", "bayesopt", "bo", "bayesian_optimization"), "tpe, gp or auto"),
    **dict.fromkeys(("hyperopt", "optuna", "tpe_sampler", "bohb_search"), "tpe"),
    **dict.fromkeys(("smac", "botorch", "ax", "gp_sampler", "skopt"), "gp or auto"),
    **dict.fromkeys(("evolution", "evolutionary", "anneal", "genetic"), "cmaes or nsga2"),
    **dict.fromkeys(("grid_search", "gridsearch"), "grid"),
    **dict.fromkeys(("random_search", "randomsearch", "uniform"), "random"),
    **dict.fromkeys(("async_hyperband", "asynchyperband", "asha_scheduler", "curvefitting"), "asha or asha_stopping"),
    **dict.fromkeys(("median_stopping", "medianstop", "median_stopping_rule"), "median"),
    **dict.fromkeys(("pb2", "population_based_training"), "pbt"),
    **dict.fromkeys(("min", "minimise", "lower"), "minimize"),
    **dict.fromkeys(("max", "maximise", "higher"), "maximize"),
}
# The distributions of W&B and NNI
_DISTRIBUTIONS: Mapping[str, str] = {
    **dict.fromkeys(("uniform", "quniform", "q_uniform"), "type: float (and step for a q)"),
    **dict.fromkeys(("int_uniform", "randint", "q_int_uniform"), "type: int"),
    **dict.fromkeys(
        ("log_uniform_values", "loguniform", "qloguniform", "q_log_uniform_values"), "type: float (or int), log: true"
    ),
    **dict.fromkeys(
        ("log_uniform", "q_log_uniform"), "type: float, log: true, with min and max themselves, not their logarithms"
    ),
    **dict.fromkeys(
        ("inv_log_uniform", "inv_log_uniform_values"),
        "type: float, log: true of 1 - x: search one_minus_x and write {{ 1 - one_minus_x }}",
    ),
    **dict.fromkeys(("categorical", "choice", "categorical_w_probabilities"), "choices: […]"),
    "constant": "choices with one value",
}


def key_hint(section: str, key: str) -> str:
    """Returns what the `key` of another tool is called here in the section of that pattern; "" if it is not known."""
    words = _DEFINITION if section in ("parameters.*", "conditionals.*.then.*") else _KEYS.get(section, {})
    name = words.get(_plain(key), "")
    return f"here it is called {name}" if name else ""


def value_hint(value: str) -> str:
    """Returns the values that are here what the `value` of another tool is there; "" if it is not known."""
    return _VALUES.get(_plain(value), "")


def distribution_hint(kind: str) -> str:
    """Returns how a parameter of another tool's distribution is defined here; "" if it is not known."""
    found = _DISTRIBUTIONS.get(_plain(kind), "")
    return f"here it is {found}" if found else ""


def definition_hint(definition: Mapping[Any, Any]) -> str:
    """Returns how a parameter that another tool defined without `type` or `choices` is defined here; "" if unknown."""
    kinds = [str(definition.get(key)) for key in ("distribution", "_type")]
    if known := next(filter(None, map(distribution_hint, kinds)), ""):
        return known
    found = [
        f"{key} is called {_DEFINITION[_plain(str(key))]}" for key in definition if _plain(str(key)) in _DEFINITION
    ]
    if found:
        return ", ".join(found[:3])
    ends = [definition.get(key) for key in ("min", "max")]
    if all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends):
        return "add type: int, or type: float" if all(isinstance(end, int) for end in ends) else "add type: float"
    return ""


def _plain(text: str) -> str:
    """Returns maxTrialNumber, max-trial-number and MAX_TRIAL_NUMBER as max_trial_number."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).lower().replace("-", "_")
