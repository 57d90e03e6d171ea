"""What a study file says of its space beyond single parameters: conditions in conditions, what is forbidden, limits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hposlurm.spec import dump, parse
from hposlurm.trial import Params
from tests.conftest import examples
from tests.spec.data import changed, data, problems_of

NESTED = [
    {
        "if": 'optimizer == "sgd"',
        "then": {"momentum": {"type": "float", "min": 0.8, "max": 0.99}},
        "conditionals": [
            {
                "if": "bs > 4",
                "then": {"nesterov": {"choices": [True, False]}},
                "conditionals": [{"if": "nesterov", "then": {"damping": {"type": "int", "min": 1, "max": 3}}}],
            }
        ],
    }
]
BY_NAMES = [
    {"if": 'optimizer == "sgd"', "then": NESTED[0]["then"]},
    {"if": "momentum > 0 and bs > 4", "then": {"nesterov": {"choices": [True, False]}}},
    {"if": "nesterov", "then": {"damping": {"type": "int", "min": 1, "max": 3}}},
]
FULL = {"lr": 1e-5, "bs": 8, "wd": 0.0, "optimizer": "sgd", "momentum": 0.9, "nesterov": True, "damping": 2}


def without(*names: str, **values: Any) -> Params:
    return {name: value for name, value in {**FULL, **values}.items() if name not in names}


@pytest.mark.parametrize("conditionals", [NESTED, BY_NAMES], ids=["within each other", "by names"])
def test_conditions_three_deep(conditionals: list[Any]) -> None:
    space = parse(changed(conditionals=conditionals), "x").space
    assert space.contains(FULL)
    assert space.contains(without("damping", nesterov=False))
    assert space.contains(without("damping", "nesterov", bs=2))
    assert space.contains(without("damping", "nesterov", "momentum", optimizer="adamw"))
    assert not space.contains(without("damping", "momentum", optimizer="adamw"))
    assert not space.contains(without("damping"))
    assert not space.contains(without("momentum"))


def test_problems_within_nested_conditionals_have_their_path() -> None:
    inner = {"if": "momentun > 1", "then": {"a": {"type": "float", "min": 2, "max": 1}, "b": {"type": "flaot"}}}
    study = changed(conditionals=[{**BY_NAMES[0], "conditionals": [inner]}])
    assert [problem.split(": ")[0] for problem in problems_of(study)] == [
        "conditionals.0.conditionals.0.if",
        "conditionals.0.conditionals.0.then.a.min",
        "conditionals.0.conditionals.0.then.b.type",
    ]


def test_conditionals_nest_only_so_deep() -> None:
    entry: dict[str, Any] = {"if": "bs > 1", "then": {"p12": {"choices": [1]}}}
    for level in range(11, 0, -1):
        entry = {"if": "bs > 1", "then": {f"p{level}": {"choices": [1]}}, "conditionals": [entry]}
    assert any(
        "is nested too deeply: at most 10 levels" in problem for problem in problems_of(changed(conditionals=[entry]))
    )


@pytest.mark.parametrize(
    "clause", ["optimizer == 'sgd' and bs > 4", {"optimizer": "sgd", "bs": 8}], ids=["expression", "mapping"]
)
def test_what_is_forbidden_is_no_configuration(clause: object) -> None:
    space = parse(changed(forbidden=[clause], constraints=[]), "x").space
    both = {"lr": 1e-5, "wd": 0.0, "bs": 8, "optimizer": "sgd", "momentum": 0.9}
    assert space.contains(both) and not space.is_feasible(both)
    assert space.is_feasible({**both, "bs": 3}) and space.is_feasible({**both, "optimizer": "adamw"})


def test_a_clause_on_an_inactive_parameter_forbids_nothing() -> None:
    space = parse(changed(forbidden=["momentum > 0.9 and lr > 0"]), "x").space
    assert space.is_feasible({"lr": 1e-5, "wd": 0.0, "bs": 8, "optimizer": "adamw"})


BAD = {
    "forbidden name": (
        {"forbidden": [{"optimiser": "sgd"}]},
        "forbidden.0.optimiser: optimiser is not a parameter (did you mean optimizer?)",
    ),
    "forbidden value": (
        {"forbidden": [{"optimizer": "sdg"}]},
        "forbidden.0.optimizer: 'sdg' is not one of the choices: 'adamw', 'sgd'",
    ),
    "forbidden list": ({"forbidden": [[1]]}, "forbidden.0: must be a forbidden combination, such as"),
    "never true": ({"forbidden": ["optimizer == 'sgdd'"]}, "forbidden.0: \"optimizer == 'sgdd'\" is never true ("),
    "forbidden metric": (
        {"forbidden": ["eval_loss > 3"]},
        "forbidden.0: eval_loss in 'eval_loss > 3' is a metric, known only after a trial has run "
        "(use it in constraints)",
    ),
    "defaults forbidden": (
        {"forbidden": [{"optimizer": "adamw"}]},
        "forbidden.0: \"optimizer == 'adamw'\" is true for the default values, which form the first trial: ",
    ),
    "misspelt metric": (
        {"constraints": ["peak_gpu_bg <= 30"]},
        "constraints.0: peak_gpu_bg in 'peak_gpu_bg <= 30' is neither a parameter, a fact of the resources nor "
        "a metric (did you mean peak_gpu_gb?)",
    ),
    "undeclared metric": (
        {"constraints": ["zq <= 30"]},
        "constraints.0: zq in 'zq <= 30' is neither a parameter, a fact of the resources nor a metric "
        "(if training reports it, declare it: metrics: [zq])",
    ),
    "metric that is no name": (
        {"constraints": ["eval/acc <= 30"], "metrics": ["eval/acc", "eval"]},
        "constraints.0: acc in 'eval/acc <= 30' is neither a parameter, a fact of the resources nor a metric "
        "(write eval__acc for eval/acc)",
    ),
    "metric that is a fact": (
        {"metrics": ["gpus"]},
        "metrics.0: gpus is a fact of the resources or of the command, not a metric",
    ),
    "metric with a blank": ({"metrics": ["a b"]}, "metrics.0: must be a metric name"),
    "enqueue name": (
        {"search__enqueue": [{"lrr": 1}]},
        "search.enqueue.0.lrr: lrr is not a parameter (did you mean lr?)",
    ),
    "enqueue range": (
        {"search__enqueue": [{"bs": 2}, {"lr": 1.0}]},
        "search.enqueue.1.lr: 1.0 is outside the range: numbers from 5e-06 to 0.0002",
    ),
    "enqueue twice": (
        {"search__enqueue": [{"bs": 2}, {"bs": 2}]},
        "search.enqueue.1: is the same configuration as search.enqueue.0",
    ),
    "enqueue inactive": (
        {"search__enqueue": [{"optimizer": "adamw", "momentum": 0.9}]},
        'search.enqueue.0.momentum: momentum is inactive here: optimizer == "sgd" is false (remove it)',
    ),
    "enqueue against a constraint": (
        {"search__enqueue": [{"bs": 8}], "constraints": ["bs < gpus * 3"]},
        "search.enqueue.0: breaks 'bs < gpus * 3': bs is 8, gpus is 2",
    ),
    "more enqueued than trials": (
        {"search__enqueue": [{"bs": 1}, {"bs": 2}], "budget__n_trials": 1},
        "search.enqueue: has 2 configurations, but budget.n_trials is 1 (raise it, or remove some)",
    ),
    "enqueue no mapping": ({"search__enqueue": ["x"]}, "search.enqueue.0: must be a mapping such as"),
    "two sources in one": (
        {"search__warm_start": [{"study": "a", "csv": "b"}]},
        "search.warm_start.0: must name either a study or a csv",
    ),
    "unknown key of a source": (
        {"search__warm_start": [{"study": "a", "bset": 3}]},
        "search.warm_start.0.bset: unknown key 'bset' (did you mean best?)",
    ),
    "terminator": (
        {"budget__terminator": -1, "objectives": [{"name": "loss"}]},
        "budget.terminator: must be true, false, or the noise of an evaluation (a number above 0), not -1",
    ),
    "terminator of two objectives": ({"budget__terminator": True}, "budget.terminator: works only with one objective"),
    "target alone": (
        {"budget": {"target": 0.1}},
        "budget.n_trials: is missing; only search.algorithm: grid and pbt end by themselves (a target may never",
    ),
}


@pytest.mark.parametrize(("changes", "line"), BAD.values(), ids=BAD.keys())
def test_each_problem_is_reported_clearly_and_only_once(changes: dict[str, Any], line: str) -> None:
    (problem,) = problems_of(changed(**changes))
    assert problem.startswith(line)


def test_an_enqueued_value_may_wait_for_what_its_entry_leaves_open() -> None:
    spec = parse(changed(search__enqueue=[{"momentum": 0.9}, {"optimizer": "sgd", "momentum": 0.8}]), "x")
    assert [dict(entry) for entry in spec.search.enqueue] == [{"momentum": 0.9}, {"optimizer": "sgd", "momentum": 0.8}]


def test_a_metric_is_known_by_the_workers_the_objectives_the_pattern_or_by_declaration() -> None:
    texts = ["peak_gpu_gb <= 30", "f1 > 0.1", "grad_norm < bs * 100", "eval_loss < 9", "bs < 8"]
    spec = parse(changed(constraints=texts, metrics=["grad_norm"]), "x")
    assert [limit.text for limit in spec.limits.expressions] == texts[:4]
    assert [constraint.text for constraint in spec.space.constraints] == ["bs < 8"]


VALUES = st.fixed_dictionaries(
    {}, optional={"lr": st.floats(5e-6, 2e-4), "bs": st.integers(1, 8), "wd": st.sampled_from([0.0, 0.01])}
)


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
@given(
    queue=st.lists(VALUES, max_size=3, unique_by=lambda entry: tuple(sorted(entry.items()))),
    target=st.none() | st.floats(-1e9, 1e9),
    noise=st.sampled_from([True, False]) | st.floats(1e-9, 1e9),
    best=st.none() | st.integers(1, 99),
)
def test_what_was_dumped_is_read_back_equal(
    queue: list[Any], target: float | None, noise: float, best: int | None
) -> None:
    study = changed(
        objectives=[{"name": "loss"}],
        conditionals=NESTED,
        forbidden=["bs > 7 and lr > 1", {"wd": 0.01, "optimizer": "sgd"}],
        constraints=["loss < 3"],
        search__enqueue=queue,
        search__warm_start=["/a", {"study": "b", "best": best}, {"csv": "c.csv"}],
        budget__target=target,
        budget__terminator=noise,
    )
    spec = parse(study, "x")
    again = parse(data(dump(spec)), "x")
    assert again == spec and again.space == spec.space and dump(again) == dump(spec)
