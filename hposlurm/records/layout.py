"""All paths in a study directory. Standard library only: the worker imports this."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

#: The name of the mark of a complete checkpoint, which is written last.
COMPLETE = "COMPLETE"

_REVISION = re.compile(r"study\.([1-9][0-9]{0,8})\.yaml")
_ATTEMPT = re.compile(r"attempt-(0|[1-9][0-9]{0,8})\.jsonl")
_RETRY_ORDER = re.compile(r"retry\.([1-9][0-9]{0,8})\.json")
_BATCH = re.compile(r"batch-([0-9]{5,9})\.json")


def marker_of(checkpoint: Path) -> Path:
    """Returns the path of a checkpoint's mark: in the checkpoint's directory, or beside its file."""
    return checkpoint / COMPLETE if checkpoint.is_dir() else checkpoint.with_name(f"{checkpoint.name}.{COMPLETE}")


def number_of(name: str, digits: int) -> int | None:
    """Returns the number in a name that hposlurm wrote with at least `digits` digits; None for any other name."""
    value = int(name) if name.isascii() and name.isdecimal() and len(name) < 18 else None
    return value if value is not None and f"{value:0{digits}d}" == name else None


@dataclass(frozen=True, slots=True)
class WaveLayout:
    """Paths of one wave: `waves/0003/`."""

    root: Path
    index: int

    @property
    def plan(self) -> Path:
        return self.root / "wave.json"

    @property
    def intent(self) -> Path:
        return self.root / "intent.json"

    def takeover(self, intent: Path) -> Path:
        """Returns the path at which another planner claims the wave after the owner of `intent` has died."""
        middle = intent.name.split(".")[1]
        return self.root / f"intent.{int(middle) + 1 if middle.isdigit() else 1}.json"

    def intents(self) -> list[Path]:
        """Returns the existing claims on the wave, oldest first: intent.json, intent.1.json, …"""
        found = [self.intent] if self.intent.exists() else []
        while (following := self.takeover(found[-1] if found else self.intent)).exists():
            found.append(following)
        return found

    @property
    def jobs(self) -> Path:
        return self.root / "jobs.json"

    @property
    def planner_job(self) -> Path:
        return self.root / "planner.json"

    @property
    def released(self) -> Path:
        return self.root / "released"

    @property
    def cancelled(self) -> Path:
        return self.root / "cancelled"

    @property
    def paused(self) -> Path:
        """The mark that the wave's elements run nothing any more, with the cause for which the first ones failed."""
        return self.root / "paused.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def claims(self) -> Path:
        """The directory that records, in a refill wave, which element has taken which assignment."""
        return self.root / "claims"

    def claim(self, position: int) -> Path:
        return self.claims / f"{position:05d}"

    def element(self, index: int) -> Path:
        """Returns the file of an element of a refill wave. A claim of the element is a hard link to it."""
        return self.claims / f"element-{index:05d}.json"

    def batch(self, position: int) -> Path:
        """Returns the file of the batch of additional assignments that begins at `position` (refill waves only)."""
        return self.root / f"batch-{position:05d}.json"

    def batches(self) -> list[int]:
        """Returns the positions at which batches begin, ascending."""
        found = (_BATCH.fullmatch(path.name) for path in self.root.glob("batch-*.json"))
        return sorted(int(match.group(1)) for match in found if match)

    def lease(self, position: int, number: int = 0) -> Path:
        """Returns the lease on the batch that begins at `position`. The next number takes over an expired lease."""
        return self.root / f"batch-{position:05d}.{number}.lease"

    @property
    def upkeep(self) -> Path:
        """The time and duration of the last update of the published files while the wave runs."""
        return self.root / "upkeep.json"

    def upkeep_lease(self, number: int) -> Path:
        return self.root / f"upkeep.{number}.lease"

    def script(self, chunk: int = 0) -> Path:
        return self.root / ("trial.sbatch" if chunk == 0 else f"trial.{chunk}.sbatch")

    @property
    def planner_script(self) -> Path:
        return self.root / "planner.sbatch"

    def element_log(self, array_job_id: str, array_task_id: int, stream: str = "out") -> Path:
        """Returns the log that submitit's `job.stdout()` ("out") or `job.stderr()` ("err") reads."""
        return self.logs / f"{array_job_id}_{array_task_id}_0_log.{stream}"


