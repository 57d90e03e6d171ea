"""The served copy: this machine only, with the token, following the study, and nothing left afterwards."""

from __future__ import annotations

import builtins
import http.cookiejar
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hposlurm import Study
from hposlurm.dashboard.server import Copies, served
from hposlurm.errors import StudyError
from hposlurm.records.layout import StudyLayout
from tests.cli.conftest import run, runs
from tests.cli.run import Run
from tests.publish.results import begun, grown

__all__ = ["run", "runs"]


@pytest.fixture
def demo(runs: Path) -> StudyLayout:
    return begun(runs)


class Client:
    """A browser without a screen."""

    def __init__(self, address: str) -> None:
        self.base = address.partition("/?")[0]
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()), urllib.request.ProxyHandler({})
        )
        self._opener.open(address, timeout=30).close()

    def ask(self, path: str, method: str = "GET", **body: Any) -> Any:
        data = json.dumps(body).encode() if body else None
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        with self._opener.open(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def states(self) -> list[str]:
        return [trial["state"] for trial in self.ask("/api/studies/0")["trials"]]


@contextmanager
def shown(*studies: Study, notes: list[str] | None = None) -> Iterator[tuple[Client, Copies]]:
    copies = Copies(studies, (notes if notes is not None else []).append)
    copies.look()
    with served(copies.application) as place:
        yield Client(place.address), copies


@pytest.mark.usefixtures("demo")
def test_the_page_has_the_studies_and_follows_them(demo: StudyLayout, wait_until: Callable[..., Any]) -> None:
    with shown(Study.open("demo")) as (client, copies):
        assert [found["study_name"] for found in client.ask("/api/studies")["study_summaries"]] == ["demo"]
        assert client.states() == ["Complete", "Complete", "Running", "Waiting", "Waiting"]
        grown(demo)
        assert copies.look()
        ended = [0, 1, 2, 4]
        wait_until(
            lambda: [client.states()[i] for i in ended] == ["Complete"] * 4, 30
        )  # it remembers trials for two seconds
        assert not copies.look()


def test_what_the_page_writes_reaches_the_copy_only(demo: StudyLayout) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in demo.root.rglob("*")}
    with shown(Study.open("demo")) as (client, copies):
        client.ask("/api/studies/0/note", "PUT", version=1, body="a note")
        client.ask("/api/studies/0", "DELETE", remove_associated_artifacts=True)
        assert client.ask("/api/studies")["study_summaries"] == []
        assert not copies.look()
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in demo.root.rglob("*")} == before


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize("path", ["/", "/api/studies", "/static/bundle.js", "/csv/0"])
def test_without_the_token_every_answer_is_403(path: str) -> None:
    copies = Copies([Study.open("demo")], print)
    with served(copies.application) as place, pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"http://127.0.0.1:{place.port}{path}", timeout=30)


@pytest.mark.usefixtures("demo")
def test_only_this_machine_is_listened_to() -> None:
    with served(Copies([Study.open("demo")], print).application) as place:
        with socket.socket() as other:
            other.bind(("127.0.0.2", place.port))  # is free, which it would not be on all addresses
        assert re.fullmatch(rf"ssh -N -L {place.port}:127\.0\.0\.1:{place.port} \S+@\S+", place.tunnel)


@pytest.mark.usefixtures("demo")
def test_a_port_that_is_taken_is_refused(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("dashboard", "demo", "--port", str(port))
    assert (result.status, f"--port {port}: Address already in use; without --port" in result.err) == (2, True)


def test_a_study_that_cannot_be_read_is_a_note_once_and_the_others_go_on(demo: StudyLayout) -> None:
    class Broken:
        name = "broken"

        def records(self, after: object = None) -> Any:
            raise StudyError(f"is damaged {after}")

    notes: list[str] = []
    copies = Copies([Broken(), Study.open("demo")], notes.append)
    assert copies.look()
    copies.look()
    assert notes == ["note: broken cannot be read now: is damaged None"]
    assert demo.spec().is_file()


def test_reading_takes_a_fifth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    copies, passed, slept = Copies([], print), [0.0], []

    def look() -> bool:
        passed[0] += 2.0
        return False

    def wait(seconds: float) -> bool:
        slept.append(seconds)
        return len(slept) == 3

    monkeypatch.setattr(copies, "look", look)
    copies.follow(3.0, wait, lambda: passed[0])
    assert slept == [3.0, 10.0, 10.0]


@pytest.mark.usefixtures("demo")
def test_without_the_library_it_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    known = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("optuna_dashboard"):
            raise ImportError("No module named 'optuna_dashboard'")
        return known(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    result = run("dashboard", "demo")
    assert result.status == 2
    assert "optuna-dashboard is not installed here: pip install 'hposlurm[dashboard]'" in " ".join(result.err.split())


def test_without_a_study_it_says_where_it_looked(run: Run) -> None:
    result = run("dashboard")
    assert (result.status, f"there is no study in {run.runs}" in result.err) == (2, True)
    assert run("dashboard", "none").status == 2


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_it_leaves_nothing_behind(demo: StudyLayout, tmp_path: Path, by: int) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo.root.rglob("*")}
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "HPOSLURM_RUNS": str(demo.root.parent), "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "hposlurm", "dashboard"]
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **streams) as process:
        assert process.stdout is not None and process.stderr is not None
        address = process.stdout.readline().strip()
        lines = [process.stderr.readline() for _ in range(2)]
        assert len(Client(address).states()) == 5
        try:
            process.send_signal(by)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()  # else the end of `with` waits for one that did not end
    assert "ssh -N -L" in lines[0] and "Ctrl-C ends it" in lines[1] and err == ""
    assert process.returncode == (0 if by == signal.SIGINT else -by)
    assert list(temporary.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in demo.root.rglob("*")} == before
