"""Real servers on 127.0.0.1: PostgreSQL, MariaDB, MLflow. Each can be killed and started again on its own data."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

PASSWORD = "p@ss:w/rd"
Wait = Callable[[Callable[[], object], float], object]
_START_S = 120.0


def free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def program(name: str) -> str:
    """The program in PATH or where Debian keeps those of PostgreSQL; skips the test without it."""
    where = [
        os.environ["PATH"],
        "/usr/sbin",
        *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)),
    ]
    if (found := shutil.which(name, path=":".join(where))) is None:
        pytest.skip(f"{name} is not installed here")
    return found


def listens(port: int) -> bool:
    with closing(socket.socket()) as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """A server process that is one of this test's."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        log: Path,
        wait_until: Wait,
        ready: Sequence[str] = (),
        user: str | None = None,
    ) -> None:
        """`ready` is a command that succeeds once the server answers; without it, once it listens."""
        self._command, self.port, self._log, self._wait, self._user = command, port, log, wait_until, user
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, user=self._user, start_new_session=True, cwd="/"
            )
        self._wait(self._answers, _START_S)

    def _answers(self) -> bool:
        if not self._ready:
            return listens(self.port)
        return subprocess.run(self._ready, capture_output=True, timeout=30, check=False).returncode == 0

    def kill(self) -> None:
        """Kills it and all of its processes with SIGKILL, as a machine that loses its power does."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            self._wait(lambda: not listens(self.port), 30.0)


@pytest.fixture
def postgres(wait_until: Wait) -> Iterator[tuple[Server, str]]:
    """The server, and the address of a database without its password."""
    port = free_port()
    with _owned("postgres") as root:
        secret = root / "password"
        secret.write_text(PASSWORD)
        shutil.chown(secret, "postgres")
        initdb = [
            program("initdb"),
            "-D",
            f"{root}/data",
            "-U",
            "me",
            "-A",
            "scram-sha-256",
            f"--pwfile={secret}",
            "-N",
        ]
        subprocess.run(initdb, user="postgres", cwd="/", check=True, capture_output=True, timeout=_START_S)
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={root}"]
        command = [program("postgres"), "-D", f"{root}/data", "-p", str(port), *options]
        ready = [program("pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
        server = Server(command, port, root / "log", wait_until, ready, "postgres")
        server.start()
        yield server, f"postgresql+psycopg://me@127.0.0.1:{port}/postgres"
        server.kill()


@pytest.fixture
def mariadb(wait_until: Wait) -> Iterator[tuple[Server, str]]:
    """As `postgres`."""
    port, me = free_port(), "me@'127.0.0.1'"
    with _owned("mysql") as root:
        data = [f"--datadir={root}/data", "--user=mysql"]
        install = [program("mariadb-install-db"), "--no-defaults", "--auth-root-authentication-method=normal", *data]
        subprocess.run(install, cwd="/", check=True, capture_output=True, timeout=_START_S)
        where = [f"--socket={root}/socket", f"--port={port}", "--bind-address=127.0.0.1", f"--pid-file={root}/pid"]
        client = ["--no-defaults", f"--socket={root}/socket", "-u", "root"]
        ready = [program("mariadb-admin"), *client, "ping"]
        server = Server([program("mariadbd"), "--no-defaults", *data, *where], port, root / "log", wait_until, ready)
        server.start()
        sql = f"CREATE DATABASE hpo; CREATE USER {me} IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON hpo.* TO {me}"
        subprocess.run([program("mariadb"), *client, "-e", sql], check=True, capture_output=True, timeout=60)
        yield server, f"mysql+pymysql://me@127.0.0.1:{port}/hpo"
        server.kill()


@pytest.fixture
def mlflow_server(tmp_path: Path, wait_until: Wait) -> Iterator[tuple[Server, str]]:
    port = free_port()
    store = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--default-artifact-root",
        str(tmp_path / "artifacts"),
    ]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        *store,
    ]
    server = Server(command, port, tmp_path / "mlflow.log", wait_until)
    server.start()
    yield server, f"http://127.0.0.1:{port}"
    server.kill()


@contextmanager
def _owned(user: str) -> Iterator[Path]:
    """A directory that the server's own user can reach: its server refuses to run as root."""
    if os.geteuid() != 0:
        pytest.skip("this needs root, which becomes the server's own user")
    with tempfile.TemporaryDirectory(prefix=f"hposlurm-{user}-", dir="/var/tmp") as directory:
        try:
            shutil.chown(directory, user)
        except LookupError:
            pytest.skip(f"there is no user {user}: its server is not installed")
        yield Path(directory)
