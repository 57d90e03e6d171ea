"""The part of a study as one object that only looks at it.

Nothing is imported here before it is needed: a look must not wait for the libraries of the search.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hposlurm.errors import RequestError
from hposlurm.records.clock import Clock, Log, silent
from hposlurm.records.find import runs_directory
from hposlurm.records.layout import StudyLayout

if TYPE_CHECKING:
    from hposlurm.backend import Backend, Capacity, SimulatedCapacity
    from hposlurm.report.explain import Explanation, StudyExplanation
    from hposlurm.report.export import Configuration
    from hposlurm.report.page.study_page import StudyPage
    from hposlurm.report.progress import Progress
    from hposlurm.report.queue import QueueWatch
    from hposlurm.report.records import StudyRecords
    from hposlurm.report.tables import StudyResults, Table
    from hposlurm.report.view import StudyView
    from hposlurm.spec import StudySpec


class StudyReader:
    """A study that is looked at: where its files lie, and what they say."""

    def __init__(self, layout: StudyLayout, clock: Clock) -> None:
        """Takes the study at `layout`."""
        #: its directory
        self.layout = layout
        self._clock = clock
        self._spec: StudySpec | None = None
        self._capacity: Backend | SimulatedCapacity | None = None

    @property
    def name(self) -> str:
        """The name of its directory."""
        return self.layout.root.name

    @property
    def spec(self) -> StudySpec:
        """The newest revision of its spec. Raises StudyError or SpecError if it cannot be read."""
        if self._spec is None:
            from hposlurm.spec.frozen import frozen_spec

            self._spec = frozen_spec(self.layout)
        return self._spec

    @property
    def backend(self) -> Backend:
        """The backend that runs its waves. Raises RequestError for a simulated study, which has no jobs."""
        return self._on(self.spec.backend)

    def _on(self, kind: str) -> Backend:
        from hposlurm import backend as backends

        if isinstance(self._capacity, backends.SimulatedCapacity):
            raise RequestError(f"{self.name} is simulated and has no jobs")
        if self._capacity is None:
            self._capacity = backends.choose(kind)
        return self._capacity

    @property
    def capacity(self) -> Capacity:
        """How much runs at once: on its backend, or on the simulated cluster."""
        from hposlurm.backend import SimulatedCapacity

        return self._capacity if isinstance(self._capacity, SimulatedCapacity) else self.backend

    def records(self, after: StudyRecords | None = None, *, curves: bool = True) -> StudyRecords:
        """Returns all records as they are now; reads only what is new since `after`, records of this study.

        Without `curves` they are enough for a table of results.

        Raises StudyError or SpecError if they cannot be read.
        """
        from hposlurm.report.records import read_records

        return read_records(self.layout, self.spec, after, curves=curves)

    def results(self) -> StudyResults:
        """Returns what a table of results needs, as it is now. Raises StudyError or SpecError if it cannot be read."""
        from hposlurm.report.published import read_results

        return read_results(self.layout, self._spec)

    def status(self, *, log: Log = silent) -> Progress:
        """Returns where the study is, by its files and by the queue; by its files only where the queue is silent."""
        from hposlurm.report.summary import read_seen
        from hposlurm.report.view import StudyView

        seen = read_seen(self.layout, self._spec)
        backend = seen.facts.backend if isinstance(seen, StudyView) else seen.spec.backend
        queue = self._queue(backend, log)
        queue.ask(seen.history)
        if queue.answer:  # the files are read after it: a job that ended meanwhile must not look lost
            seen = read_seen(self.layout, self._spec, seen)
        return self._progress(seen, queue)

    def watch(self, *, log: Log = silent) -> Iterator[Progress]:
        """Yields the progress again and again without end; asks the queue less often."""
        return (progress for progress, _ in self.looks(log=log))

    def looks(self, *, log: Log = silent) -> Iterator[tuple[Progress, StudyRecords | StudyView]]:
        """Yields the progress as `watch` does, each time with that from which it was computed.

        These are all records where trials are compared at rungs: a page shows how many reached each.
        """
        from hposlurm.report.summary import read_seen
        from hposlurm.search.rungs import levels_of

        queue, seen, whole = self._queue(self.spec.backend, log), None, bool(levels_of(self.spec.search))
        while True:
            seen = read_seen(self.layout, self.spec, seen, whole=whole)
            if queue.ask_due(seen.history):  # the files are read after it: as in status
                seen = read_seen(self.layout, self.spec, seen, whole=whole)
            yield self._progress(seen, queue), seen

    def _queue(self, backend: str, log: Log) -> QueueWatch:
        from hposlurm.report.queue import QueueWatch

        study = (self.layout, backend, self._handle)
        return QueueWatch(study, lambda jobs: self._on(backend).states(jobs), self._clock.monotonic, log)

    def _progress(self, seen: StudyRecords | StudyView, queue: QueueWatch) -> Progress:
        from hposlurm.report.progress import progress

        return progress(seen, now=self._clock.now(), queue=queue.answer, lost=queue.lost, handle=self._handle)

    @property
    def _handle(self) -> str:
        """How a command names it."""
        return self.name if self.layout.root.parent == runs_directory() else str(self.layout.root)

    def collect(self) -> Table:
        """Returns the result table, best trial first."""
        from hposlurm.report.tables import collect

        return collect([self.results()])

    def best(self, top: int = 1) -> list[Configuration]:
        """Returns the best `top` configurations. Raises StudyError if no trial has completed."""
        from hposlurm.report.export import best_trials, configuration

        results = self.records(curves=False).results
        return [configuration(results, trial) for trial in best_trials(results, top)]

    def explain(self, trial: int | None = None) -> Explanation | StudyExplanation:
        """Returns why a trial was proposed, continued, stopped or copied; of the study, how its search decided."""
        from hposlurm.report.explain import Replay, explain_study, explain_trial

        replay = Replay(self.records())
        return explain_study(replay) if trial is None else explain_trial(replay, trial)

    def reproduce(self, trial: int, directory: Path) -> str:
        """Returns the script that repeats a trial outside of the study, in `directory`.

        Raises RequestError for a trial that does not exist, and StudyError for one that was never planned.
        """
        from hposlurm.report.reproduce import script

        return script(self.records(curves=False), trial, directory)

    def report(self) -> StudyPage:
        """Returns what the report page shows of the study: frozen data, the trials in columns."""
        from hposlurm.report.page.study_page import study_page

        return study_page(self.records(), self._clock.now())
