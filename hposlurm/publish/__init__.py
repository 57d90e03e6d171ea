"""Publishing: writes the history where other programs read it. Each published file can be deleted and built again.

A publisher is a class that follows the protocol in base.py, and a row in the table of spec/publishing.py.

May import report (rows and columns), decisions, spec and records.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING

from hposlurm.decisions import needed_of
from hposlurm.errors import StudyError
from hposlurm.publish.base import Published, Publisher
from hposlurm.publish.cursor import Cursor, TrialNews, digest_of
from hposlurm.records.fail_points import fail_point
from hposlurm.records.history import History, read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.publications import Publication, forget, read_publication, write_publication
from hposlurm.report.numbers import shorten
from hposlurm.report.printable import printable
from hposlurm.report.records import StudyRecords
from hposlurm.report.summary import write_summary

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec
    from hposlurm.spec.publishing import PublisherEntry

__all__ = ["Cursor", "Published", "Publisher", "TrialNews", "publish_files", "publish_outside", "rebuild", "send"]

# characters of an error's text: some libraries quote whole web pages
_LONGEST_FAILURE = 300


def publish_files(study: Published) -> tuple[str, ...]:
    """Writes the local files that the study file asks for, and the summary for `status` and `list`, each by rename.

    A failure does not prevent the other files from being written. Returns one sentence per failure; `status` shows it
    until the next time that the study is published.
    """
    failures = _publish(study, is_local=True)
    try:
        write_summary(StudyRecords(study.layout, study.spec, study.history))
    except (OSError, ValueError) as error:  # without it everything is read
        failures = (*failures, f"summary.json: not published: {_failure_text(error)}")
    return failures


def publish_outside(study: Published) -> tuple[str, ...]:
    """Sends new results to the outside services that the study file names; returns failures as `publish_files` does.

    A failure does not end the study: the next call sends what is missing. A simulated study is not sent.
    """
    if study.layout.simulated.exists():
        return ()
    return _publish(study, is_local=False)


def rebuild(layout: StudyLayout, spec: StudySpec) -> History:
    """Deletes everything published, builds it again from the plans and journals only, and returns their history.

    Outside services receive everything again. Nothing is deleted if the plans cannot be read. Raises StudyError if a
    file cannot be written or a service not be reached, after all others were published.
    """
    history = read_history(layout, use_database=False, needed=needed_of(spec))
    for path in (layout.database, layout.summary, layout.results, layout.reports):
        path.unlink(missing_ok=True)
    forget(layout)
    study = Published(layout, spec, history)
    if failures := (*publish_files(study), *publish_outside(study)):
        raise StudyError("; ".join(failures))
    return history


def send(study: Published, entry: PublisherEntry) -> str:
    """Sends everything to `entry` once, whatever it was sent before. Returns the reason for a failure, "" for none.

    What is known there already is not doubled: publishers are idempotent.
    """
    try:
        _build(entry).publish(study, Cursor({}))
    except Exception as error:  # a service's library may raise any error
        return _failure_text(error)
    return ""


def _failure_text(error: Exception) -> str:
    return shorten(printable(str(error)), _LONGEST_FAILURE) or type(error).__name__


def _publish(study: Published, *, is_local: bool) -> tuple[str, ...]:
    with contextlib.suppress(OSError):
        forget(study.layout, keep=[entry.name for entry in study.spec.publish])
    failures = []
    for entry in study.spec.publish:
        if entry.kind.is_local is is_local:
            if failure := _publish_one(study, entry):
                failures.append(f"{entry.name}: not published: {failure}")
            fail_point("one published")
    return tuple(failures)


def _publish_one(study: Published, entry: PublisherEntry) -> str:
    """Publishes to `entry`. Returns the reason for a failure, "" for none."""
    known = read_publication(study.layout, entry.name)
    target = digest_of(entry.options.model_dump(mode="json"))
    cursor = Cursor(known.sent if known.target == target else {})
    failure = ""
    # a service's library may raise any error; a local publisher raises only these two
    expected = (StudyError, OSError) if entry.kind.is_local else (Exception,)
    try:
        _build(entry).publish(study, cursor)
    except expected as error:
        failure = _failure_text(error)
    record = Publication(target if cursor.sent else "", cursor.sent, failure)
    if record != known:
        with contextlib.suppress(OSError):  # a full disk: the same results are sent again next time
            write_publication(study.layout, entry.name, record)
    return failure


def _build(entry: PublisherEntry) -> Publisher:
    module, _, name = entry.kind.implementation.partition(":")
    publisher: Publisher = getattr(importlib.import_module(module), name)(entry.options)
    return publisher
