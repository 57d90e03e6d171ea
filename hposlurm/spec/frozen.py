"""Reads the spec that `launch` or `resume --set` froze in a study directory."""

from __future__ import annotations

from hposlurm.errors import StudyError
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import check_objectives
from hposlurm.spec import StudySpec, load


def frozen_spec(layout: StudyLayout, file: str | None = None) -> StudySpec:
    """Returns the newest revision of a study's frozen spec, or the one in `file` (a name in its directory).

    Raises StudyError if there is none, or if its objectives differ from those of the study's launch; SpecError if it
    cannot be read.
    """
    revisions = layout.revisions()
    if not revisions:
        raise StudyError(f"{layout.root} has no study.yaml, so it is not a study directory")
    spec = load(layout.spec(revisions[-1]) if file is None else layout.root / file, frozen=True)
    check_objectives(layout, [objective.metric for objective in spec.objectives])
    return spec
