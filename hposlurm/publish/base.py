"""The seam of publishing: what a publisher is given, and what it has to do."""

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
    """A study as publishers are given it."""

    layout: StudyLayout
    spec: StudySpec
    history: History


class Publisher(Protocol):
    """Writes a study somewhere else, again and again while it grows.

    It is built with its options from the study file. Two processes may publish the same study at the same moment, and
    everything may be sent a second time: publishing must be idempotent. An outside service must not be waited for
    without a limit, since a planner's job, or a study on this machine, waits as well.
    """

    def publish(self, study: Published, cursor: Cursor, /) -> None:
        """Writes whole files, or sends what `cursor.news(study.history)` says.

        Raises StudyError or OSError; an outside service may raise anything.
        """
        ...
