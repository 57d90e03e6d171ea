"""Retries a step while the obstacle is temporary: a full queue, an unreachable controller, another planner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hposlurm.backend import Backend
from hposlurm.errors import NotNowError
from hposlurm.planner.step import Step, advance
from hposlurm.records.clock import CLOCK, Clock, Log, silent
from hposlurm.records.layout import StudyLayout

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

_TRY_AGAIN_S = 15
# The part of the planner job's time limit for waiting; the rest is for the step itself.
_SHARE = 0.5


def advance_patiently(
    layout: StudyLayout,
    spec: StudySpec,
    backend: Backend,
    *,
    behind: int | None = None,
    log: Log = silent,
    clock: Clock = CLOCK,
) -> Step:
    """Takes one step, and retries while it is temporarily impossible; at last requeues the job that this runs in.

    The planner after the wave `behind` of a chain does not end before that wave is settled: its end starts the next
    wave. Raises NotNowError if this process does not run in a job.
    """
    deadline = clock.monotonic() + _SHARE * 60 * spec.slurm.planner.time_min
    while True:
        error: NotNowError | None = None
        try:
            step = advance(layout, spec, backend, clock=clock)
            is_early = behind is not None and step.kind == "waiting" and step.wave <= behind
            if step.kind != "busy" and not is_early:
                return step
        except NotNowError as caught:
            error = caught
        # checked before the pause: a planner with a short time limit must not spend it asleep
        if clock.monotonic() + _TRY_AGAIN_S > deadline:
            is_requeued = _requeue(backend, log)
            if is_requeued is False and error is not None:
                raise error
            if is_requeued is not None:
                return step if error is None else Step("busy", -1, f"{error}; this job starts again later")
        log(f"not now: {error or step.message}")
        clock.sleep(_TRY_AGAIN_S)


def _requeue(backend: Backend, log: Log) -> bool | None:
    """Requeues this job; returns False outside a job, and None if the controller gives no answer.

    The caller then goes on trying until Slurm's time limit ends the job.
    """
    try:
        return backend.run_again_later()
    except NotNowError as error:
        log(f"not now: {error}")
        return None
