"""What is wrong with the other sections of a study file, and in which order problems come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hposlurm.errors import SpecError
from hposlurm.spec import parse
from tests.spec.data import changed, problems_of

# What is wrong → the study, and the start of each line that says so
BAD: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "unknown key": (lambda: changed(serach={"seed": 1}), ["serach: unknown key 'serach' (did you mean search?)"]),
    "unknown key in a section": (
        lambda: changed(search__startup=3),
        ["search.startup: unknown key 'startup' (did you mean startup_trials?)"],
    ),
    "unknown key without resemblance": (
        lambda: changed(search__zzz=3),
        ["search.zzz: unknown key 'zzz' (allowed here: algorithm, brackets, compare_by,"],
    ),
    "key of another section": (
        lambda: changed(n_trials=3),
        ["n_trials: unknown key 'n_trials' (did you mean budget.n_trials?)"],
    ),
    "unknown key of a parameter": (
        lambda: changed(parameters__lr__maxx=3),
        ["parameters.lr.maxx: unknown key 'maxx' (did you mean max?)"],
    ),
    "unknown key of an objective": (
        lambda: changed(objectives=[{"name": "f1", "directoin": "minimize"}]),
        ["objectives.0.directoin: unknown key 'directoin' (did you mean direction?)"],
    ),
    "no objectives": (lambda: changed(objectives=[]), ["objectives: must not be empty"]),
    "objectives missing": (lambda: changed(objectives=...), ["objectives: is missing"]),
    "objective twice": (
        lambda: changed(objectives=[{"name": "f1"}, {"name": "f1"}]),
        ["objectives.1.name: 'f1' is already an objective at objectives.0.name"],
    ),
    "objective with a strange name": (
        lambda: changed(objectives=[{"name": "my loss"}]),
        ["objectives.0.name: 'my loss' is not a metric name"],
    ),
    "direction": (
        lambda: changed(objectives=[{"name": "f1", "direction": "maximise"}]),
        ["objectives.0.direction: 'maximise' is not allowed (did you mean maximize? allowed: minimize, maximize)"],
    ),
    "cmaes with several objectives": (
        lambda: changed(search__algorithm="cmaes", objectives=[{"name": "f1"}, {"name": "f2"}]),
        ["search.algorithm: cmaes supports only one objective (with several use tpe, gp, nsga2, nsga3, qmc or random)"],
    ),
    "cmaes without a number": (
        lambda: changed(
            search__algorithm="cmaes",
            objectives=[{"name": "f1"}],
            parameters={"lr": {"choices": [1, 2]}, "one": {"type": "int", "min": 1, "max": 1}},
            conditionals=[{"if": "lr == 1", "then": {"momentum": {"type": "float", "min": 0, "max": 1}}}],
            constraints=[],
            trial__command="true",
        ),
        ["search.algorithm: cmaes needs numeric parameters (float or int, outside conditionals), and there are none"],
    ),
    "cmaes as a sampler with several objectives": (
        lambda: changed(search={"sampler": "cmaes"}, objectives=[{"name": "f1"}, {"name": "f2"}]),
        ["search.sampler: cmaes supports only one objective"],
    ),
    "a population for what has none": (
        lambda: changed(search__population_size=20),
        ["search.population_size: is for cmaes, nsga2, nsga3, pbt, not for tpe (remove it)"],
    ),
    "a population of next to nobody": (
        lambda: changed(search__algorithm="nsga2", search__population_size=3),
        ["search.population_size: must be at least 4, not 3"],
    ),
    "no parameters": (
        lambda: changed(parameters={}, conditionals=[], constraints=[], trial__command="true"),
        ["parameters: must not be empty"],
    ),
    "name with a blank": (lambda: changed(name="my study"), ["name: names a directory and Slurm jobs"]),
    "name with a dot first": (lambda: changed(name="../up"), ["name: names a directory and Slurm jobs"]),
    "name too long": (lambda: changed(name="a" * 65), ["name: names a directory and Slurm jobs"]),
    "name missing": (lambda: changed(name=...), ["name: is missing"]),
    "undefined name in the command": (
        lambda: changed(trial__command="train --lr {{ lrr }} --x {{ nothing_like_it }}"),
        [
            "trial.command: 'lrr' is not defined (did you mean lr?)",
            "trial.command: 'nothing_like_it' is not defined (defined: ",
        ],
    ),
    "ds_config without deepspeed": (
        lambda: changed(trial__deepspeed=...),
        ["trial.command: 'ds_config' is not defined (set trial.deepspeed to define it)"],
    ),
    "syntax of the command": (
        lambda: changed(trial__command="a\nb {{ lr }\n"),
        ["trial.command: line 2: unexpected '}'"],
    ),
    "unknown filter in the command": (
        lambda: changed(trial__command="{{ lr | nofilter }}"),
        ["trial.command: line 1: No filter named 'nofilter'."],
    ),
    "inactive parameter in the command": (
        lambda: changed(trial__command="train --momentum {{ momentum }}"),
        [
            "trial.command: 'momentum' is inactive and therefore undefined where optimizer == \"sgd\" is false "
            "(write {% if"
        ],
    ),
    "no command": (lambda: changed(trial__command=...), ["trial.command: is missing"]),
    "empty command": (lambda: changed(trial__command=" "), ["trial.command: must not be empty"]),
    "command that is a list": (
        lambda: changed(trial__command=["a"]),
        ["trial.command: must be text (in quotes if it does not look like text), not a list"],
    ),
    "command with an escape character": (
        lambda: changed(trial__command="a\x1bb"),
        ["trial.command: must be one line of text without control characters"],
    ),
    "pattern": (
        lambda: changed(trial__metric_pattern="loss=("),
        [
            "trial.metric_pattern: 'loss=(' is not a regular expression: missing ), "
            "unterminated subpattern at position 5"
        ],
    ),
    "pattern without a named group": (
        lambda: changed(trial__metric_pattern="loss=(.*)"),
        ["trial.metric_pattern: 'loss=(.*)' has no named group"],
    ),
    "timeout": (lambda: changed(trial__timeout="30x"), ['trial.timeout: must be a time such as "30m"']),
    "timeout 0": (lambda: changed(trial__timeout=0), ['trial.timeout: must be a time such as "30m"']),
    "time": (lambda: changed(resources__time="soon"), ['resources.time: must be a time such as "00:30:00"']),
    "budget": (
        lambda: changed(budget=...),
        ["budget.n_trials: is missing; only search.algorithm: grid and pbt end by themselves"],
    ),
    "n_trials 0": (lambda: changed(budget__n_trials=0), ["budget.n_trials: must be at least 1, not 0"]),
    "grid over a continuous range": (
        lambda: changed(search__algorithm="grid"),
        [
            "parameters.lr: a grid cannot use the continuous range of lr (give it a step, or list its values",
            "conditionals.0.then.momentum: a grid cannot use the continuous range of momentum",
        ],
    ),
    "algorithm": (
        lambda: changed(search__algorithm="tpee"),
        ["search.algorithm: 'tpee' is not allowed (did you mean tpe? allowed: auto, grid, random, qmc,"],
    ),
    "seed": (lambda: changed(search__seed=-1), ["search.seed: must be at least 0, not -1"]),
    "wave size": (lambda: changed(waves__size=0), ["waves.size: must be at least 1, not 0"]),
    "offload without ZeRO": (
        lambda: changed(trial__deepspeed={"zero_stage": 0, "offload": "cpu"}),
        ["trial.deepspeed.offload: needs a zero_stage of 1 or more"],
    ),
    "ZeRO stage": (
        lambda: changed(trial__deepspeed={"zero_stage": 4}),
        ["trial.deepspeed.zero_stage: must be at most 3, not 4"],
    ),
    "two nodes": (
        lambda: changed(resources__nodes=2),
        ["resources.nodes: more than one node per trial is not supported in this version"],
    ),
    "no nodes": (lambda: changed(resources__nodes=0), ["resources.nodes: must be at least 1, not 0"]),
    "setup that is a text": (
        lambda: changed(slurm__setup="module load x"),
        ["slurm.setup: must be a list, not 'module load x'"],
    ),
    "partition with a line break": (
        lambda: changed(slurm__partition="a\n#SBATCH --uid=0"),
        ["slurm.partition: must be one line of text without control characters"],
    ),
    "sbatch option that is set elsewhere": (
        lambda: changed(slurm__extra={"cpus_per_task": 3, "array": "1-3"}),
        [
            "slurm.extra.cpus_per_task: hposlurm sets --cpus-per-task itself, or relies on its absence "
            "(use resources.cpus_per_task)",
            "slurm.extra.array: hposlurm sets --array itself, or relies on its absence "
            "(hposlurm uses it to submit waves",
        ],
    ),
    "beginning of an sbatch option": (
        lambda: changed(slurm__extra={"gre": "gpu:1", "DEPEND": "1"}),
        [
            "slurm.extra.gre: sbatch may take --gre for --gres (use resources.gpus_per_node",
            "slurm.extra.DEPEND: sbatch may take --depend for --dependency",
        ],
    ),
    "memory of a trial that is next to nothing": (
        lambda: changed(resources__mem_gb=0.0009),
        ["resources.mem_gb: must be at least 1 MiB (0.001), not 0.0009"],
    ),
    "memory of the planner that is next to nothing": (
        lambda: changed(slurm__planner={"mem_gb": 1e-9}),
        ["slurm.planner.mem_gb: must be at least 1 MiB (0.001), not 1e-09"],
    ),
    "memory of less than nothing": (
        lambda: changed(resources__mem_gb=-1),
        ["resources.mem_gb: must be at least 1 MiB (0.001), not -1"],
    ),
    "sbatch option that is none": (
        lambda: changed(slurm__extra={"--qos": "x"}),
        ["slurm.extra.--qos: '--qos' is not a long option of sbatch"],
    ),
    "sbatch option that is false": (
        lambda: changed(slurm__extra={"exclusive": False}),
        ["slurm.extra.exclusive: a false option is not passed to sbatch; remove it"],
    ),
    "template that is not there": (
        lambda: changed(slurm__template="/nowhere/my.sbatch.j2"),
        ["slurm.template: '/nowhere/my.sbatch.j2' cannot be read: No such file or directory"],
    ),
    "section that is no mapping": (
        lambda: changed(search=[1]),
        ["search: must be a mapping (key: value), not a list"],
    ),
    "not a mapping at all": (lambda: ["a"], ["a study is a mapping of keys"]),
    "nothing": (
        lambda: {},
        [
            "name: is missing",
            "objectives: is missing",
            "parameters: is missing",
            "budget.n_trials: is missing",
            "trial: is missing",
        ],
    ),
}


@pytest.mark.parametrize(("study", "lines"), BAD.values(), ids=BAD.keys())
def test_each_problem_is_reported_clearly_and_only_once(study: Callable[[], Any], lines: list[str]) -> None:
    found = problems_of(study())
    assert len(found) == len(lines), found
    for problem, line in zip(found, lines, strict=True):
        assert problem.startswith(line)


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    study = changed(
        name="a b",
        parameters__lr__min=1,
        parameters__gpus={"choices": [1]},
        constraints=["nope > 1", "f(bs)"],
        search__algorithm="ashaa",
        trial__command="{{ lrr }}",
        resources__gpus_per_node="two",
        unknown=1,
    )
    paths = [problem.split(": ")[0] for problem in problems_of(study)]
    assert paths == [
        "unknown",
        "name",
        "parameters.gpus",
        "parameters.lr.min",
        "constraints.1",
        "constraints.0",
        "search.algorithm",
        "trial.command",
        "resources.gpus_per_node",
    ]


def test_the_message_counts_the_problems_and_names_the_file() -> None:
    with pytest.raises(SpecError) as caught:
        parse(changed(name="a b", search__seed=-1), "my.yaml")
    assert str(caught.value).splitlines()[0] == "my.yaml: 2 problems"
    assert caught.value.exit_status == 2


CONTRADICTING = [
    "gres", "gpus", "gpus-per-task", "gpus-per-socket", "mem-per-cpu", "mem-per-gpu", "cpus-per-gpu", "export",
    "requeue", "no-requeue", "open-mode", "test-only", "input", "wait", "array", "dependency", "hold", "output",
    "error", "job-name", "signal", "ntasks", "ntasks-per-node", "ntasks-per-gpu", "time-min", "clusters", "chdir",
    "wrap", "mem", "nodes", "time", "partition", "export-file", "parsable", "quiet",
]  # fmt: skip


@pytest.mark.parametrize("option", CONTRADICTING)
def test_an_sbatch_option_that_contradicts_the_study_is_refused_with_the_reason(option: str) -> None:
    (problem,) = problems_of(changed(slurm__extra={option: "x"}))
    assert problem.startswith(f"slurm.extra.{option}: hposlurm sets --{option} itself, or relies on its absence (")


@pytest.mark.parametrize(
    "option", ["exclusive", "nodelist", "gres-flags", "nice", "reservation", "comment", "tmp", "bb"]
)
def test_other_sbatch_options_are_passed_on(option: str) -> None:
    assert parse(changed(slurm__extra={option: "x"}), "x").slurm.extra == {option: "x"}
