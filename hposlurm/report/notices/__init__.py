"""Notices: what a person should look at in the results of a study, and would hardly see in a table.

Each kind is a pure function of the records in a module of its own family, and silent where the results are as they
should be. May import what its room, report, may.
"""

from __future__ import annotations

from hposlurm.report.notices.notice import Evidence, Notice, evidence_of
from hposlurm.report.records import StudyRecords

__all__ = ["Evidence", "Notice", "notices"]


def notices(records: StudyRecords) -> tuple[Notice, ...]:
    """Returns what is noticed in a study's results, the gravest first; () if there is nothing to say.

    The gravest are those by which the values mean something else than they seem to.
    """
    # the families need the search, and a reader of a notice does not
    from hposlurm.report.notices.metrics import metric_notices
    from hposlurm.report.notices.parameters import parameter_notices
    from hposlurm.report.notices.repeats import repeat_notices
    from hposlurm.report.notices.rungs import rung_notices
    from hposlurm.report.notices.spending import spending_notices

    found = evidence_of(records)
    return (
        *metric_notices(found),
        *parameter_notices(found),
        *repeat_notices(found),
        *rung_notices(found),
        *spending_notices(found),
    )
