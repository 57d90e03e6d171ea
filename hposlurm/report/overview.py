"""Lists the studies of a directory: phase, best value and age of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hposlurm.errors import HposlurmError
from hposlurm.records.layout import StudyLayout
from hposlurm.records.ranking import best
from hposlurm.report.phase import find_phase
from hposlurm.report.queue import QueueAnswer, ask_queues, interrupted_note
from hposlurm.report.summary import read_view
from hposlurm.report.view import StudyView
from hposlurm.trial import TrialState

# seconds between two queries of a watcher: squeue is everybody's
_ASK_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class StudyLine:
    """One study."""

    study: str
    #: as in Progress, or "unknown" if it depends on the queue and the queue did not answer
    phase: str
    #: the reason for the phase, or the wave
    detail: str
    trials: int
    #: the number of trials that the study will have; None if unknown
    total: int | None
    counts: Mapping[TrialState, int]
    #: the name of the first objective
    objective: str
    #: the first objective's value of the best trial
    best: float | None
    best_trial: int | None
    gpu_hours: float
    #: seconds since the first plan; None before it, and for a simulated study, whose time is virtual
    age_s: float | None
    tags: Mapping[str, str]
    directory: str

    def to_json(self) -> dict[str, Any]:
        """Returns the same data with stable keys, for programs."""
        return asdict(self)


def study_lines(runs: Path, now: float, log: Callable[[str], None]) -> list[StudyLine]:
    """Returns the lines of the studies in `runs` at `now` (epoch seconds), newest first.

    `log` receives a note for each study that cannot be read and is left out, and for each queue that does not answer.
    """
    known = list(_readable(runs, log))
    queues = _ask(known, log)
    for study in known:
        if note := interrupted_note(study.layout, study.facts.backend, study.layout.root.name):
            log(f"note: {note}")
    return _newest_first(study_line(study, now, queues.get(study.layout.root, {})) for study in known)


def watch_lines(
    runs: Path, now: Callable[[], float], monotonic: Callable[[], float], log: Callable[[str], None]
) -> Iterator[list[StudyLine]]:
    """Yields what `study_lines` returns again and again without end; queries the queues every _ASK_EVERY_S only.

    A study that was launched since the last query has the phase "unknown". The same note is logged once.
    """
    logged: set[str] = set()

    def log_once(text: str) -> None:
        if text not in logged:
            logged.add(text)
            log(text)

    queues: dict[Path, QueueAnswer | None] = {}
    asked: float | None = None
    while True:
        known = list(_readable(runs, log_once))
        if asked is None or monotonic() - asked >= _ASK_EVERY_S:
            asked, queues = monotonic(), _ask(known, log_once)
            known = list(_readable(runs, log_once))  # after it: a job that ended meanwhile must not look lost
        yield _newest_first(study_line(study, now(), queues.get(study.layout.root)) for study in known)


def _ask(studies: list[StudyView], log: Callable[[str], None]) -> dict[Path, QueueAnswer | None]:
    queues, errors = ask_queues(studies)
    for error in errors:
        log(f"note: the queue did not answer ({error}); ? marks what only the queue knows")
    return queues


def _newest_first(lines: Iterable[StudyLine]) -> list[StudyLine]:
    return sorted(lines, key=lambda line: (line.age_s is None, line.age_s or 0.0, line.study))


def _readable(runs: Path, log: Callable[[str], None]) -> Iterator[StudyView]:
    entries = runs.iterdir() if runs.is_dir() else ()
    # a launch that was killed may have left a directory that did not become a study, whose name begins with a dot
    for directory in sorted(path for path in entries if path.is_dir() and not path.name.startswith(".")):
        layout = StudyLayout(directory)
        try:
            if layout.spec().is_file():
                yield read_view(layout)
        except (HposlurmError, OSError) as error:
            log(f"note: {directory} cannot be read: {error}")


def study_line(study: StudyView, now: float, queue: QueueAnswer | None) -> StudyLine:
    """Returns the line of one study at `now` (epoch seconds).

    `queue` is its answer about the last wave: {} if there was no job to query, None if it did not answer.
    """
    layout, history, facts = study.layout, study.history, study.facts
    phase, detail = find_phase(layout, history, queue, study.rest.ended_at)
    leader = best(study.candidates, facts.objectives, facts.limits.parsed())
    return StudyLine(
        study=study.name,
        phase="unknown" if queue is None and phase == "running" else phase,
        detail=detail,
        trials=study.trials,
        total=study.total,
        counts=study.counts(),
        objective=facts.objectives[0].metric,
        best=leader.values[0] if leader and leader.values else None,
        best_trial=leader.number if leader else None,
        gpu_hours=study.gpu_hours,
        age_s=max(0.0, now - history.plans[0].created_at) if history.plans and phase != "simulated" else None,
        tags=dict(facts.tags),
        directory=str(layout.root),
    )
