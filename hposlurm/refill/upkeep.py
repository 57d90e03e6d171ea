"""Updates the published files of a study while a refill wave runs, and removes unneeded checkpoints.

The planner publishes and cleans up only after a wave, and a refill wave may last for days. Meanwhile a process that has
proposed more assignments, and for which no element waits, does it.
"""

from __future__ import annotations

import signal
import sys
import time

from hposlurm.decisions import needed_of
from hposlurm.errors import StudyError
from hposlurm.planner.publishing import publish_and_tidy
from hposlurm.records import files, refill_pool
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout, WaveLayout
from hposlurm.records.reading import read_whole

#: The shortest pause between two updates.
EVERY_S = 60.0
# The pause as a multiple of the last duration: writing a large study's files takes at most a twentieth of the time
_REST = 19.0
# The lease expires after this time. A second process then does no harm: each file is replaced atomically.
_DEAD_S = 900.0


def is_due(wave: WaveLayout) -> bool:
    """True if the published files are due for an update and this process has acquired the lease for it.

    Raises OSError if the study's directory is not writable.
    """
    try:
        is_late = files.age_s(wave.upkeep) > max(EVERY_S, _REST * seconds(wave))
    except FileNotFoundError:
        is_late = files.age_s(wave.plan) > EVERY_S
    return is_late and refill_pool.acquire(wave.upkeep_lease, _DEAD_S)


def catch_up(layout: StudyLayout, wave: int) -> None:
    """Publishes and cleans up, and releases the lease that `is_due` acquired. Raises the errors of `keep_up`.

    From now on SIGTERM ends this process: the worker sends it when the trial ends. Incomplete files are removed.
    """
    try:
        signal.signal(signal.SIGTERM, _end)
        # a worker starts its processes with SIGTERM blocked: a pending signal is handled here
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        keep_up(layout, wave)
    finally:
        done(layout.wave(wave))


def _end(_number: int, _frame: object) -> None:
    sys.exit(1)


def keep_up(layout: StudyLayout, wave: int) -> bool:
    """Publishes and cleans up as the planner does between waves; returns False if the planner is responsible again.

    May be repeated, or killed, at any time. If a planner or `cancel` publishes at the same moment, its files may be
    replaced by slightly older ones until the next update. Raises StudyError, SpecError or OSError if something cannot
    be read or written, or if study.yaml was replaced by one with other objectives. A published file that cannot be
    written does not prevent the rest.
    """
    from hposlurm.spec.frozen import frozen_spec

    begun = time.monotonic()
    # noted before it starts, so that the next update waits as long after one that never ends
    note(layout.wave(wave), seconds(layout.wave(wave)))
    spec = frozen_spec(layout)
    history = read_history(layout, needed=needed_of(spec))
    if layout.stop.exists() or layout.waves()[-1] != wave:
        return False  # a planner was active meanwhile, and its files are newer
    failures = publish_and_tidy(layout, spec, history)
    note(layout.wave(wave), time.monotonic() - begun)
    if failures:
        raise StudyError("; ".join(failures))
    return True


def note(wave: WaveLayout, taken_s: float) -> None:
    """Records the time of this call as the start or end of an update, and the seconds that one takes."""
    files.publish(wave.upkeep, files.to_json({"seconds": taken_s}), is_durable=False)


def done(wave: WaveLayout) -> None:
    """Releases the lease."""
    refill_pool.release(wave.upkeep_lease)


def seconds(wave: WaveLayout) -> float:
    """Returns the seconds that the last update took; 0 if that is not known."""
    try:
        return float(files.from_json(read_whole(wave.upkeep))["seconds"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0.0
