"""Brings what is published of a study up to date while a refill wave runs, and removes unneeded checkpoints.

The planner publishes and tidies once a wave has ended, and one of refill mode may last for days. In between a process
that has proposed further assignments, and for which nobody waits, goes on with that.
"""

from __future__ import annotations

import signal
import sys
import time

from hposlurm.errors import StudyError
from hposlurm.planner.publishing import publish_and_tidy
from hposlurm.records import files, refill_pool
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout, WaveLayout

EVERY_S = 60.0
# A large study's files take long to write: not more than a twentieth of the time goes there
_REST = 19.0
# After so long whoever was at it counts as dead. Being wrong does no harm: each file is replaced in one step.
_DEAD_S = 900.0


def is_due(wave: WaveLayout) -> bool:
    """True if it is time to bring what is published up to date, and nobody is at it: this process holds the lease then.

    Raises OSError where the study's directory cannot be written to.
    """
    try:
        is_late = files.age_s(wave.upkeep) > max(EVERY_S, _REST * seconds(wave))
    except FileNotFoundError:
        is_late = files.age_s(wave.plan) > EVERY_S
    return is_late and refill_pool.acquire(wave.upkeep_lease, _DEAD_S)


def catch_up(layout: StudyLayout, wave: int) -> None:
    """Publishes and tidies, and releases the lease that `is_due` took. Raises as `keep_up`.

    From now on SIGTERM ends this process, as the end of the trial beside it does. What is half written is taken away.
    """
    try:
        signal.signal(signal.SIGTERM, _end)
        # a worker starts its processes with it held back: what came until now is answered here
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        keep_up(layout, wave)
    finally:
        done(layout.wave(wave))


def _end(_number: int, _frame: object) -> None:
    sys.exit(1)


def keep_up(layout: StudyLayout, wave: int) -> bool:
    """Publishes and tidies as the planner does between waves; False if that is the planner's again.

    May be repeated, and be killed, at any time. What a planner, or `cancel`, publishes in this very moment may be
    replaced by what was so a moment before, until the next time. Raises StudyError, SpecError or OSError if something
    cannot be read or written, or study.yaml was exchanged for one that ranks trials by something else. A published file
    that cannot be written keeps nothing else from happening.
    """
    from hposlurm.spec.frozen import frozen_spec

    begun = time.monotonic()
    # also of one that never comes to its end: the next is not tried at once, and no sooner than after the last one
    note(layout.wave(wave), seconds(layout.wave(wave)))
    spec = frozen_spec(layout)
    history = read_history(layout)
    if layout.stop.exists() or layout.waves()[-1] != wave:
        return False  # a planner was there meanwhile, and what it published is newer
    failures = publish_and_tidy(layout, spec, history)
    note(layout.wave(wave), time.monotonic() - begun)
    if failures:
        raise StudyError("; ".join(failures))
    return True


def note(wave: WaveLayout, taken_s: float) -> None:
    """Records that it was just begun, or done, and how many seconds it takes."""
    files.publish(wave.upkeep, files.to_json({"seconds": taken_s}), is_durable=False)


def done(wave: WaveLayout) -> None:
    """Releases the lease."""
    refill_pool.release(wave.upkeep_lease)


def seconds(wave: WaveLayout) -> float:
    """Returns how many seconds it took the last time; 0 where that is not known."""
    try:
        return float(files.from_json(wave.upkeep.read_bytes())["seconds"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0.0
