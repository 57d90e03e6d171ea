"""What the queue says of a study, in one question; for the verbs that look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hposlurm.cli.common import frozen_spec
from hposlurm.trial import JobState

if TYPE_CHECKING:
    from hposlurm.layout import StudyLayout


def ask_queue(layout: StudyLayout) -> Mapping[str, JobState]:
    """The states of the elements of the last submitted wave and of its planner; {} where there is nothing to ask.

    Raises BackendError if the cluster does not answer.
    """
    from hposlurm.backend import choose
    from hposlurm.backend.jobs import read_jobs
    from hposlurm.plan import read_plan

    waves = layout.waves()
    jobs = read_jobs(layout.wave(waves[-1])) if waves else None
    if jobs is None or read_plan(layout.wave(waves[-1])).finished or layout.stop.exists():
        return {}
    elements = [f"{array.job_id}_{i}" for array in jobs.arrays for i in range(array.count)]
    asked = [*elements, *([jobs.planner] if jobs.planner else [])]
    states = choose(frozen_spec(layout).backend).states(asked)
    return {job_id: found.state for job_id, found in states.items()}
