"""Asks the queue about studies, with one question for all of a backend."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from hposlurm import backend as backends
from hposlurm.backend import Backend, ElementState
from hposlurm.errors import BackendError, HposlurmError
from hposlurm.records.jobs import read_jobs
from hposlurm.records.plan import read_plan
from hposlurm.report.chain import GONE, asked_for, later_planners

if TYPE_CHECKING:
    from pathlib import Path

    from hposlurm.records.layout import StudyLayout
    from hposlurm.report.records import StudyRecords

#: What the queue says of the elements of the waves in flight and of their planners, by job id.
QueueAnswer = Mapping[str, ElementState]


def jobs_to_ask_for(layout: StudyLayout) -> list[str]:
    """Returns the jobs of the waves in flight; none of a study that is over."""
    waves = layout.waves()
    plan = read_plan(layout.wave(waves[-1])) if waves else None
    if plan is None or plan.finished or layout.stop.exists():
        return []
    plans = [*(read_plan(layout.wave(wave)) for wave in plan.in_flight), plan]
    found = ((read_jobs(layout.wave(flying.wave)), flying) for flying in plans)
    asked = [job_id for jobs, flying in found if jobs for job_id in asked_for(jobs, flying)]
    return [*asked, *later_planners(layout, plan)] if asked else []


def answer(asked: Sequence[str], states: QueueAnswer) -> QueueAnswer:
    """Returns the state of every job that was asked for; one that the queue does not know is GONE."""
    return {job_id: states.get(job_id, GONE) for job_id in asked}


def ask_queue(
    layout: StudyLayout, states: Callable[[Sequence[str]], QueueAnswer], log: Callable[[str], None]
) -> QueueAnswer | None:
    """Asks about one study by its backend's `states`; {} if there is nothing to ask, None if there is no answer."""
    try:
        asked = jobs_to_ask_for(layout)
        return answer(asked, states(asked)) if asked else {}
    except HposlurmError as error:
        log(f"note: the queue did not answer ({error}); this is what the files say")
        return None


def ask_queues(studies: Sequence[StudyRecords]) -> tuple[dict[Path, QueueAnswer | None], list[BackendError]]:
    """Asks about many studies, with one question per backend.

    Returns the answers by the studies' directories, {} where there was nothing to ask and None where the queue did not
    answer, and the errors of those that did not.
    """
    found: dict[Path, QueueAnswer | None] = {}
    errors: list[BackendError] = []
    known: dict[str, Backend] = {}
    wanted: defaultdict[str, dict[Path, list[str]]] = defaultdict(dict)
    for study in studies:
        if asked := jobs_to_ask_for(study.layout):
            backend = backends.choose(study.spec.backend)
            known[backend.name] = backend
            wanted[backend.name][study.layout.root] = asked
        else:
            found[study.layout.root] = {}
    for name, mine in wanted.items():
        try:
            states = known[name].states(list(chain.from_iterable(mine.values())))
        except BackendError as error:
            errors.append(error)
            found.update(dict.fromkeys(mine))
        else:
            found.update({directory: answer(asked, states) for directory, asked in mine.items()})
    return found, errors
