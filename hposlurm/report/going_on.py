"""Names the commands that go on with a paused study: the one place that every message takes them from."""

from __future__ import annotations

from collections.abc import Mapping

from hposlurm.records.history import History
from hposlurm.trial import TrialState


def ways_on(history: History, handle: str, *, more_failed: int = 0) -> dict[str, str]:
    """Returns the commands to choose from and what each does, the usual one first; {} if the study has not paused.

    `handle` names the study in commands. `more_failed` trials failed that the history is without.
    """
    if not history.paused:
        return {}
    has_failed = more_failed > 0 or any(trial.state is TrialState.FAIL for trial in history.trials)
    retry = {f"hposlurm retry {handle}": "runs the failed trials again"} if has_failed else {}
    return {**retry, f"hposlurm resume {handle}": "goes on without them" if has_failed else "goes on"}


def way_lines(ways: Mapping[str, str]) -> list[str]:
    """Returns one line for each of `ways_on`, the effects below each other."""
    width = max(map(len, ways), default=0)
    return [f"{command:<{width}}   ({effect})" for command, effect in ways.items()]
