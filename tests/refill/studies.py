"""A study in waves.mode refill on disk, whose elements start and end one by one, in the order that a test wants."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from hposlurm.planner import advance, create
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.plan import read_plan
from hposlurm.spec import StudySpec
from hposlurm.trial import JobState
from hposlurm.worker.binding import find_assignment
from tests.planner.fake import FakeCluster, new_layout, spec

WAVES = {"mode": "refill", "max_concurrent": 4}


class Lab:
    """Element `e` of the wave that runs starts with `start(e)`, which answers with its trial; it ends with `end(e)`."""

    def __init__(self, root: Path, **changes: Any) -> None:
        self.study: StudySpec = spec(**{"waves": WAVES, **changes})
        self.layout: StudyLayout = new_layout(root)
        self.cluster = FakeCluster()
        self._running: dict[int, Path] = {}
        create(self.layout, self.study)
        self.step()

    def step(self) -> str:
        return advance(self.layout, self.study, self.cluster).kind

    @property
    def wave(self) -> int:
        return read_history(self.layout).plans[-1].wave

    def assigned(self) -> list[int]:
        return [a.trial for a in read_plan(self.layout.wave(self.wave)).assignments]

    def start(self, element: int) -> int | None:
        found = find_assignment(self.layout, self.wave, element, patience_s=0)
        if found is None:
            return None
        assignment = found[1]
        trial = self.layout.trial(assignment.trial)
        trial.root.mkdir(parents=True, exist_ok=True)
        number = len(trial.attempts())
        self._running[element] = trial.journal(number)
        self._write(
            element,
            "start",
            trial=assignment.trial,
            attempt=number,
            wave=self.wave,
            index=element,
            stage=assignment.stage,
            host="n1",
            job_id=f"{100 + self.wave}_{element}",
            restart=0,
            gpus=2,
        )
        return assignment.trial

    def end(self, element: int, loss: float | str = 1.0, step: int = 1, exit_code: int = 1) -> None:
        """Its training reported `loss` and is complete; with a text it failed, or was interrupted by that signal."""
        if isinstance(loss, float):
            self._write(element, "report", step=step, metrics={"loss": loss})
            self._write(element, "checkpoint", step=step, path=f"checkpoint-{step}")
            self._write(element, "end", outcome="complete", exit_code=0, metrics={"loss": loss})
        else:
            outcome = "interrupted" if loss.startswith("SIG") else "fail"
            self._write(element, "end", outcome=outcome, reason=loss, exit_code=exit_code)

    def report(self, element: int, step: int, loss: float) -> None:
        self._write(element, "report", step=step, metrics={"loss": loss})
        self._write(element, "checkpoint", step=step, path=f"checkpoint-{step}")

    def _write(self, element: int, kind: str, **fields: Any) -> None:
        with self._running[element].open("a") as file:
            file.write(json.dumps({"kind": kind, "t": time.time(), **fields}) + "\n")

    def over(self) -> None:
        """All jobs of the wave have ended."""
        for job in self.cluster.arrays.values():
            job["state"] = JobState.COMPLETED