@dataclass(frozen=True, slots=True)
class TrialLayout:
    """Paths of one trial: `trials/00017/`."""

    root: Path
    number: int

    @property
    def record(self) -> Path:
        return self.root / "trial.json"

    @property
    def request(self) -> Path:
        return self.root / "request"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    def journal(self, attempt: int) -> Path:
        return self.root / f"attempt-{attempt}.jsonl"

    def attempts(self) -> list[int]:
        """Returns the numbers of the attempts that have a journal, ascending; [] if the trial never started."""
        try:
            names = [p.name for p in self.root.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(int(m.group(1)) for name in names if (m := _ATTEMPT.fullmatch(name)))


@dataclass(frozen=True, slots=True)
class StudyLayout:
    """Paths of one study: `runs/<study>/`."""

    root: Path

    @property
    def stop(self) -> Path:
        return self.root / "STOP"

    @property
    def database(self) -> Path:
        return self.root / "study.db"

    @property
    def summary(self) -> Path:
        """The sum of the trials that are over for good, for `status` and `list`."""
        return self.root / "summary.json"

    @property
    def results(self) -> Path:
        return self.root / "results.csv"

    @property
    def reports(self) -> Path:
        return self.root / "reports.csv"

    def publication(self, publisher: str) -> Path:
        """Returns the record of a publisher: the data that it has received, and its last error."""
        return self.root / "publish" / f"{publisher}.json"

    def publications(self) -> dict[str, Path]:
        """Returns the existing ones, by the publisher's name."""
        return {path.stem: path for path in sorted((self.root / "publish").glob("*.json"))}

    @property
    def warm_start(self) -> Path:
        return self.root / "warm_start.json"

    @property
    def simulated(self) -> Path:
        """The summary of a simulated study; real studies have none."""
        return self.root / "simulated.json"

    @property
    def ds_config(self) -> Path:
        return self.root / "ds_config.json"

    def spec(self, revision: int = 0) -> Path:
        return self.root / ("study.yaml" if revision == 0 else f"study.{revision}.yaml")

    def revisions(self) -> list[int]:
        """Returns the existing revisions of the spec, ascending: 0 is `study.yaml`, 1 is `study.1.yaml`, …"""
        found = [0] if self.spec(0).exists() else []
        names = (path.name for path in self.root.glob("study.*.yaml"))
        found += [int(match.group(1)) for name in names if (match := _REVISION.fullmatch(name))]
        return sorted(found)

    def retry_order(self, number: int) -> Path:
        """Returns the file of an order to run failed trials again; orders count from 1."""
        return self.root / f"retry.{number}.json"

    def retry_orders(self) -> list[int]:
        """Returns the numbers of the existing orders, ascending."""
        names = (path.name for path in self.root.glob("retry.*.json"))
        return sorted(int(match.group(1)) for name in names if (match := _RETRY_ORDER.fullmatch(name)))

    def wave(self, index: int) -> WaveLayout:
        return WaveLayout(self.root / "waves" / f"{index:04d}", index)

    def waves(self) -> list[int]:
        """Returns the indices of the waves that have a plan, ascending."""
        plans = (self.root / "waves").glob("*/wave.json")
        return sorted(index for plan in plans if (index := number_of(plan.parent.name, 4)) is not None)

    @property
    def trials(self) -> Path:
        return self.root / "trials"

    def trial(self, number: int) -> TrialLayout:
        return TrialLayout(self.trials / f"{number:05d}", number)
