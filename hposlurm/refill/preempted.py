"""Trials of a refill wave that were taken their GPUs away for good while the wave goes on: they come back in a batch.

Slurm starts a preempted job again itself, but not under a budget of GPU hours, where nobody would have reserved what
that costs. Its worker's record says that it was told to stop, which a person may have done as well: only the state of
the job tells. What was found out is kept in the batch as a settlement, so that everybody decides by the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from hposlurm.records.files import from_json
from hposlurm.records.history import History
from hposlurm.records.layout import WaveLayout
from hposlurm.records.plan import WavePlan
from hposlurm.records.retries import TIME_LIMIT_SIGNAL, gives_back
from hposlurm.trial import Attempt, JobState, Outcome, Settlement

# Within a grace period a worker leaves by itself; a person's scancel makes it CANCELLED however it leaves
_TAKEN_AWAY = frozenset({JobState.PREEMPTED, JobState.NODE_FAIL, JobState.COMPLETED, JobState.FAILED})
_PATIENCE_S = 10.0
_MOST = 100  # of the newest trials: older ones were asked about before


def preempted(wave: WaveLayout, plan: WavePlan, history: History) -> tuple[Settlement, ...]:
    """What is decided now about attempts of the wave that were told to stop, and whose jobs will not run again.

    Only within a job of the wave; () where the cluster gives no answer: the planner asks when the wave has ended.
    """
    known = {(s.trial, s.attempt) for s in plan.settled if s.wave == plan.wave}
    asked = [(trial, a) for trial, a in _told_to_stop(plan, history) if (trial, a.number) not in known][-_MOST:]
    if not asked or not _is_of_the_wave(wave):
        return ()
    states = _states([attempt.job_id for _, attempt in asked])
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
        )
        for trial, attempt in asked
        if states.get(attempt.job_id) in _TAKEN_AWAY
    )


def _told_to_stop(plan: WavePlan, history: History) -> Iterator[tuple[int, Attempt]]:
    """The last attempt of each trial of the wave, if it recorded that it was interrupted, and keeps its trial."""
    for trial in sorted({assignment.trial for assignment in plan.assignments}):
        words = history.journals.get(trial, ())
        last = words[-1] if words else None
        if last is None or last.wave != plan.wave or last.outcome is not Outcome.INTERRUPTED or not last.job_id:
            continue
        if not last.reason.startswith(TIME_LIMIT_SIGNAL) and not gives_back(words):
            yield trial, last


def _is_of_the_wave(wave: WaveLayout) -> bool:
    mine = os.environ.get("SLURM_ARRAY_JOB_ID")
    try:
        arrays = from_json(wave.jobs.read_bytes())["arrays"] if mine else []
        return mine in [array["job_id"] for array in arrays]
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _states(job_ids: Sequence[str]) -> dict[str, JobState]:
    """The states that the cluster knows; the accounting's of those that the controller has forgotten."""
    found = _ask("squeue", "-h", "-r", "-t", "all", "-j", ",".join(job_ids), "-o", "%i|%T")
    if left := [job_id for job_id in job_ids if job_id not in found]:
        found |= _ask("sacct", "-n", "-P", "-X", "-j", ",".join(left), "-o", "JobID,State")
    return found


def _ask(*command: str) -> dict[str, JobState]:
    if not shutil.which(command[0]):
        return {}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = (line.strip().split("|") for line in done.stdout.splitlines())
    words = {row[0]: row[1].split()[0] for row in rows if len(row) == 2 and row[1].strip()}
    return {job_id: JobState(word) for job_id, word in words.items() if word in {*JobState}}
