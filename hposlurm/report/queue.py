"""Queries the queues about studies, with one query per backend."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from hposlurm import backend as backends
from hposlurm.backend import Backend, ElementState
from hposlurm.errors import BackendError, HposlurmError
from hposlurm.records.jobs import read_jobs
from hposlurm.records.plan import read_first
from hposlurm.report.chain import GONE, interrupted_submission, later_planners, queried_jobs
from hposlurm.report.preemption import LostNode, lost_nodes, with_jobs

if TYPE_CHECKING:
    from pathlib import Path

    from hposlurm.records.history import History
    from hposlurm.records.layout import StudyLayout
    from hposlurm.report.view import StudyView

#: The queue's states of the elements of the waves in flight and of their planners, by job id.
QueueAnswer = Mapping[str, ElementState]
#: Seconds between two queries of a watcher, whatever they are about.
QUERY_GAP_S = 10.0
# seconds between two queries of a watcher about the same
_ASK_EVERY_S = 30.0


def jobs_to_query(layout: StudyLayout) -> list[str]:
    """Returns the job ids of the waves in flight to query; [] for a study that is over, or that was simulated."""
    waves = () if layout.simulated.exists() else layout.waves()
    plan = read_first(layout.wave(waves[-1])) if waves else None
    if plan is None or plan.finished or layout.stop.exists():
        return []
    plans = [*(read_first(layout.wave(wave)) for wave in plan.in_flight), plan]
    found = ((read_jobs(layout.wave(flying.wave)), flying) for flying in plans)
    asked = [job_id for jobs, flying in found if jobs for job_id in queried_jobs(jobs, flying)]
    return [*asked, *later_planners(layout, plan)] if asked else []


def answer(asked: Sequence[str], states: QueueAnswer) -> QueueAnswer:
    """Returns the state of each queried job; GONE for a job that the queue does not know."""
    return {job_id: states.get(job_id, GONE) for job_id in asked}


def ask_queue(
    layout: StudyLayout, states: Callable[[Sequence[str]], QueueAnswer], log: Callable[[str], None]
) -> QueueAnswer | None:
    """Queries the queue about one study.

    `states` is the method of the study's backend. Returns {} if there is no job to query, None if the queue did not
    answer.
    """
    try:
        asked = jobs_to_query(layout)
        return answer(asked, states(asked)) if asked else {}
    except HposlurmError as error:
        log(f"note: the queue did not answer ({error}); this is the state in the files")
        return None


def ask_takers(history: History, queue: QueueAnswer | None, backend: str) -> tuple[LostNode, ...]:
    """Returns the nodes from which trials were pushed out; asks once who runs there, and only if there are any."""
    lost = lost_nodes(history, queue) if queue else ()
    if not lost:
        return ()
    own = [job_id.partition("_")[0] for job_id in queue or ()]
    try:
        return with_jobs(lost, backends.choose(backend).running_on({one.node for one in lost}), own)
    except HposlurmError:
        return lost


class QueueWatch:
    """Queries the queue about one study again and again, but rarely: all users share squeue."""

    def __init__(
        self,
        study: tuple[StudyLayout, str, str],
        states: Callable[[Sequence[str]], QueueAnswer],
        monotonic: Callable[[], float],
        log: Callable[[str], None],
    ) -> None:
        """Takes the study's layout, the name of its backend and its name in commands; `states` is of its backend."""
        self._layout, self._backend, self._handle = study
        self._states, self._monotonic, self._log = states, monotonic, log
        #: the last answer; None if the queue did not answer, or was not queried yet
        self.answer: QueueAnswer | None = None
        #: the nodes from which trials were pushed out, as far as it is known who runs there now
        self.lost: tuple[LostNode, ...] = ()
        self._last: float | None = None
        self._asked: dict[str, float] = {}

    def ask(self, history: History) -> None:
        """Queries everything at once."""
        self._ask_interrupted()
        self._ask_jobs()
        self.lost = ask_takers(history, self.answer, self._backend)

    def ask_due(self, history: History) -> bool:
        """Makes one query if one is due, and if the last one is QUERY_GAP_S ago; True if it did."""
        if self.lost and not (self.answer and lost_nodes(history, self.answer)):
            self.lost = ()
        now = self._monotonic()
        if self._last is not None and now - self._last < QUERY_GAP_S:
            return False
        has_asked = True
        if self._is_due("jobs", now):
            self._ask_jobs()
        elif self.answer and lost_nodes(history, self.answer) and self._is_due("takers", now):
            self.lost = ask_takers(history, self.answer, self._backend)
        else:
            has_asked = "interrupted" not in self._asked and self._ask_interrupted()
            self._asked["interrupted"] = now
        if has_asked:
            self._last = now
        return has_asked

    def _is_due(self, what: str, now: float) -> bool:
        """True if the query was not made for _ASK_EVERY_S; it then counts as made now."""
        if what in self._asked and now - self._asked[what] < _ASK_EVERY_S:
            return False
        self._asked[what] = now
        return True

    def _ask_jobs(self) -> None:
        self.answer = ask_queue(self._layout, self._states, self._log)

    def _ask_interrupted(self) -> bool:
        """Logs what a killed launch or planner left in the queue; False if there was nothing to query."""
        if not interrupted_submission(self._layout):
            return False
        if note := interrupted_note(self._layout, self._backend, self._handle):
            self._log(f"note: {note}")
        return True


def interrupted_note(layout: StudyLayout, backend: str, handle: str) -> str:
    """Returns what a killed launch or planner left in the queue and how to end it; "" if nothing, or no answer."""
    token = interrupted_submission(layout)
    try:
        job_ids = backends.choose(backend).arrays_of([token]).get(token, ()) if token else ()
    except HposlurmError:
        return ""
    if not job_ids:
        return ""
    ids = " ".join(job_ids)
    return (
        f"a launch or planner of {layout.root.name} was killed while it submitted: array {ids} is held in the queue; "
        f"`hposlurm resume {handle}` uses it, `scancel {ids}` ends it"
    )


def ask_queues(studies: Sequence[StudyView]) -> tuple[dict[Path, QueueAnswer | None], list[BackendError]]:
    """Queries the queues about many studies, once per backend.

    Returns the answers by the studies' directories, and the errors of the queues that did not answer. An answer is {}
    for a study with no job to query, and None for a study whose queue did not answer.
    """
    found: dict[Path, QueueAnswer | None] = {}
    errors: list[BackendError] = []
    known: dict[str, Backend] = {}
    wanted: defaultdict[str, dict[Path, list[str]]] = defaultdict(dict)
    for study in studies:
        if asked := jobs_to_query(study.layout):
            backend = backends.choose(study.facts.backend)
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
