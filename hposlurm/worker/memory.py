"""The memory guard: warns when memory runs short, and asks the training to save and stop before the kernel kills it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from hposlurm.worker.gauge import Sample

LOOK_S = 1.0
_NOISE = 0.001  # of the limit: less is not a trend
_SPIKE_BYTES, _SPIKE_SHARE = 256 * 10**6, 0.01  # what must have gone into swap to count, the larger of the two


class Advice(Enum):
    """The action that the last measurements of the memory call for."""

    NOTHING = "nothing"
    WARN = "warn"
    STOP = "stop"


def advise(looks: Sequence[Sample], warning: float, grace: int) -> tuple[Advice, str]:
    """Classifies `looks`, the measurements, oldest first; gives the reason with STOP.

    NOTHING below the share `warning`. WARN above it. STOP after `grace` further measurements above it, unless usage
    fell; or at once if swap fills up, or if at its present pace usage would reach the limit within the grace.
    """
    if not looks or looks[-1].share < warning:
        return Advice.NOTHING, ""
    now = looks[-1]
    looks = [look for look in looks[-grace - 1 :] if look.limit == now.limit]
    swapped = now.swap - min(look.swap for look in looks)
    if swapped >= max(_SPIKE_BYTES, _SPIKE_SHARE * now.limit):
        return Advice.STOP, f"swap_spike:{swapped / 10**6:.0f}MB"
    high = _high(looks, warning)
    growth = now.used - high[0].used
    is_rising = growth > _NOISE * now.limit
    left = grace + 1 - len(high)
    if is_rising and (left <= 0 or now.used + left * growth / (len(high) - 1) >= now.limit):
        return Advice.STOP, f"sustained_high_memory_rising:{now.share:.1%}"
    if left <= 0 and growth >= -_NOISE * now.limit:
        return Advice.STOP, f"sustained_high_memory_stable:{now.share:.1%}"
    return Advice.WARN, ""


def _high(looks: Sequence[Sample], warning: float) -> Sequence[Sample]:
    """Returns the last measurements that are at or above `warning` without a break."""
    start = len(looks) - 1
    while start and looks[start - 1].share >= warning:
        start -= 1
    return looks[start:]


@dataclass(slots=True)
class Guard:
    """Measures once a second and remembers what `advise` needs."""

    #: A Gauge's.
    look: Callable[[], Sample | None]
    warning: float
    grace: int
    #: Why the training is to save and stop; "" while it is not.
    asked: str = ""
    #: The most that the job used, where its memory is measured apart from that of others.
    peak: int | None = None
    last: Sample | None = None
    has_warned: bool = False
    _next_look: float = 0.0
    _looks: Sequence[Sample] = ()

    def tick(self, now: float) -> Advice:
        """Measures if it is time (`now` is of `time.monotonic()`). Returns WARN once and STOP once."""
        if now < self._next_look:
            return Advice.NOTHING
        self._next_look = now + LOOK_S
        sample = self.look()
        if sample is None:
            return Advice.NOTHING
        self.last = sample
        if sample.is_own:
            self.peak = max(sample.used, self.peak or 0)
        self._looks = [*self._looks, sample][-self.grace - 1 :]
        if self.asked:
            return Advice.NOTHING
        advice, self.asked = advise(self._looks, self.warning, self.grace)
        is_news = advice is Advice.STOP or not self.has_warned
        self.has_warned |= advice is Advice.WARN
        return advice if is_news else Advice.NOTHING
