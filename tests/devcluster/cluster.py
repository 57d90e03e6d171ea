"""One cluster: its directory, its daemons, and what up, down and status do with them."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import signal
import subprocess
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.devcluster import directory
from tests.devcluster.conf import KILL_WAIT_S, MARK, PARTITIONS, Shape
from tests.devcluster.errors import ClusterError
from tests.devcluster.packages import PATH, install_missing, program
from tests.devcluster.processes import Process, are_free, owned_processes, send, wait_until

MAX_NODES = 100
PORTS = range(10000, 32000, MAX_NODES + 20)  # below the ephemeral ones
START_S = 60.0  # for a daemon to answer on a busy machine; 1 s is usual


@dataclass(frozen=True)
class Daemon:
    name: str
    argv: tuple[str, ...]


class Cluster:
    """A cluster in the directory `root`, which need not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root, self.etc, self.log, self.run = root, root / "etc", root / "log", root / "run"
        self.conf = self.etc / "slurm.conf"
        self._environment = {
            "PATH": PATH,
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "SLURM_CONF": str(self.conf),
            "MYSQL_UNIX_PORT": str(root / "mysql" / "socket"),
            MARK: str(root),
        }

    # --- what there is ---------------------------------------------------------------------------------------------

    def processes(self) -> list[Process]:
        """Everything that belongs to the cluster: daemons, job steps, jobs, and whatever these started."""
        return owned_processes(self.root, MARK)

    def running(self, shape: Shape) -> set[str]:
        """Names of the daemons that run."""
        running = {_identity(p.argv) for p in self.processes()}
        return {d.name for d in self.daemons(shape) if _identity(d.argv) in running}

    def daemons(self, shape: Shape) -> list[Daemon]:
        """In the order in which they start."""
        munged = [program("munged"), "--foreground", f"--socket={self.run}/munge.socket"]
        munged += [f"--key-file={self.etc}/munge.key", f"--pid-file={self.run}/munged.pid"]
        found = [Daemon("munged", (*munged, f"--seed-file={self.run}/munged.seed"))]
        if shape.accounting:
            found.append(Daemon("mariadbd", (program("mariadbd"), f"--defaults-file={self.etc}/my.cnf")))
            found.append(Daemon("slurmdbd", (program("slurmdbd"), "-D")))
        found.append(Daemon("slurmctld", (program("slurmctld"), "-D")))
        return found + [Daemon(f"slurmd-{n}", (program("slurmd"), "-D", "-N", n)) for n in shape.node_names]

    def troubles(self, shape: Shape) -> list[str]:
        """What keeps the cluster from being up, daemon by daemon and node by node; empty if it is up."""
        running = self.running(shape)
        found = [f"{d.name} does not run" for d in self.daemons(shape) if d.name not in running]
        if "munged" in running and "slurmctld" in running:
            states = dict.fromkeys(shape.node_names, "unknown") | self._node_states()
            found += [f"{node} is {state}" for node, state in states.items() if not _takes_jobs(state)]
        return found

    def _node_states(self) -> dict[str, str]:
        answer = self.ask("sinfo", "-N", "-h", "-p", PARTITIONS[0], "-o", "%N %t", check=False)
        return dict(line.split() for line in answer.stdout.splitlines())

    def ask(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs one short command in the cluster's environment; raises ClusterError with its answer if it fails."""
        command, silent = [program(argv[0]), *argv[1:]], subprocess.DEVNULL
        try:
            answer = subprocess.run(
                command, env=self._environment, stdin=silent, capture_output=True, text=True, timeout=START_S
            )
        except subprocess.TimeoutExpired:
            answer = subprocess.CompletedProcess(command, 124, "", f"no answer within {START_S:g} s")
        if check and answer.returncode:
            text = (answer.stderr or answer.stdout).strip()
            raise ClusterError(f"{' '.join(argv)[:100]} failed: {text} (logs: {self.log})")
        return answer

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One `up` or `down` at a time; a second one waits."""
        with (self.root / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # --- up --------------------------------------------------------------------------------------------------------

    def up(self, wanted: dict[str, Any]) -> list[str]:
        """Brings the cluster up, or mends it; returns the names of the daemons that it had to start.

        `wanted` holds the fields of the shape that were asked for. Raises ClusterError if a running cluster has another
        shape, or if something does not come up.
        """
        install_missing(accounting=bool(wanted.get("accounting", True)))
        directory.prepare(self.root)
        with self._locked():
            shape = self._agree_on_shape(wanted)
            were_running = self.running(shape)
            started = {}
            for daemon in self.daemons(shape):
                if daemon.name not in were_running:
                    self._before(daemon)
                    started[daemon.name] = self._start(daemon)
                    self._await(daemon.name, started[daemon.name])
            self._mend_nodes(shape, started)
            return [d.name for d in self.daemons(shape) if d.name not in were_running]

    def _agree_on_shape(self, wanted: dict[str, Any]) -> Shape:
        stored = directory.stored_shape(self.root)
        # only what reads slurm.conf binds to it: after an `up` that failed early, the files are written anew
        if stored and any(name.startswith(("slurmctld", "slurmd")) for name in self.running(stored)):
            for name, value in wanted.items():
                if value != (has := getattr(stored, name)):
                    raise ClusterError(
                        f"the cluster in {self.root} runs with {name}={has}, not {value}; take it down first"
                    )
            return stored
        shape = replace(Shape(), **wanted)
        shape = replace(shape, port=self._choose_port(shape))
        directory.write_config(self.root, shape, self.ask("slurmctld", "-V").stdout)
        return shape

    def _choose_port(self, shape: Shape) -> int:
        """The first of a block of free ports: for the same root the same one, as long as it is free."""
        first = zlib.crc32(str(self.root).encode())
        for i in range(len(PORTS)):
            port = PORTS[(first + i) % len(PORTS)]
            if are_free(range(port, port + shape.ports)):
                return port
        raise ClusterError(f"no {shape.ports} free consecutive ports between {PORTS.start} and {PORTS.stop}")

    def _before(self, daemon: Daemon) -> None:
        """What a daemon needs before its start."""
        installed = self.root / "mysql" / "installed"
        if daemon.name == "mariadbd" and not installed.exists():
            shutil.rmtree(installed.parent)  # half of one, if anything
            installed.parent.mkdir(mode=0o700)
            # --force: also where the host has no name that can be looked up
            options = ("--auth-root-authentication-method=socket", "--auth-root-socket-user=root", "--skip-test-db")
            self.ask("mariadb-install-db", f"--defaults-file={self.etc}/my.cnf", "--force", *options)
            installed.touch()

    def _start(self, daemon: Daemon) -> subprocess.Popen[bytes]:
        with (self.log / f"{daemon.name}.out").open("ab") as output:
            return subprocess.Popen(  # no descriptor of ours survives in it, so that `slurm-cluster up | tail` ends
                daemon.argv, env=self._environment, cwd="/", start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def _await(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Waits until a daemon answers; raises ClusterError if it ends or does not answer in time."""
        answers = self._probe(name)
        if not wait_until(lambda: process.poll() is not None or answers(), START_S) or process.poll() is not None:
            problem = "does not answer" if process.poll() is None else f"ended with status {process.returncode}"
            end = (self.log / f"{name}.out").read_text(errors="replace").splitlines()[-5:]
            raise ClusterError("\n  ".join([f"{name} {problem}; see {self.log}/{name}.*", *end]))

    def _probe(self, name: str) -> Callable[[], bool]:
        """A question that only a ready daemon answers; slurmds are waited for together, by their nodes' states."""
        questions = {
            "munged": ("munge", "-n", "-S", f"{self.run}/munge.socket"),
            "mariadbd": ("mariadb-admin", f"--socket={self.root}/mysql/socket", "ping"),
            "slurmdbd": ("sacctmgr", "-n", "show", "cluster"),
            "slurmctld": ("scontrol", "ping"),
        }
        if name not in questions:
            return lambda: True
        return lambda: self.ask(*questions[name], check=False).returncode == 0

    def _mend_nodes(self, shape: Shape, started: dict[str, subprocess.Popen[bytes]]) -> None:
        """Waits until all nodes take jobs; those that an earlier accident took out of service are resumed."""
        broken = ("down", "drain", "drng", "fail")
        out = [node for node, state in self._node_states().items() if state.startswith(broken)]
        if out:
            self.ask("scontrol", "update", f"NodeName={','.join(out)}", "State=RESUME", check=False)
        wait_until(lambda: not self.troubles(shape) or any(p.poll() is not None for p in started.values()), START_S)
        for name, process in started.items():
            self._await(name, process)
        if troubles := self.troubles(shape):
            raise ClusterError(f"{'; '.join(troubles)} (logs: {self.log})")

    # --- down ------------------------------------------------------------------------------------------------------

    def down(self) -> list[str]:
        """Cancels the jobs and ends every process of the cluster; returns what it stopped, in words."""
        if not self.root.is_dir():
            return []
        with self._locked():
            return self._cancel_jobs() + self._stop_processes()

    def _cancel_jobs(self) -> list[str]:
        shape = directory.stored_shape(self.root)
        if shape is None or not {"munged", "slurmctld"} <= self.running(shape):
            return []
        jobs = self.ask("squeue", "-h", "-r", "-o", "%i", check=False).stdout.split()
        for partition in PARTITIONS if jobs else ():
            self.ask("scancel", f"--partition={partition}", check=False)
        wait_until(lambda: all(p.name != "slurmstepd" for p in self.processes()), KILL_WAIT_S + 5)
        return [f"{len(jobs)} jobs" if len(jobs) > 1 else "1 job"] if jobs else []

    def _stop_processes(self) -> list[str]:
        """First as a service manager would, in the order in which nothing is lost; then without asking."""
        stopped: dict[int, str] = {}
        for name in ("slurmd", "slurmctld", "slurmdbd", "mariadbd", "munged"):
            stopped |= self._end([p for p in self.processes() if p.name == name], signal.SIGTERM, 20)
        for _ in range(10):  # what is killed may have started something meanwhile
            if left := self.processes():
                stopped |= self._end(left, signal.SIGKILL, 5)
        if left := self.processes():
            raise ClusterError(f"these do not end: {', '.join(f'{p.name} ({p.pid})' for p in left)}")
        return [f"{count} {name}" if count > 1 else name for name, count in sorted(Counter(stopped.values()).items())]

    def _end(self, processes: list[Process], number: signal.Signals, deadline_s: float) -> dict[int, str]:
        """Signals the processes and waits for their end; returns their names by process id."""
        names = {p.pid: p.name for p in processes}
        send(names, number)
        wait_until(lambda: names.keys().isdisjoint(p.pid for p in self.processes()), deadline_s)
        return names

    # --- status ----------------------------------------------------------------------------------------------------

    def status(self) -> tuple[str, bool]:
        """A text for a person, and whether the cluster is up."""
        shape = directory.stored_shape(self.root)
        if shape is None:
            return f"no cluster in {self.root}; start one with: scripts/slurm-cluster up", False
        running = self.running(shape)
        lines = [f"{d.name:12} {'runs' if d.name in running else 'does not run'}" for d in self.daemons(shape)]
        if {"munged", "slurmctld"} <= running:
            lines += ["", self.ask("sinfo", "-o", "%10P %.5a %.11l %.6D %6t %12G %N", check=False).stdout.rstrip()]
        troubles = self.troubles(shape)
        lines += ["", f"not up: {'; '.join(troubles)}" if troubles else f"up: export SLURM_CONF={self.conf}"]
        return "\n".join(lines), not troubles


def _identity(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The program and, for a slurmd, its node: a cluster that was started with other options is still the same one."""
    return (argv[0], argv[-1]) if argv[0].endswith("/slurmd") else argv[:1]


def _takes_jobs(state: str) -> bool:
    """Whether sinfo's short form of a node's state is a healthy one; a star means that the node does not answer."""
    return not state.endswith("*") and state.rstrip("-+@!#~%$") in {"idle", "mix", "alloc", "comp", "plnd", "resv"}
