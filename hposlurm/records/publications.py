"""Keeps what each publisher of a study was sent, and why it failed last. Standard library only.

Nothing depends on these files: without them an outside service is sent everything again.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field

from hposlurm.records import trees
from hposlurm.records.decode import structure
from hposlurm.records.files import from_json, publish, to_json
from hposlurm.records.layout import StudyLayout
from hposlurm.records.permissions import make_directory
from hposlurm.records.reading import read_whole


@dataclass(frozen=True, slots=True)
class Sent:
    """The part of one trial that a service was sent."""

    #: A digest of all that is known of the trial but its reports.
    digest: str
    #: How many reports of each attempt, by the attempt's number.
    reports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Publication:
    """The record of one publisher."""

    #: A digest of the options with which it was sent: with others it goes elsewhere, perhaps.
    target: str = ""
    #: By the trial's number; empty for a publisher that writes whole files.
    sent: Mapping[str, Sent] = field(default_factory=dict)
    #: Why it failed last, "" if it did not.
    failure: str = ""


def read_publication(layout: StudyLayout, name: str) -> Publication:
    """Returns the record of the publisher `name`; an empty one if it is lost or damaged."""
    try:
        return structure(Publication, from_json(read_whole(layout.publication(name))))
    except (OSError, ValueError, TypeError):
        return Publication()


def write_publication(layout: StudyLayout, name: str, record: Publication) -> None:
    """Replaces the record of the publisher `name`; removes it if it says nothing."""
    path = layout.publication(name)
    if not (record.sent or record.failure):
        forget(layout, keep=layout.publications().keys() - {name})
        return
    make_directory(path.parent)
    if path.parent.is_symlink():
        raise OSError(errno.ELOOP, "it is a link", str(path.parent))
    publish(path, to_json(asdict(record)), is_durable=False)


def forget(layout: StudyLayout, keep: Collection[str] = ()) -> None:
    """Removes the records of all publishers but those named in `keep`. Raises OSError if their directory is a link."""
    folder = layout.publication("").parent
    with (
        contextlib.suppress(FileNotFoundError),
        trees.opened(layout.root) as root,
        trees.opened_below(root, folder.name, folder) as directory,
    ):
        for name in layout.publications().keys() - {*keep}:
            os.unlink(f"{name}.json", dir_fd=directory)


def publishing_failures(layout: StudyLayout) -> dict[str, str]:
    """Returns why publishers failed last, by their names; those that did not are left out."""
    found = {name: read_publication(layout, name).failure for name in layout.publications()}
    return {name: failure for name, failure in found.items() if failure}
