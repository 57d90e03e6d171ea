"""The tools to compare with: an environment of its own for each, and the search in it at the other end of a pipe."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from searchbench.clock import Ask

SERVE = Path(__file__).with_name("serve.py")
DEFAULT_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hposlurm-peers"


@dataclass(frozen=True)
class Peer:
    """A tool. Without a requirement it needs no environment of its own: this project depends on it."""

    distribution: str
    version: str | None
    requirement: str | None
    algorithms: tuple[str, ...]


PEERS = {
    "optuna": Peer(
        "optuna",
        None,
        None,
        ("random", "random-sha", "random-hyperband", "tpe", "tpe-sha", "tpe-hyperband", "tpe-median"),
    ),
    "ray": Peer("ray", "2.60.0", "ray[tune]", ("asha", "hyperband")),
    "syne": Peer("syne-tune", "0.16.0", "syne-tune", ("asha", "hyperband", "bohb", "tpe", "pbt")),
    "neps": Peer("neural-pipeline-search", "0.17.0", "neural-pipeline-search", ("asha", "hyperband")),
}  # fmt: skip


def peer_of(algorithm: str) -> str | None:
    """The tool that an algorithm's name begins with, None for one of this project's own."""
    name, dash, rest = algorithm.partition("-")
    if not dash:
        return None
    if name not in PEERS or rest not in PEERS[name].algorithms:
        known = ", ".join(all_of(list(PEERS)))
        raise SystemExit(f"{algorithm} is none of the other tools' algorithms: {known}")
    return name


def all_of(names: Sequence[str]) -> list[str]:
    return [f"{name}-{algorithm}" for name in names for algorithm in PEERS[name].algorithms]


def version_of(name: str) -> str:
    peer = PEERS[name]
    return f"{peer.distribution} {peer.version or importlib.metadata.version(peer.distribution)}"


def python_of(name: str, cache: Path) -> Path | None:
    """The interpreter of the tool's environment; None where that is not there, or holds another version."""
    peer = PEERS[name]
    if peer.requirement is None:
        return Path(sys.executable)
    python = cache / name / "bin" / "python"
    if not python.exists():
        return None
    code = f"from importlib.metadata import version; print(version({peer.distribution!r}))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return python if found.stdout.strip() == peer.version else None


def install(name: str, cache: Path) -> None:
    """Makes the tool's environment under `cache` unless it is there in the pinned version."""
    if python_of(name, cache) is not None:
        return
    peer = PEERS[name]
    print(f"installing {peer.requirement}=={peer.version} into {cache / name}", file=sys.stderr)
    venv.create(cache / name, with_pip=True)
    requirement = f"{peer.requirement}=={peer.version}"
    pip = [cache / name / "bin" / "python", "-m", "pip", "install", "-q", requirement]
    if subprocess.run(pip).returncode != 0:
        raise SystemExit(f"{requirement} could not be installed into {cache / name}: see pip's words above")


class Remote:
    """A tool in its own process (see serve.py). One process serves any number of studies, one after the other."""

    def __init__(self, name: str, cache: Path) -> None:
        python = python_of(name, cache)
        if python is None:
            raise SystemExit(f"{version_of(name)} is not installed under {cache}: --peers {name} installs it")
        # Not this project's environment: the tool is to find its own packages only.
        env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self._name = name
        self._process = subprocess.Popen(
            [python, SERVE, f"{name}_tool"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )

    def open(self, setting: Mapping[str, Any]) -> None:
        """Begins a study: `algorithm`, `space` and `max_step` of the task, `min_step`, `factor`, `workers`, `seed`."""
        self._call("open", dict(setting))

    def ask(self) -> Ask | None:
        answer = self._call("ask")
        return None if answer is None else Ask(**answer)

    def report(self, trial: str, step: int, loss: float, is_last: bool) -> bool:
        return bool(self._call("report", trial, step, loss, is_last))

    def close(self) -> None:
        if self._process.stdin is not None and self._process.stdout is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()

    def _call(self, *request: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise SystemExit(f"{self._name}'s process ended with exit status {self._process.wait()}: see above")
        reply = json.loads(line)
        if "error" in reply:
            raise RuntimeError(f"{self._name} failed at {request[0]}:\n{reply['error']}")
        return reply["answer"]
