"""A make-believe /proc and /sys/fs/cgroup: what the kernel would show of an attempt's memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MB = 10**6


@dataclass(frozen=True)
class Kernel:
    """`root` holds `proc` and `cgroup`; a host with 1 GB of memory, half of it free, that sets no limits."""

    root: Path
    path: str = "/system.slice/slurmstepd.scope/job_7/step_0/user/task_0"

    @classmethod
    def make(cls, root: Path, path: str | None = None) -> Kernel:
        kernel = cls(root) if path is None else cls(root, path)
        (kernel.proc / "self").mkdir(parents=True)
        kernel.cgroup.mkdir()
        kernel.host(available=500 * MB)
        return kernel

    @property
    def proc(self) -> Path:
        return self.root / "proc"

    @property
    def cgroup(self) -> Path:
        return self.root / "cgroup"

    def host(self, available: int, swap: int = 0) -> None:
        lines = {"MemTotal": 1000 * MB, "MemAvailable": available, "SwapTotal": 500 * MB, "SwapFree": 500 * MB - swap}
        text = "".join(f"{name}: {value // 1024} kB\n" for name, value in lines.items())
        (self.proc / "meminfo").write_text(text)

    def v2(self, **levels: tuple[int, int | None]) -> None:
        """The last folders of the path by name, each with (used, limit); the others have no limit."""
        (self.proc / "self" / "cgroup").write_text(f"0::{self.path}\n")
        folder = self.cgroup
        for name in self.path.strip("/").split("/"):
            folder = folder / name
            used, limit = levels.get(name, (0, None))
            self.fill(folder, used, limit)

    def fill(self, folder: Path, used: int, limit: int | None, cache: int = 0, swap: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text("max\n" if limit is None else f"{limit}\n")
        (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cache}\nactive_file 0\nslab_reclaimable 0\n")
        (folder / "memory.swap.current").write_text(f"{swap}\n")
        beside = folder / "memory.current.new"  # a reader must never see it empty
        beside.write_text(f"{used}\n")
        beside.replace(folder / "memory.current")

    def v1(self, used: int, limit: int, swap: int = 0) -> None:
        (self.proc / "self" / "cgroup").write_text(f"5:cpu:/x\n4:cpuset,memory:{self.path}\n0::/\n")
        folder = self.cgroup / "memory"
        for name in ("", *self.path.strip("/").split("/")):
            folder = folder / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "memory.limit_in_bytes").write_text("9223372036854771712\n")
            (folder / "memory.usage_in_bytes").write_text("0\n")
        (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
        (folder / "memory.usage_in_bytes").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"cache 9\ntotal_inactive_file {20 * MB}\ntotal_swap {swap}\n")
