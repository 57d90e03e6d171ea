"""A study as one object: every verb of the command line is a method here, and every method can be called from Python.

    from hposlurm import Study

    study = Study.create("study.yaml")
    study.launch()
    study.wait()
    print(study.best()[0].params)

The methods return data, print nothing, ask nothing, and raise HposlurmError or OSError for what goes wrong. What
happens meanwhile is passed to `log`, line by line, by the methods that have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hposlurm.errors import RequestError
from hposlurm.records.clock import CLOCK, Clock, Log, silent
from hposlurm.records.find import absolute, find_study, only_study, runs_directory
from hposlurm.records.layout import StudyLayout
from hposlurm.study.launching import StudyLauncher

if TYPE_CHECKING:
    from hposlurm.planner import Step
    from hposlurm.planner.follow import Watch
    from hposlurm.planner.retention import Cleared
    from hposlurm.records.history import History
    from hposlurm.report.overview import StudyLine
    from hposlurm.spec import StudySpec


class Study(StudyLauncher):
    """A study: where its files lie, what it is, and the backend that runs it.

    `Study.create` makes one that is not launched yet, `Study.open` finds one that is.
    """

    #: True from `resume` until `wait`, which then plans on even if the study was over
    _plans_on = False

    @classmethod
    def create(
        cls,
        source: StudySpec | Path | str,
        *,
        runs: Path | str | None = None,
        overlays: Sequence[Path] = (),
        settings: Sequence[str] = (),
        search_space: Path | None = None,
        launched: Study | None = None,
        clock: Clock = CLOCK,
    ) -> Study:
        """Returns the study in a file, or of a spec made in Python; nothing is written before `launch`.

        It will lie in `runs` (default: $HPOSLURM_RUNS, else ./runs). What is laid over a file is as in `spec.load`.
        `launched` is the study of which a file is the next revision; its `take` then freezes it. Raises SpecError with
        all problems of the file, or with all that the backend has with the study.
        """
        from hposlurm.planner.resolve import read_study, resolve

        if isinstance(source, Path | str):
            file = Path(source)
            known = None if launched is None else launched.spec
            found = read_study(file, overlays=overlays, settings=settings, search_space=search_space, launched=known)
        else:
            file = None
            found = resolve(source, source.name)
        layout = StudyLayout((runs_directory() if runs is None else absolute(runs)) / found.spec.name)
        return cls(layout, found, beside=file.parent if file else None, clock=clock)

    @classmethod
    def open(
        cls, name_or_dir: Path | str | None = None, *, runs: Path | str | None = None, clock: Clock = CLOCK
    ) -> Study:
        """Returns the launched study of that name in `runs`, or in that directory; None is the only one there.

        Its files are read when they are first needed. Raises RequestError if there is no such study.
        """
        where = runs_directory() if runs is None else absolute(runs)
        return cls(only_study(where) if name_or_dir is None else find_study(name_or_dir, where), clock=clock)

    @staticmethod
    def overview(runs: Path | str | None = None, *, log: Log = silent, clock: Clock = CLOCK) -> list[StudyLine]:
        """Returns a line on each study in `runs`, newest first; one that cannot be read is told of and left out."""
        from hposlurm.report.overview import study_lines

        return study_lines(runs_directory() if runs is None else absolute(runs), clock.now(), log)

    @staticmethod
    def watch_all(
        runs: Path | str | None = None, *, log: Log = silent, clock: Clock = CLOCK
    ) -> Iterator[list[StudyLine]]:
        """Yields the lines of `overview` again and again without end; asks the queues less often."""
        from hposlurm.report.overview import watch_lines

        return watch_lines(runs_directory() if runs is None else absolute(runs), clock.now, clock.monotonic, log)

    # ---- going on

    def advance(self) -> Step:
        """Takes one planner step; safe at any time, by anyone, any number of times."""
        from hposlurm.planner import advance

        self._refuse_unplanned()
        return advance(self.layout, self.spec, self.backend, clock=self._clock)

    def advance_patiently(self, *, behind: int | None = None, log: Log = silent) -> Step:
        """Takes one planner step, again and again while the cluster takes no jobs; see planner/patience.py."""
        from hposlurm.planner import advance_patiently

        self._refuse_unplanned()
        return advance_patiently(self.layout, self.spec, self.backend, behind=behind, log=log, clock=self._clock)

    def wait(self, *, watch: Watch | None = None, log: Log = silent) -> History:
        """Returns the history once the study is over, or was cancelled; drives the study where it `stays`.

        `watch` is shown the history now and then. An interrupt (Ctrl-C) leaves a study that `resume` continues: on this
        machine its workers save and end first, on Slurm its jobs go on.
        """
        from hposlurm.planner.follow import follow, unwatched

        self._refuse_unlaunched()
        if self.stays:
            self.place_notes()
        layout, spec, backend = self.layout, self.spec, self.backend
        found = follow(
            layout, spec, backend, again=self._plans_on, watch=watch or unwatched, log=log, clock=self._clock
        )
        self._plans_on = False
        return found

    def cancel(self, trials: Sequence[int] = ()) -> str:
        """Cancels the study's jobs and submits no further wave, or takes single trials out; says what was cancelled."""
        from hposlurm.planner import cancel
        from hposlurm.planner.study import over
        from hposlurm.records.history import read_history

        self._refuse_unlaunched()
        self.place_notes()
        if self.spec and self.layout.simulated.exists():
            if trials:
                raise RequestError(f"{self.name} was simulated as a whole: none of its trials is running or waiting")
            return over(read_history(self.layout))
        return cancel(self.layout, self.backend, trials)

    def revise(self, settings: Sequence[str]) -> str | None:
        """Freezes a changed spec as the next revision; says how many trials lie in a changed space, else None.

        `settings` are "a.b.c=value". Raises RequestError for what may not change.
        """
        from hposlurm.planner import revise
        from hposlurm.planner.revise import space_note
        from hposlurm.records.history import read_history

        self._refuse_resumed()
        known, self._spec, self._preview = self.spec, revise(self.layout, settings), None
        return space_note(known, self._spec, read_history(self.layout))

    def differences(self, revision: Study) -> list[str]:
        """Returns what a revision of the study would change, one "key: old → new" each."""
        from hposlurm.planner.revise import differences

        return differences(self.spec, revision.spec)

    def take(self, revision: Study) -> str | None:
        """Freezes the spec of a study that was created as a revision of this one, as `revise` does."""
        from hposlurm.planner.revise import space_note, take
        from hposlurm.records.history import read_history

        self._refuse_resumed()
        known, self._spec, self._preview = self.spec, take(self.layout, self.spec, revision.spec), None
        return space_note(known, self._spec, read_history(self.layout))

    def resume(self, settings: Sequence[str] = ()) -> Step | None:
        """Goes on with the study: after a cancel, an interrupt, with a raised budget, or when its chain is gone.

        `settings` change its spec first (`revise`). Returns the step, None where `wait` has to take it (`stays`).
        """
        from hposlurm.planner import set_going
        from hposlurm.planner.study import lift_stop

        self._refuse_resumed()
        if settings:
            self.revise(settings)
        is_driven = self.stays
        lift_stop(self.layout)
        if is_driven:
            self._plans_on = True
            return None
        return set_going(self.layout, self.spec, self.backend, again=True, clock=self._clock)

    def reopen(self, trials: Sequence[int] = ()) -> tuple[int, ...]:
        """Records that failed trials run again, by default all that failed by themselves; returns their numbers.

        `resume` then runs them. Raises RequestError for a trial that has not failed, and if none has.
        """
        from hposlurm.planner import order_retry
        from hposlurm.records.history import read_history

        self._refuse_resumed()
        return order_retry(self.layout, read_history(self.layout), self._clock.now(), trials)

    def retry(self, trials: Sequence[int] = ()) -> Step | None:
        """Runs failed trials again and goes on with the study: `reopen`, then `resume`."""
        self.reopen(trials)
        return self.resume()

    def clear(self, keep: int | None = None, *, dry_run: bool = False) -> Cleared:
        """Deletes checkpoints that nothing needs any more, or only says which; those of the best `keep` trials stay."""
        from hposlurm.planner.retention import clear
        from hposlurm.records.history import read_history

        self.place_notes()
        return clear(self.layout, self.spec, read_history(self.layout), keep, dry_run=dry_run)

    def rebuild(self) -> History:
        """Publishes everything again from the journals; raises StudyError if something cannot be published."""
        from hposlurm.publish import rebuild

        self._refuse_unlaunched()
        self.place_notes()
        return rebuild(self.layout, self.spec)

    def _refuse_resumed(self) -> None:
        self._refuse_unlaunched()
        self.place_notes()
        again = "hposlurm launch STUDY.yaml --backend simulated --set name=ANOTHER"
        self._refuse_simulated(f"was simulated as a whole and does not continue; simulate it again: {again}")

    def _refuse_unplanned(self) -> None:
        """Raises RequestError for a study whose steps are not for a single planner step to take."""
        self._refuse_unlaunched()
        self.place_notes()
        self.spec  # noqa: B018 - what is wrong with it comes first
        if self.layout.simulated.exists():
            raise RequestError(f"{self.name} was simulated as a whole and does not continue")
        if self.backend.is_foreground:
            where = "runs on this machine, in the foreground"
            raise RequestError(f"{self.name} {where}: hposlurm resume {self.name} continues it")
