"""The interface of publishers: what a publisher receives and what it must do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hposlurm.publish.cursor import Cursor
from hposlurm.records.history import History
from hposlurm.records.layout import StudyLayout

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


@dataclass(frozen=True, slots=True)
class Published:
    """A study as a publisher receives it."""

    layout: StudyLayout
    spec: StudySpec
    history: History


class Publisher(Protocol):
    """Writes a study somewhere else, repeatedly while the study grows.

    A publisher is constructed with its options from the study file. Publishing must be idempotent: two processes may
    publish the same study at the same moment, and everything may be sent twice. Each wait for an outside service needs
    a limit, because a planner's job, or a study on this machine, waits as well.
    """

    def publish(self, study: Published, cursor: Cursor, /) -> None:
        """Writes whole files, or sends what `cursor.news(study.history)` yields.

        Raises StudyError or OSError; an outside service may raise anything.
        """
        ...
