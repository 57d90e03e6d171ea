"""Publishes and cleans up, after a step and while a refill wave runs. A failure does not prevent the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hposlurm.planner.retention import tidy
from hposlurm.publish import Published, publish_files, publish_outside
from hposlurm.records.history import History
from hposlurm.records.layout import StudyLayout

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec


def publish_and_tidy(layout: StudyLayout, spec: StudySpec, history: History, *, tidies: bool = True) -> tuple[str, ...]:
    """Writes the local files, cleans up if `tidies`, and last sends to outside services.

    Must be called after the next wave is submitted, since a disk or a service may be slow. Returns why local files
    could not be written.
    """
    study = Published(layout, spec, history)
    failures = publish_files(study)
    if tidies:
        tidy(layout, spec, history)
        if failures:  # a disk that was full may have room now
            failures = publish_files(study)
    publish_outside(study)
    return failures
