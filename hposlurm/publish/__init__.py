"""Publishing: the history, written where other programs read it. Every file here can be deleted and made again.

May import report (rows and columns), spec and records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from hposlurm.errors import RequestError
from hposlurm.records.fail_points import fail_point
from hposlurm.records.history import History, read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.space.metric_constraints import NO_LIMITS, Limits


def publish(layout: StudyLayout, history: History, kinds: Sequence[str], limits: Limits = NO_LIMITS) -> None:
    """Writes what `kinds` names ("sqlite": study.db; "csv": results.csv and reports.csv), each file by rename.

    `limits` are those on measured metrics, for the reasons in the table. Raises RequestError for an unknown kind before
    anything is written, StudyError or OSError if writing fails.
    """
    for write in [_publisher(kind, limits) for kind in kinds]:
        write(layout, history)
        fail_point("one published")


def rebuild(layout: StudyLayout, kinds: Sequence[str], limits: Limits = NO_LIMITS) -> History:
    """Deletes everything published and makes it again from the plans and journals alone; returns their history.

    Nothing is deleted if the plans cannot be read (StudyError).
    """
    history = read_history(layout, use_database=False)
    for path in (layout.database, layout.results, layout.reports):
        path.unlink(missing_ok=True)
    publish(layout, history, kinds, limits)
    return history


def _publisher(kind: str, limits: Limits) -> Callable[[StudyLayout, History], None]:
    if kind == "sqlite":
        from hposlurm.publish.sqlite import publish_database

        return publish_database
    if kind == "csv":
        from hposlurm.publish.csv import publish_tables

        return partial(publish_tables, limits=limits)
    raise RequestError(f"publish: {kind!r} is unknown; there are sqlite and csv")
