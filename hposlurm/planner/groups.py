"""Groups the elements of a wave that have the same time limit and priority, and are queued together."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from hposlurm.backend import Group
from hposlurm.decisions import mode_of
from hposlurm.records.assignment import Assignment
from hposlurm.records.plan import WavePlan
from hposlurm.search import stage_ends

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

#: The `--nice` of elements that only fill gaps. It does not grow from wave to wave, since other users' jobs wait too.
NICE = 100


def groups_of(spec: StudySpec, plan: WavePlan) -> tuple[Group, ...]:
    """Returns the wave's elements in their order, as groups of neighbours; () for a refill wave.

    If waves overlap, new trials let continued trials go first, even those planned later, and the trials of earlier
    waves.
    """
    if plan.elements is not None:
        return ()
    yields = mode_of(spec).name == "overlap" and (bool(plan.in_flight) or bool(stage_ends(spec.search)))

    def place(a: Assignment) -> tuple[int, int]:
        limit_s = plan.time_limit_s if a.time_limit_s is None else a.time_limit_s
        minutes = spec.resources.time_min if limit_s is None else round(limit_s / 60)
        return minutes, NICE if yields and a.from_step == 0 else 0

    return tuple(Group(len(list(found)), *key) for key, found in groupby(plan.assignments, place))
