"""What follows a refill wave while it runs: the published files, and the checkpoints that nothing needs any more."""

from __future__ import annotations

import time

from hposlurm.assignments import upkeep
from hposlurm.history import read_history
from hposlurm.layout import StudyLayout
from hposlurm.planner.retention import tidy
from hposlurm.publish import publish


def keep_up(layout: StudyLayout, wave: int) -> bool:
    """Publishes and tidies as the planner does between waves; False if that is the planner's again.

    May be repeated, and be killed, at any time. Raises StudyError, SpecError or OSError if something cannot be read or
    written.
    """
    from hposlurm.spec import load

    begun = time.monotonic()
    upkeep.note(layout.wave(wave), 0.0)  # also of one that never comes to its end: the next is not tried at once
    spec = load(layout.spec(layout.revisions()[-1]), frozen=True)
    history = read_history(layout)
    if layout.stop.exists() or layout.waves()[-1] != wave:
        return False  # a planner was there meanwhile, and what it published is newer
    publish(layout, history, spec.publish, spec.limits)
    tidy(layout, spec, history)
    upkeep.note(layout.wave(wave), time.monotonic() - begun)
    return True
