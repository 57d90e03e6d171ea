"""Best-so-far, the best trial and the Pareto front: the same as Optuna's own of the same trials."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState as Theirs
from optuna.visualization._optimization_history import _get_optimization_history_info_list

from hposlurm.publish import Published
from hposlurm.publish.optuna_trials import OptunaTrials
from hposlurm.records.history import History, read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.ranking import best, pareto_front
from hposlurm.report.page.best_so_far import best_so_far
from hposlurm.report.page.shortening import short
from hposlurm.spec import StudySpec, load
from hposlurm.trial import TrialState
from tests import studies
from tests.conftest import examples

SPEC = """\
name: {{name}}
backend: local
objectives: [{objectives}]
metrics: [mem]
{constraints}
parameters: {{{{x: {{{{type: float, min: 0.0, max: 100.0}}}}}}}}
search: {{{{algorithm: random, seed: 1}}}}
budget: {{{{n_trials: {{n_trials}}}}}}
trial: {{{{command: "echo {{{{{{{{ x }}}}}}}}"}}}}
"""
MOST_MEM = 5
#: How a trial may end: complete with "nan" as a value, which Optuna and we call a failure; "run": not yet
HOW = ("complete", "complete", "complete", "complete", "pruned", "fail", "nan", "run")

DIRECTIONS = st.sampled_from(["minimize", "maximize"])
#: A few values, so that many are equal, and any others that have six digits
VALUES = st.sampled_from([-1.5, 0.0, -0.0, 0.5, 1.0]) | st.floats(-1e300, 1e300).map(lambda x: float(f"{x:.6g}"))


@dataclass(frozen=True)
class End:
    """How a trial ended."""

    #: one of HOW
    how: str
    values: tuple[float, ...]
    #: a metric that a limit may be on
    mem: int


def ends(goals: int) -> st.SearchStrategy[list[End]]:
    one = st.builds(End, st.sampled_from(HOW), st.tuples(*[VALUES] * goals), st.integers(4, 6))
    return st.lists(one, max_size=10)


def own_study(runs: Path, trials: Sequence[End], order: Sequence[int], directions: Sequence[str], limited: bool):
    """Our study: its specification and its history, from journals; the trials end in `order`."""
    goals = ", ".join(f"{{{{name: goal{i}, direction: {d}}}}}" for i, d in enumerate(directions))
    constraints = f"constraints: [mem <= {MOST_MEM}]" if limited else ""
    names = [f"goal{i}" for i in range(len(directions))]
    text = SPEC.format(objectives=goals, constraints=constraints)
    layout = studies.make_study(runs, n_trials=len(trials) + 1, spec=text)
    studies.add_wave(
        layout, [studies.assignment(n, {"x": float(n)}) for n in range(len(trials))], objectives=tuple(names), retries=0
    )
    for number, trial in enumerate(trials):
        values = dict(zip(names, trial.values, strict=True))
        final = {**values, "mem": trial.mem, **({names[-1]: "nan"} if trial.how == "nan" else {})}
        ended = studies.BEGIN + 100 + order.index(number)
        records = [studies.start(number), studies.report(1, studies.BEGIN + 50, **final)]
        if trial.how in ("complete", "nan"):
            records.append(studies.end("complete", ended, metrics=final))
        elif trial.how == "pruned":
            records.append(studies.end("pruned", ended, metrics=final))
        elif trial.how == "fail":
            records.append(studies.end("fail", ended, exit_code=1, metrics=final))
        studies.write_journal(layout, number, records)
    spec = load(layout.spec(), frozen=True)
    return layout, spec, read_history(layout)


def their_study(trials: Sequence[End], order: Sequence[int], directions: Sequence[str], limited: bool):
    """Optuna's study of the same trials, told in the order in which they ended."""
    study = optuna.create_study(directions=directions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a value is not a number
        for number in order:
            end = trials[number]
            trial = study.ask()
            trial.set_user_attr("own", number)
            if limited:
                trial.storage.set_trial_system_attr(trial._trial_id, "constraints", [end.mem - MOST_MEM])
            if end.how == "complete":
                study.tell(trial, list(end.values))
            elif end.how == "nan":
                study.tell(trial, [*end.values[:-1], math.nan])
            elif end.how == "pruned":
                study.tell(trial, state=Theirs.PRUNED)
            elif end.how == "fail":
                study.tell(trial, state=Theirs.FAIL)
    return study


@pytest.fixture(autouse=True)
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


@settings(max_examples=examples(25))
@given(data=st.data(), trials=ends(1), direction=DIRECTIONS, limited=st.booleans())
def test_the_best_so_far_is_the_line_of_optunas_optimization_history(data, trials, direction, limited):
    order = data.draw(st.permutations(range(len(trials))))
    with tempfile.TemporaryDirectory() as runs:
        _, spec, history = own_study(Path(runs), trials, order, [direction], limited)
    study = their_study(trials, order, [direction], limited)
    found = best_so_far(history, spec.objectives, spec.limits, studies.BEGIN, studies.BEGIN + 1000)
    infos = _get_optimization_history_info_list(study, None, "Objective Value", False)
    wanted = [
        (trial.user_attrs["own"], short(trial.value), short(float(value)), ended)
        for info in infos
        for ended, (trial, value) in enumerate(zip(study.trials, info.best_values_info.values, strict=True), 1)
        if trial.state is Theirs.COMPLETE and all(x <= 0 for x in trial.constraints.values())
    ]
    if not wanted:
        assert found == ()
        return
    (line,) = found
    # Optuna counts the trials that run as well
    running = [trials[number].how == "run" for number in order]
    counts = [ended - sum(running[:ended]) for *_, ended in wanted]
    rows, values, bests, _ = zip(*wanted, strict=True)
    assert (line.rows, line.values, line.best, list(line.trials)) == (rows, values, bests, counts)


@settings(max_examples=examples(25))
@given(trials=ends(1), direction=DIRECTIONS, limited=st.booleans())
@example(trials=[End("fail", (0.5,), 4), *[End("complete", (0.5,), 4)] * 3], direction="minimize", limited=False)
@example(trials=[End("complete", (0.5,), 6), *[End("complete", (0.5,), 4)] * 2], direction="maximize", limited=True)
def test_the_best_trial_is_that_of_optuna(trials, direction, limited):
    order = range(len(trials))
    with tempfile.TemporaryDirectory() as runs:
        _, spec, history = own_study(Path(runs), trials, order, [direction], limited)
    study = their_study(trials, order, [direction], limited)
    found = best(history, spec.objectives, spec.limits)
    feasible = [t for t in study.trials if t.state is Theirs.COMPLETE and all(x <= 0 for x in t.constraints.values())]
    if feasible:
        assert found is not None
        assert (found.number, found.values) == (study.best_trial.user_attrs["own"], (study.best_value,))
    elif found is not None:  # all break a limit, where Optuna has none
        assert limited and found.state is TrialState.COMPLETE


@pytest.mark.parametrize("goals", [2, 3])
@settings(max_examples=examples(25))
@given(data=st.data(), limited=st.booleans())
def test_the_pareto_front_is_that_of_optuna(data, goals, limited):
    trials, directions = data.draw(ends(goals)), data.draw(st.tuples(*[DIRECTIONS] * goals))
    order = range(len(trials))
    with tempfile.TemporaryDirectory() as runs:
        layout, spec, history = own_study(Path(runs), trials, order, directions, limited)
    study = their_study(trials, order, directions, limited)
    front = pareto_front(history.trials, spec.objectives, spec.limits)
    assert {t.number: t.values for t in front} == {t.user_attrs["own"]: (*t.values,) for t in study.best_trials}
    assert sorted(trial.number for trial in front) == front_of_published(layout, spec, history)


def front_of_published(layout: StudyLayout, spec: StudySpec, history: History) -> list[int]:
    """The front as Optuna sees it in the trials that are published."""
    published = Published(layout, spec, history)
    study = optuna.create_study(directions=[objective.direction.value for objective in spec.objectives])
    frozen = OptunaTrials(published)
    study.add_trials([frozen.frozen(trial) for trial in history.trials if trial.state.is_finished])
    return sorted(trial.user_attrs["hposlurm.trial"] for trial in study.best_trials)
