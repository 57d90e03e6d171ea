"""What follows a refill wave while it runs: the published files, and the checkpoints that nothing needs any more."""

from __future__ import annotations

import time

from hposlurm.planner.retention import tidy
from hposlurm.publish import publish
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.refill import upkeep


def keep_up(layout: StudyLayout, wave: int) -> bool:
    """Publishes and tidies as the planner does between waves; False if that is the planner's again.

    May be repeated, and be killed, at any time. What a planner, or `cancel`, publishes in this very moment may be
    replaced by what was so a moment before, until the next time. Raises StudyError, SpecError or OSError if something
    cannot be read or written, or study.yaml was exchanged for one that ranks trials by something else.
    """
    from hposlurm.spec.frozen import frozen_spec

    begun = time.monotonic()
    # also of one that never comes to its end: the next is not tried at once, and no sooner than after the last one
    upkeep.note(layout.wave(wave), upkeep.seconds(layout.wave(wave)))
    spec = frozen_spec(layout)
    history = read_history(layout)
    if layout.stop.exists() or layout.waves()[-1] != wave:
        return False  # a planner was there meanwhile, and what it published is newer
    publish(layout, history, spec.publish, spec.limits)
    tidy(layout, spec, history)
    upkeep.note(layout.wave(wave), time.monotonic() - begun)
    return True
