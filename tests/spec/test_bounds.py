"""Whatever is in a study file, its check takes seconds and megabytes, and a limit that ends it is named."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hposlurm.errors import MOST_PROBLEMS, SpecError
from hposlurm.spec import document, load, parse
from hposlurm.spec.bounds import MOST_CHOICES
from tests.spec.data import VALID, changed, problems_of

_HANGS_S = 120  # a check that takes this long would take for ever; each of these takes about a second


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError("the check hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_HANGS_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("path", "value", "most"),
    [
        ("budget.n_trials", 99999999999999, 1_000_000),
        ("waves.size", 99999999, 10_000),
        ("waves.max_concurrent", 99999999, 10_000),
        ("search.population_size", 99999999, 10_000),
        ("search.max_resource", 10**15, 1_000_000_000),
        ("trial.retries", 10**9, 10_000),
        ("resources.gpus_per_node", 10**6, 1_000),
    ],
)
def test_a_number_above_its_limit_is_refused_with_the_limit(path: str, value: int, most: int) -> None:
    assert f"{path}: must be at most {most}, not {value}" in problems_of(changed(**{path.replace(".", "__"): value}))


def test_a_number_of_a_thousand_digits_is_not_written_out() -> None:
    (problem,) = problems_of(changed(budget__n_trials=10**1000))
    assert problem == "budget.n_trials: must be at most 1000000, not a number of more than 64 bits"
    (problem,) = problems_of(changed(search__seed=10**1000))
    assert problem.startswith("search.seed: must be ") and len(problem) < 100
    (problem,) = problems_of(changed(parameters__bs={"choices": [1, 10**1000]}))
    assert problem.startswith("parameters.bs.choices.1: must be a whole number of at most 1000 bits")


@pytest.mark.parametrize(
    ("path", "value", "most"),
    [
        ("parameters", {f"p{i}": {"choices": [1]} for i in range(501)}, 500),
        ("parameters.bs.choices", list(range(MOST_CHOICES + 1)), MOST_CHOICES),
        ("constraints", ["bs > 0"] * 501, 500),
        ("forbidden", ["bs > 9"] * 501, 500),
        ("search.enqueue", [{"bs": 1}] * 1001, 1000),
        ("objectives", [{"name": f"o{i}"} for i in range(21)], 20),
        ("slurm.setup", ["true"] * 1001, 1000),
    ],
)
def test_a_long_list_is_refused_with_its_limit(path: str, value: Any, most: int) -> None:
    study = changed(parameters__bs={"choices": [1, 2]})
    problem = next(p for p in problems_of(_with(study, path, value)) if p.startswith(f"{path}: "))
    assert f"has {len(value)} entries; at most {most} are allowed" in problem


def _with(study: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *parents, last = path.split(".")
    target = study
    for key in parents:
        target = target[key]
    target[last] = value
    return study


def test_a_population_in_endless_generations_is_refused() -> None:
    search = {"algorithm": "pbt", "population_size": 4, "perturbation_interval": 1, "max_resource": 10**8}
    (problem,) = problems_of(changed(search=search, parameters__bs={"choices": [1], "mutable": True}))
    assert problem.endswith("into more than 10000 generations (at least 10000)")


def test_many_conditionals_are_refused() -> None:
    conditionals = [{"if": "bs > 1", "then": {f"c{i}": {"choices": [1]}}} for i in range(300)]
    assert problems_of(changed(conditionals=conditionals)) == [
        "conditionals: has more than 500 conditionals and parameters in them; that is the limit"
    ]


def test_long_expressions_are_limited_in_total() -> None:
    study = changed(constraints=[" and ".join(["bs > 0"] * 150) + f" or bs > -{i}" for i in range(20)])
    assert problems_of(study) == [
        "constraints.10: the expressions up to this one have more than 5000 names, numbers and operators in total "
        "(that is the limit; use fewer or shorter ones)"
    ]


def test_as_much_as_the_limits_allow_is_checked() -> None:
    parse(changed(parameters__bs={"choices": list(range(MOST_CHOICES))}, constraints=[]), "x")
    entries = ", ".join(str(i) for i in range(400))
    parse(changed(parameters__bs={"type": "int", "min": 0, "max": 10**9}, constraints=[f"bs not in [{entries}]"]), "x")
    many = {f"p{i}": {"choices": [1, 2]} for i in range(490)}
    parse(changed(parameters=many, constraints=[f"p{i} < p{i + 1} or p{i} == 1" for i in range(480)], **_PLAIN), "x")


_ONE = [{"name": "eval_loss"}]
_PLAIN = {"conditionals": [], "trial__command": "train {{ flags }}", "trial__deepspeed": ...}


def test_a_list_after_in_is_looked_up_once_whatever_its_length() -> None:
    from hposlurm.space.expressions import parse as parse_expression

    long = parse_expression(f"bs in [{', '.join(map(str, range(400)))}] or opt not in ['a', 'b', true, -1]")
    assert [long.evaluate({"bs": b, "opt": "a"}) for b in (0, 399, 1.0, True, 400, "0")] == [True] * 4 + [False] * 2
    assert [long.evaluate({"bs": -1, "opt": o}) for o in ("a", "c", -1, 1, None)] == [False, True, False, False, True]
    assert parse_expression("bs in [lr, 2]").evaluate({"bs": 3, "lr": 3}) is True


def test_a_count_ends_early_where_a_configuration_takes_long_to_check() -> None:
    from hposlurm.space import CategoricalParameter, SearchSpace
    from hposlurm.space.expressions import parse as parse_expression

    parameters = tuple(CategoricalParameter(f"p{i}", (1, 2)) for i in range(20))
    counted: list[int] = []

    class Counting(SearchSpace):
        def _violation(self, constraint: Any, params: Any) -> float:
            counted.append(1)
            return super()._violation(constraint, params)

    space = Counting(parameters, (parse_expression(" and ".join(["p19 > 5"] * 150)),))
    assert space.cardinality(100) is None and len(counted) < 5_000
    assert SearchSpace(tuple(CategoricalParameter(f"p{i}", (1,)) for i in range(3000))).cardinality(9) == 1


def test_nested_conditions_have_the_limits_of_one_expression() -> None:
    conditionals: list[Any] = []
    for i in range(9):
        inner = {"if": " and ".join(["bs > 0"] * 90), "then": {f"c{i}": {"choices": [1]}}}
        conditionals = [{**inner, "conditionals": conditionals}]
    found = problems_of(changed(conditionals=conditionals, trial__command="train {{ flags }}", trial__deepspeed=...))
    assert found and all("together with the conditions around it: an expression has at most 2000" in p for p in found)


def test_a_forbidden_clause_has_room_for_its_negation() -> None:
    (problem,) = problems_of(changed(forbidden=["not " * 48 + "bs > 0"]))
    assert problem == "forbidden.0: together with the `not (…)` around it: nested too deeply: at most 50 levels"


def test_only_the_first_hundred_problems_are_looked_for() -> None:
    trial = {"command": "true", **{f"k{i}": 1 for i in range(30_000)}}
    with pytest.raises(SpecError) as caught:
        parse(changed(trial=trial), "study.yaml")
    assert len(caught.value.problems) == MOST_PROBLEMS
    assert str(caught.value).splitlines()[0] == "study.yaml: more than 100 problems"
    assert str(caught.value).splitlines()[-1] == "  …"
    many = {f"wrong{i}": 1 for i in range(20_000)}
    assert len(problems_of(changed(search__enqueue=[many]))) == MOST_PROBLEMS


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    with large.open("wb") as file:
        file.write(VALID.encode())
        file.truncate(2**40)
    template = tmp_path / "large.j2"
    template.symlink_to(large)
    _, problems = document.read(large)
    assert str(problems[0]) == f"{large} cannot be read: it is too large; a study file has at most 500,000 bytes"
    assert "is too large: at most 100000 characters" in problems_of(changed(slurm__template=str(template)))[0]


@pytest.mark.parametrize("path", ["/dev/zero", "pipe"])
def test_a_template_that_is_no_regular_file_is_not_read(path: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in problems_of(changed(slurm__template=str(tmp_path / path)))[0]


def test_a_study_file_without_an_end_is_read_up_to_the_limit(tmp_path: Path) -> None:
    endless = Path("/dev/zero")
    for read in (lambda: load(endless), lambda: load(_valid(tmp_path), overlays=[endless], search_space=endless)):
        with pytest.raises(SpecError, match="is too large; a study file has at most 500,000 bytes"):
            read()


def _valid(directory: Path) -> Path:
    (directory / "study.yaml").write_text(VALID)
    return directory / "study.yaml"


@pytest.mark.parametrize(
    "text",
    [
        "b0: &b0 [1, 1]\n" + "\n".join(f"b{i + 1}: &b{i + 1} [*b{i}, *b{i}]" for i in range(60)),
        "[" * 100_000,
        "{a: " * 100_000,
        "- " * 100_000,
        "a: &x {<<: *x}",
        "a: " + "9" * 400_000,
        "a: " + "[" + "1," * 200_000 + "]",
        "'" + "a" * 400_000,
        "? " * 50_000,
        "&a " * 1000 + "x",
        "a: !!python/object/apply:os.system [id]",
    ],
    ids=range(11),
)
def test_yaml_of_any_shape_is_answered(text: str) -> None:
    value, problems = document.parse_text(text)
    assert problems or value


def test_an_older_frozen_study_is_read_whatever_the_limits_are() -> None:
    study = changed(budget__n_trials=10**9, waves__size=50_000, constraints=[" and ".join(["bs > 0"] * 150)] * 20)
    assert parse(study, "x", frozen=True).budget.n_trials == 10**9


@pytest.mark.parametrize("algorithm", ["successive_halving", "hyperband", "bohb", "asha", "auto"])
def test_a_search_with_very_many_trials_is_estimated(algorithm: str) -> None:
    from hposlurm.report.launch_text import training_lines

    search = {"algorithm": algorithm, "min_resource": 1, "max_resource": 10**9, "reduction_factor": 2}
    spec = parse(changed(search=search, budget__n_trials=1_000_000, waves={}, objectives=_ONE), "x")
    assert any("1,000,000 trials" in line for line in training_lines(spec))


def test_a_long_command_is_tried_out_with_fewer_configurations(monkeypatch: pytest.MonkeyPatch) -> None:
    from hposlurm.render import trial

    rendered: list[str] = []
    original = trial.command_line
    monkeypatch.setattr(trial, "command_line", lambda text, *rest: rendered.append(text) or original(text, *rest))
    parse(changed(**{**_PLAIN, "trial__command": "a b; " * 15_000 + "train {{ flags }}"}), "x")
    assert len(rendered) == 13
