"""Finds the Trainer's checkpoints that a command saves without announcing them, and at which step they were saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hposlurm.records.checkpoint_files import TRAINER_STATE, problem_without_mark
from hposlurm.records.files import from_json
from hposlurm.records.layout import COMPLETE
from hposlurm.records.reading import read_whole
from hposlurm.worker.checkpoints import PARTIAL, ranks_of


class SavedCheckpoints:
    """The whole checkpoints in a trial's directory that are neither marked nor announced."""

    def __init__(self, directory: Path, gpus: int) -> None:
        self._directory, self._gpus = directory, gpus
        self._known = dict(self._found())  # those of earlier attempts

    def new(self, last: int | None) -> list[tuple[int, Path]]:
        """Returns the step and the path of each one that was saved since the last call.

        `last` is the last step that was reported; nothing is found before there is one.
        """
        changed = [path for path, written_at in self._found() if self._known.get(path) != written_at]
        if last is None or not changed:
            return []
        ranks = ranks_of((path for path, _ in self._found()), self._gpus)
        written = dict(self._found())
        whole = [path for path in changed if not problem_without_mark(path, ranks)]
        self._known.update({path: written[path] for path in whole if path in written})
        return [(step_of(path, last), path) for path in whole]

    def _found(self) -> Iterator[tuple[Path, int]]:
        try:
            paths = sorted(self._directory.iterdir())
        except OSError:
            return
        for path in paths:
            try:
                written_at = (path / TRAINER_STATE).stat().st_mtime_ns
            except OSError:
                continue
            if not path.name.startswith((PARTIAL, ".")) and not (path / COMPLETE).exists():
                yield path, written_at


def step_of(checkpoint: Path, last: int) -> int:
    """Returns the step of a checkpoint in the unit of the reports, the last of which was at `last`.

    The Trainer knows its optimizer steps and epochs. The larger of the two that is not beyond `last` is the unit; a
    script that counts something else has saved after its last report.
    """
    try:
        state: dict[str, Any] = from_json(read_whole(checkpoint / TRAINER_STATE))
        found = [int(state[key] + 1e-6) for key in ("global_step", "epoch")]
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return last
    return max((step for step in found if 0 < step <= last), default=last)
