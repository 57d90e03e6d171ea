"""Processes as /proc tells of them, and ports."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    argv: tuple[str, ...]

    @property
    def name(self) -> str:
        """What a person would call it; the title of a job step is "slurmstepd: [12.batch]"."""
        return Path(self.argv[0].split(":")[0]).name


def all_processes() -> dict[int, Process]:
    """By process id; zombies and kernel threads left out."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # the name in stat may hold spaces and parentheses; state and parent follow the last of them
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                argv = tuple((entry / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0"))
                if state != "Z" and argv[0]:
                    found[int(entry.name)] = Process(int(entry.name), int(parent), argv)
    return found


def owned_processes(root: Path, mark: str) -> list[Process]:
    """Every process that carries `mark`=`root` in its environment, every job step under `root`, and what these started.

    The calling process and its ancestors are left out: `down` may be typed inside one of the cluster's own jobs.
    """
    everything = all_processes()
    children: dict[int, list[Process]] = {}
    for process in everything.values():
        children.setdefault(process.parent, []).append(process)
    found: dict[int, Process] = {}
    waiting = [p for p in everything.values() if _is_owned(p, root, f"{mark}={root}".encode())]
    while waiting:
        process = waiting.pop()
        if process.pid not in found:
            found[process.pid] = process
            waiting += children.get(process.pid, [])
    for pid in _ancestry(everything, os.getpid()):
        found.pop(pid, None)
    return list(found.values())


def _is_owned(process: Process, root: Path, variable: bytes) -> bool:
    proc = Path("/proc", str(process.pid))
    try:
        if variable in (proc / "environ").read_bytes().split(b"\0"):
            return True
        # slurmstepd writes its title over its environment, but it stands in its node's spool directory
        return process.name == "slurmstepd" and (proc / "cwd").readlink().is_relative_to(root)
    except OSError:  # gone in the meantime
        return False


def _ancestry(processes: dict[int, Process], pid: int) -> Iterator[int]:
    while pid in processes:
        yield pid
        pid = processes[pid].parent


def send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def wait_until(condition: Callable[[], bool], deadline_s: float) -> bool:
    """True as soon as `condition` holds, False if it does not within `deadline_s`."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def are_free(ports: Iterable[int]) -> bool:
    return all(_is_free(port) for port in ports)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT does not stop a daemon either
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True
