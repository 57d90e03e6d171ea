"""The jobs of a refill wave while it runs: finds those that lost their GPUs for good or will find nothing to do.

Slurm itself starts a preempted job again, but not under a budget of GPU hours, where that cost would not be reserved.
The worker's record says only that it was asked to stop, which a person may have done too: the state of the job decides.
The batch records the answer as a settlement, so that all processes decide by the same facts.
"""

from __future__ import annotations

from collections.abc import Iterator

from hposlurm.backend import Backend
from hposlurm.errors import BackendError, HposlurmError
from hposlurm.records import refill_pool
from hposlurm.records.assignment import Settlement
from hposlurm.records.history import History
from hposlurm.records.jobs import WaveJobs, read_jobs
from hposlurm.records.layout import WaveLayout
from hposlurm.records.plan import WavePlan
from hposlurm.records.refill_pool import Batch
from hposlurm.records.retries import ended_by, gives_back
from hposlurm.trial import Attempt, Cause, JobState, Outcome

# Within a grace period a worker exits by itself. After a person's scancel the state is always CANCELLED.
_TAKEN_AWAY = frozenset({JobState.PREEMPTED, JobState.NODE_FAIL, JobState.COMPLETED, JobState.FAILED})
_MOST = 100  # only the newest trials: earlier batches asked about the others


def preempted(backend: Backend, wave: WaveLayout, plan: WavePlan, history: History) -> tuple[Settlement, ...]:
    """Returns the settlements of the wave's attempts that were asked to stop and whose jobs will not run again.

    Asks the cluster only from within a job of the wave. Returns () if the cluster gives no answer: the planner asks
    again when the wave has ended.
    """
    known = {(s.trial, s.attempt) for s in plan.settled if s.wave == plan.wave}
    asked = [(trial, a) for trial, a in _asked_to_stop(plan, history) if (trial, a.number) not in known][-_MOST:]
    if not asked or _jobs_around(backend, wave) is None:
        return ()
    try:
        found = backend.states([attempt.job_id for _, attempt in asked])
    except BackendError:
        return ()
    states = {job_id: element.state for job_id, element in found.items()}
    return tuple(
        Settlement(
            trial=trial,
            attempt=attempt.number,
            wave=plan.wave,
            job_id=attempt.job_id,
            state=states[attempt.job_id],
            gpus=attempt.gpus,
            outcome=Outcome.INTERRUPTED,
            reason=attempt.reason,
            cause=attempt.cause,
        )
        for trial, attempt in asked
        if states.get(attempt.job_id) in _TAKEN_AWAY
    )


def _asked_to_stop(plan: WavePlan, history: History) -> Iterator[tuple[int, Attempt]]:
    """Yields (trial, attempt) for each last attempt of the wave that was interrupted and has not released its trial."""
    for trial in sorted({assignment.trial for assignment in plan.assignments}):
        attempts = history.journals.get(trial, ())
        last = attempts[-1] if attempts else None
        if last is None or last.wave != plan.wave or last.outcome is not Outcome.INTERRUPTED or not last.job_id:
            continue
        if not ended_by(last, Cause.TIME_LIMIT_AHEAD) and not gives_back(attempts):
            yield trial, last


def cancel_idle(backend: Backend, wave: WaveLayout, ending: Batch) -> None:
    """Cancels the elements after the last that has started, once `ending` has ended the wave's pool.

    Each of them would wait, get GPUs and find nothing to do. None has taken an assignment or ever will: Slurm starts
    the elements of an array in order. Errors are ignored, since elements that are left end by themselves. Cancels only
    from within a job of the wave.
    """
    try:
        jobs = read_jobs(wave)
        backend.cancel(_idle(backend, wave, ending.position), [jobs.token] if jobs else [])
    except (HposlurmError, OSError):
        return


def _idle(backend: Backend, wave: WaveLayout, end: int) -> list[str]:
    jobs = _jobs_around(backend, wave)
    # only if the element of every position is known: then no other element can have a trial
    if jobs is None or not {*range(end)} <= refill_pool.taken(wave):
        return []
    started = {*refill_pool.takers(wave).values(), *refill_pool.entered(wave)}
    found = []
    for array in jobs.arrays:
        last = max((element for element in started if element < array.offset + array.count), default=-1)
        idle = range(max(array.offset, last + 1), array.offset + array.count)
        found += [job_id for index in idle if (job_id := array.element(index))]
    return found


def _jobs_around(backend: Backend, wave: WaveLayout) -> WaveJobs | None:
    """Returns the jobs of the wave if this process runs in one of them; None otherwise."""
    me, jobs = backend.own_job(), read_jobs(wave)
    is_of_wave = me is not None and jobs is not None and me.array in [array.job_id for array in jobs.arrays]
    return jobs if is_of_wave else None
