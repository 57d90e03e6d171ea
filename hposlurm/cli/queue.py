"""What the queue says of a study, in one question; for the verbs that look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hposlurm.cli.common import frozen_spec

if TYPE_CHECKING:
    from hposlurm.backend import ElementState
    from hposlurm.layout import StudyLayout


def ask_queue(layout: StudyLayout) -> Mapping[str, ElementState]:
    """What the queue says of the elements of the last submitted wave and of its planner; {} if there is nothing to ask.

    A job that the queue does not know is GONE. Raises BackendError if the cluster does not answer.
    """
    from hposlurm.backend import choose
    from hposlurm.backend.jobs import read_jobs
    from hposlurm.plan import read_plan
    from hposlurm.report.chain import GONE, asked_for

    waves = layout.waves()
    jobs = read_jobs(layout.wave(waves[-1])) if waves else None
    if jobs is None or read_plan(layout.wave(waves[-1])).finished or layout.stop.exists():
        return {}
    asked = asked_for(jobs)
    states = choose(frozen_spec(layout).backend).states(asked)
    return {job_id: states.get(job_id, GONE) for job_id in asked}
