"""Runs one short trial of a study before the rest is submitted: does it report the objectives, save, and resume?

The trial is that of a separate study beside the real one, on the same backend with the same resources. It is asked to
stop as soon as it has reported every objective, and continued once. The study's directory is deleted if all went well.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hposlurm import backend as backends
from hposlurm.backend import Backend
from hposlurm.errors import HposlurmError
from hposlurm.planner.follow import follow
from hposlurm.planner.study import cancel, create, lift_stop
from hposlurm.records.clock import Log, silent
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.ownership import check_own
from hposlurm.records.trees import remove_tree
from hposlurm.spec import StudySpec
from hposlurm.spec.frozen import frozen_spec
from hposlurm.spec.sections import BudgetSpec
from hposlurm.trial import DONE, Attempt, Outcome, is_finite, latest_metrics

_LOOK_EVERY_S = 0.5
# After it was asked to stop: KillWait and the records' way through a network file system
_LEAVES_S = 180.0


@dataclass(frozen=True, slots=True)
class Canary:
    """The result of one short trial."""

    #: Why the study would fail as well; "" if the trial did what it should.
    problem: str
    #: What it did, and what it could not show, each as a sentence.
    lines: tuple[str, ...]
    #: Its directory, which stays if there is a problem.
    directory: Path


def run_canary(beside: StudyLayout, spec: StudySpec, backend: Backend, log: Log = silent) -> Canary:
    """Runs one short trial of a study that is not launched yet, in a directory beside its own, and waits for it.

    Raises HposlurmError if the trial cannot be run. An interrupt (Ctrl-C) cancels it.
    """
    layout = StudyLayout(beside.root.with_name(f"{spec.name}-canary-{uuid.uuid4().hex[:6]}"))
    create(layout, canary_spec(spec, layout.root.name))
    log(f"canary: one short trial runs first, in {layout.root}")
    found = _look(layout, spec, backend)
    if not found.problem:
        remove_tree(layout.root)
    return found


def canary_spec(spec: StudySpec, name: str) -> StudySpec:
    """Returns the spec of a study with the first trial of `spec`, which runs alone and is not retried."""
    size = {"size": 1, "max_concurrent": 1, "mode": "barrier"}
    return spec.model_copy(
        update={
            "name": name,
            "budget": BudgetSpec() if spec.search.in_generations else BudgetSpec(n_trials=1),
            "waves": spec.waves.model_copy(update=size),
            "trial": spec.trial.model_copy(update={"retries": 0}),
            "slurm": spec.slurm.model_copy(update={"driver": "foreground"}),
        }
    )


def _look(layout: StudyLayout, spec: StudySpec, backend: Backend) -> Canary:
    names = [objective.metric for objective in spec.objectives]
    first = _run(layout, backend, lambda attempts: _has_reported(attempts, names))
    if first.outcome is None or not _has_reported([first], names):
        return Canary(_why(first, names), (), layout.root)
    step = max(report.step for report in first.reports) if first.reports else 0
    values = latest_metrics([first])
    lines = [f"it reported {', '.join(f'{name} {values[name]}' for name in names)} at step {step}"]
    if first.outcome in DONE:
        saved = f"it saved {_saved(first)}" if first.checkpoints else "it saved no checkpoint"
        return Canary("", (*lines, f"{saved}, and ended before it could be asked to stop"), layout.root)
    if first.outcome is not Outcome.INTERRUPTED:
        return Canary(_why(first, names), tuple(lines), layout.root)
    if not first.checkpoints:
        again = "it saved no checkpoint when it was asked to stop: a preempted trial begins again"
        problem = f"{again}, and pbt cannot copy one" if spec.search.in_generations else ""
        return Canary(problem, (*lines, again), layout.root)
    lines.append(f"it saved {_saved(first)} when it was asked to stop")
    second = _run(layout, backend, lambda attempts: len(attempts) > 1 and _has_gone_on(attempts[-1]))
    if second.number == first.number or second.outcome is Outcome.FAIL or not second.resumed_from:
        return Canary(f"it did not resume: {_why(second, names)}", tuple(lines), layout.root)
    return Canary("", (*lines, f"it resumed from {Path(second.resumed_from).name}"), layout.root)


def _run(layout: StudyLayout, backend: Backend, is_enough: Callable[[list[Attempt]], bool]) -> Attempt:
    """Lets the trial run until the condition on its attempts is met, or it has ended; returns its last attempt."""
    with _driven(layout, backend) as driver:
        while driver.poll() is None and not is_enough(_attempts(layout)):
            time.sleep(_LOOK_EVERY_S)
    attempts = _attempts(layout)
    if not attempts:
        raise HposlurmError(f"the canary did not start: {_said(driver)}; see {layout.root}")
    return attempts[-1]


@contextlib.contextmanager
def _driven(layout: StudyLayout, backend: Backend) -> Iterator[subprocess.Popen[str]]:
    """Starts the process that drives the study; in the end cancels what still runs, and waits for it."""
    command = [sys.executable, "-P", "-m", "hposlurm.planner.canary", str(layout.root)]
    # a session of its own: Ctrl-C reaches only this process, which then cancels the trial
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    driver = subprocess.Popen(command, text=True, start_new_session=True, **options)  # type: ignore[call-overload]
    try:
        yield driver
    finally:
        if driver.poll() is None:
            cancel(layout, backend)
        try:
            driver.wait(_LEAVES_S)
        except subprocess.TimeoutExpired:
            driver.kill()
            driver.wait()


def _attempts(layout: StudyLayout) -> list[Attempt]:
    with contextlib.suppress(HposlurmError, OSError):
        return [
            attempt for trial in read_history(layout).trials[:1] for attempt in trial.attempts if attempt.number >= 0
        ]
    return []


def _has_reported(attempts: list[Attempt], names: list[str]) -> bool:
    values = latest_metrics(attempts)
    return bool(attempts) and all(is_finite(values.get(name)) for name in names)


def _has_gone_on(attempt: Attempt) -> bool:
    return bool(attempt.reports or attempt.checkpoints)


def _saved(attempt: Attempt) -> str:
    return Path(attempt.checkpoints[-1][1]).name


def _why(attempt: Attempt, names: list[str]) -> str:
    reason = attempt.reason or f"it ended without reporting {', '.join(names)}"
    return " | ".join((reason, *attempt.tail[-3:]))


def drive(directory: Path) -> int:
    """Runs the study of a canary until it has ended or is cancelled, and returns the exit status."""
    layout = StudyLayout(directory)
    try:
        check_own(layout.root)
        spec = frozen_spec(layout)
        lift_stop(layout)
        follow(layout, spec, backends.choose(spec.backend), again=True)
    except HposlurmError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status
    except KeyboardInterrupt:  # it was cancelled
        pass
    return 0


def _said(driver: subprocess.Popen[str]) -> str:
    text = driver.stderr.read() if driver.stderr else ""
    return text.strip()[-500:] or f"exit status {driver.returncode}"


if __name__ == "__main__":
    sys.exit(drive(Path(sys.argv[1])))
