"""Measures how full the memory of an attempt is: of the job's cgroup where that has a limit, else of the host.

A measurement reads a handful of small kernel files. It starts no process and does not wait.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
_NO_LIMIT = 2**60  # cgroup v1 says "none" with a number near 2**63
_SLURM_JOB = re.compile(r"job_\d+")


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement, in bytes."""

    #: Without what the kernel can drop: a file cache at its limit is not a danger.
    used: int
    limit: int
    swap: int
    #: True if only the job uses this memory, so that its peak is the job's.
    is_own: bool = False
    #: Its name for a person.
    place: str = "the host"

    @property
    def share(self) -> float:
        return self.used / self.limit


@dataclass(frozen=True, slots=True)
class _Level:
    """One memory cgroup between the process and the root, with the file names of its version."""

    folder: Path
    is_v2: bool

    def sample(self) -> Sample | None:
        """Returns a measurement; None where there is no limit."""
        limit = _number(self.folder / ("memory.max" if self.is_v2 else "memory.limit_in_bytes"))
        if limit is None or not 0 < limit < _NO_LIMIT:
            return None
        used = _number(self.folder / ("memory.current" if self.is_v2 else "memory.usage_in_bytes"))
        if used is None:
            return None
        stat = _table(self.folder / "memory.stat")
        prefix = "" if self.is_v2 else "total_"
        cache = sum(stat.get(f"{prefix}{name}", 0) for name in ("inactive_file", "active_file", "slab_reclaimable"))
        swap = (_number(self.folder / "memory.swap.current") or 0) if self.is_v2 else stat.get("total_swap", 0)
        return Sample(max(0, used - cache), limit, swap, self._is_slurms, f"its cgroup {self.folder.name or '/'}")

    @property
    def _is_slurms(self) -> bool:
        return any(_SLURM_JOB.fullmatch(part) for part in self.folder.parts)


class Gauge:
    """Measures the memory of this process's job; `proc` and `cgroup` are where the kernel shows it."""

    def __init__(self, proc: Path | None = None, cgroup: Path | None = None) -> None:
        self._meminfo = (proc or PROC) / "meminfo"
        self._levels = _levels(proc or PROC, cgroup or CGROUP)

    def look(self) -> Sample | None:
        """Returns the fullest limited cgroup around the process, where the kernel would kill first; else the host.

        None where nothing can be read. A limit above the host's memory does not count as a limit.
        """
        host = self._host()
        found = [sample for level in self._levels if (sample := level.sample()) is not None]
        if host is not None:
            found = [sample for sample in found if sample.limit <= host.limit]
        return max(found, key=lambda sample: sample.share, default=host)

    def _host(self) -> Sample | None:
        table = _table(self._meminfo)
        try:
            total, available = table["MemTotal:"] * 1024, table["MemAvailable:"] * 1024
        except KeyError:
            return None
        if total <= 0:
            return None
        swap = max(0, table.get("SwapTotal:", 0) - table.get("SwapFree:", 0)) * 1024
        return Sample(max(0, total - available), total, swap)


def _levels(proc: Path, root: Path) -> list[_Level]:
    """The memory cgroups of this process, innermost first: version 1 where it has the memory controller, else 2.

    In a container the kernel may name the path as the host sees it; folders that do not exist are left out.
    """
    paths = _own_paths(proc / "self" / "cgroup")
    is_v2 = "memory" not in paths
    base = root if is_v2 else root / "memory"
    own = paths.get("" if is_v2 else "memory")
    if own is None:
        return []
    parts = [part for part in own.split("/") if part]
    if ".." in parts:
        parts = []
    folders = [base.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
    return [_Level(folder, is_v2) for folder in folders if folder.is_dir()]


def _own_paths(file: Path) -> dict[str, str]:
    """Returns the path of each controller; that of version 2 has the name ""."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    rows = (line.split(":", 2) for line in lines)
    return {name: row[2] for row in rows if len(row) == 3 for name in row[1].split(",")}


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except (OSError, ValueError):
        return None
    return int(text) if text.isdecimal() else None


def _table(path: Path) -> Mapping[str, int]:
    """Reads lines "name number …" as a mapping; {} if the file cannot be read."""
    try:
        rows = [line.split() for line in path.read_text().splitlines()]
    except (OSError, ValueError):
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}
