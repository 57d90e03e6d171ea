"""The part of a study as one object that launches it: its preview, its cost, one trial to try, the first step.

As in `reader`, nothing is imported before it is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hposlurm.errors import RequestError
from hposlurm.records.clock import CLOCK, Clock, Log, silent
from hposlurm.records.layout import StudyLayout
from hposlurm.records.ownership import check_own, share_notes
from hposlurm.study.reader import StudyReader

if TYPE_CHECKING:
    from hposlurm.decisions.cost import CostQuestion
    from hposlurm.planner import Step
    from hposlurm.planner.canary import Canary
    from hposlurm.planner.resolve import Resolved
    from hposlurm.planner.study import Preview
    from hposlurm.simulation import Simulated, Trainer
    from hposlurm.simulation.run import Watch as WatchSimulation


class StudyLauncher(StudyReader):
    """A study that is launched: what it is before its first wave, and what takes the first step."""

    def __init__(
        self,
        layout: StudyLayout,
        resolved: Resolved | None = None,
        *,
        beside: Path | None = None,
        clock: Clock = CLOCK,
    ) -> None:
        """Takes the study at `layout`: `resolved`, or as its own directory says; `beside` is where its file lies."""
        super().__init__(layout, clock)
        #: what could not be checked when it was created
        self.notes = resolved.notes if resolved else ()
        self._spec = resolved.spec if resolved else None
        self._capacity = resolved.capacity if resolved else None
        self._beside = beside
        self._preview: Preview | None = None
        self._is_created = resolved is not None

    # ---- what it is

    @property
    def is_launched(self) -> bool:
        """True once its directory has a spec in it."""
        return self.layout.spec().exists()

    @property
    def is_simulated(self) -> bool:
        """True if nothing of it is trained: `simulate` runs it, whole."""
        return self.spec.backend == "simulated"

    @property
    def stays(self) -> bool:
        """True if a process has to stay and drive it: `wait` does."""
        from hposlurm.planner import stays

        return stays(self.spec, self.backend)

    def place_notes(self) -> tuple[str, ...]:
        """Returns what other users may do to the place of the study, and how to prevent it.

        Raises RequestError if one of them owns it, or may change or replace it: to act on it would run his commands.
        """
        return check_own(self.layout.root)

    def share_notes(self) -> tuple[str, ...]:
        """Returns why the group cannot read the study although it is shared with it."""
        return tuple(share_notes(self.layout.root)) if self.spec.share == "group" else ()

    # ---- launching

    def preview(self) -> Preview:
        """Returns the plan of wave 0, its scripts and the cost; writes nothing. The first answer is kept.

        Raises RequestError if there is nothing to try.
        """
        from hposlurm.planner import preview

        if self._preview is None:
            first = preview(self.layout, self.spec, self.capacity, self._clock)
            if not first.plan.assignments:
                what = first.plan.finished or "nothing is to be tried"
                where = "see parameters, constraints, forbidden"
                raise RequestError(f"{self.spec.name} would not have a single trial: {what}; {where}")
            self._preview = first
        return self._preview

    def cost_question(self) -> CostQuestion | None:
        """Returns what a person should be asked before `launch`, which does not ask; None if the study is small."""
        from hposlurm.decisions.cost import cost_question

        return cost_question(self.spec, self.preview().cost)

    def try_one(self, *, log: Log = silent) -> Canary:
        """Runs one short trial beside the study: does it report, save and resume? See planner/canary.py."""
        from hposlurm.planner.canary import run_canary

        self._refuse_simulated("is simulated: there is no trial to run")
        self.place_notes()
        return run_canary(self.layout, self.spec, self.backend, log)

    def launch(self, *, log: Log = silent) -> Step | None:
        """Writes the study's directory and takes the first step; None where `wait` has to take it (`stays`).

        If the cluster refuses, a directory that holds nothing yet is removed again. Raises RequestError if another
        study is in the way, BackendError if nothing could be submitted.
        """
        from hposlurm.planner.drivers import launch

        self._refuse_simulated("is simulated and has no jobs: simulate() runs it")
        for note in self.place_notes():
            log(f"note: {note}")
        warm = self.preview().warm
        return launch(self.layout, self.spec, self.backend, warm, log=log, clock=self._clock)

    def trainer(self) -> Trainer:
        """Returns the function that stands for the training of a simulated study.

        Raises RequestError if there is none of its name, or if the study's directory exists already.
        """
        from hposlurm.simulation import trainer_of

        return trainer_of(self.spec, self.layout, self._beside)

    def simulate(self, trainer: Trainer | None = None, *, watch: WatchSimulation | None = None) -> Simulated:
        """Simulates the study from its first wave to its end in virtual time, and writes its directory whole."""
        from hposlurm.simulation import simulate_study

        self.place_notes()
        warm = self.preview().warm
        return simulate_study(self.spec, self.layout, trainer or self.trainer(), warm, watch=watch)

    def _refuse_simulated(self, why: str) -> None:
        if self.is_simulated:
            raise RequestError(f"{self.name} {why}")

    def _refuse_unlaunched(self) -> None:
        """Raises RequestError for a study that was created and not launched: what it wrote would not be a study."""
        if self._is_created and not self.is_launched:
            raise RequestError(f"{self.name} is not launched yet: launch() comes first")
