"""Reads the records of a study, once for everything that is shown of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hposlurm.records.history import History, read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.report.tables import StudyResults

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


@dataclass(frozen=True, slots=True)
class StudyRecords:
    """The contents of a study's files at one moment."""

    #: their paths
    layout: StudyLayout
    #: the newest revision of the frozen spec
    spec: StudySpec
    #: trials and plans
    history: History

    @property
    def results(self) -> StudyResults:
        """Returns the part that a result table needs."""
        return StudyResults(self.spec.name, self.history, tuple(self.spec.objectives), self.spec.limits)


def read_records(
    layout: StudyLayout, spec: StudySpec | None = None, after: StudyRecords | None = None, *, curves: bool = True
) -> StudyRecords:
    """Reads a study's records as they are now. Give `spec` if it is already known; it is then not read again.

    `after` are earlier records of the study, after which reading continues. Without `curves` most reports of completed
    trials may be left out; a table of results is the same. Raises StudyError or SpecError if they cannot be read.
    """
    from hposlurm.decisions import needed_of
    from hposlurm.spec.frozen import frozen_spec

    spec = frozen_spec(layout) if spec is None else spec
    known = None if after is None else after.history
    needed = needed_of(spec)
    history = read_history(layout, needed=needed, after=known, curves=curves or bool(needed.rungs))
    return StudyRecords(layout, spec, history)
