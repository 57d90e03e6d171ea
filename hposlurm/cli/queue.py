"""What the queue says of studies, in one question; for the verbs that look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from hposlurm.cli.common import frozen_spec, say
from hposlurm.errors import BackendError

if TYPE_CHECKING:
    from pathlib import Path

    from hposlurm.backend import Backend, ElementState
    from hposlurm.records.layout import StudyLayout


def ask_queue(layout: StudyLayout) -> Mapping[str, ElementState]:
    """What the queue says of the elements of the waves in flight and of their planners; {} if there is nothing to ask.

    A job that the queue does not know is GONE. Raises BackendError if the cluster does not answer.
    """
    from hposlurm.backend import choose

    asked = _asked(layout)
    return _answers(asked, choose(frozen_spec(layout).backend).states(asked)) if asked else {}


def ask_queues(layouts: Iterable[StudyLayout]) -> dict[Path, Mapping[str, ElementState] | None]:
    """The same of many studies by their directories, with one question per backend; None where it did not answer."""
    from hposlurm.backend import choose

    found: dict[Path, Mapping[str, ElementState] | None] = {}
    backends: dict[str, Backend] = {}
    wanted: defaultdict[str, dict[Path, list[str]]] = defaultdict(dict)
    for layout in layouts:
        if asked := _asked(layout):
            backend = choose(frozen_spec(layout).backend)
            backends[backend.name] = backend
            wanted[backend.name][layout.root] = asked
        else:
            found[layout.root] = {}
    for name, studies in wanted.items():
        try:
            states = backends[name].states(list(chain.from_iterable(studies.values())))
        except BackendError as error:
            say(f"note: the queue did not answer ({error}); ? is what only it knows")
            found.update(dict.fromkeys(studies))
        else:
            found.update({directory: _answers(asked, states) for directory, asked in studies.items()})
    return found


def _asked(layout: StudyLayout) -> list[str]:
    """The jobs to ask about; none of a study that is over."""
    from hposlurm.records.jobs import read_jobs
    from hposlurm.records.plan import read_plan
    from hposlurm.report.chain import asked_for, later_planners

    waves = layout.waves()
    plan = read_plan(layout.wave(waves[-1])) if waves else None
    if plan is None or plan.finished or layout.stop.exists():
        return []
    plans = [*(read_plan(layout.wave(wave)) for wave in plan.in_flight), plan]
    found = ((read_jobs(layout.wave(flying.wave)), flying) for flying in plans)
    asked = [job_id for jobs, flying in found if jobs for job_id in asked_for(jobs, flying)]
    return [*asked, *later_planners(layout, plan)] if asked else []


def _answers(asked: Sequence[str], states: Mapping[str, ElementState]) -> dict[str, ElementState]:
    from hposlurm.report.chain import GONE

    return {job_id: states.get(job_id, GONE) for job_id in asked}
