"""Serves the web page to this machine only, and brings its copy up to date."""

from __future__ import annotations

import getpass
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from hposlurm.dashboard.door import Application, Door
from hposlurm.errors import HposlurmError, RequestError
from hposlurm.publish import Published
from hposlurm.report.records import StudyRecords

#: The only address that is listened on.
HOST = "127.0.0.1"
_INSTALL = "optuna-dashboard is not installed here: pip install 'hposlurm[dashboard]'"
# what is read takes at most this share of the time: 10,000 trials take a second
_SHARE = 0.2


class Followed(Protocol):
    """A study that is followed; `Study` is one."""

    @property
    def name(self) -> str: ...
    def records(self, after: StudyRecords | None = None) -> StudyRecords: ...


@dataclass(frozen=True, slots=True)
class Served:
    """Where the page is."""

    port: int
    token: str

    @property
    def address(self) -> str:
        """The link to open in a browser."""
        return f"http://{HOST}:{self.port}/?token={self.token}"

    @property
    def tunnel(self) -> str:
        """The command that brings the page to another machine."""
        return f"ssh -N -L {self.port}:{HOST}:{self.port} {getpass.getuser()}@{socket.gethostname()}"


class Copies:
    """The copies of studies, and the application that shows them."""

    def __init__(self, studies: Sequence[Followed], log: Callable[[str], None]) -> None:
        """Raises RequestError where optuna-dashboard is not installed."""
        try:
            from optuna_dashboard import wsgi
        except ImportError as error:
            raise RequestError(f"{_INSTALL} ({error})") from None
        from hposlurm.publish.optuna_copy import CopiedStudies

        self._storage = CopiedStudies()
        self._studies, self._log = studies, log
        self._known: list[StudyRecords | None] = [None] * len(studies)
        self._failures: dict[int, str] = {}
        self.application: Application = wsgi(self._storage)

    def look(self) -> bool:
        """Brings all copies up to date; True if one changed. A study that cannot be read is a note, once."""
        changes = [self._look(i, study) for i, study in enumerate(self._studies)]
        return any(changes)

    def _look(self, position: int, study: Followed) -> bool:
        try:
            records = study.records(self._known[position])
            self._known[position] = records
            self._failures.pop(position, None)
            return self._storage.bring(Published(records.layout, records.spec, records.history))
        except (HposlurmError, OSError) as error:
            if self._failures.get(position) != str(error):
                self._failures[position] = str(error)
                self._log(f"note: {study.name} cannot be read now: {error}")
            return False

    def follow(self, every_s: float, is_told_to_end: Callable[[float], bool], monotonic: Callable[[], float]) -> None:
        """Looks again and again; `is_told_to_end(seconds)` waits so long at most, and says whether this is the end."""
        took = 0.0
        while not is_told_to_end(max(every_s, took / _SHARE)):
            begun = monotonic()
            self.look()
            took = monotonic() - begun


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_address = False  # two dashboards on one port would take turns

    def server_bind(self) -> None:
        """Binds without asking for the name of the machine, which may take a resolver half a minute."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = HOST, int(self.server_address[1])
        self.setup_environ()


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing: an address may have the token in it."""

    def address_string(self) -> str:
        """Returns the client's address without asking for its name."""
        return str(self.client_address[0])


@contextmanager
def served(application: Application, port: int = 0) -> Iterator[Served]:
    """Serves the application on 127.0.0.1 until the body ends; port 0 is a free one.

    Raises RequestError if the port is taken or not allowed.
    """
    token = secrets.token_urlsafe(24)
    try:
        server = make_server(HOST, port, application, server_class=_Server, handler_class=_Quiet)
    except OSError as error:
        raise RequestError(f"--port {port}: {error.strerror or error}; without --port a free one is taken") from None
    server.set_app(Door(application, token, server.server_port))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Served(server.server_port, token)
    finally:
        server.shutdown()
        server.server_close()
