"""Lanes and what tests of all rooms share.

Unmarked tests are the unit lane. A marked one runs only where its flag is given: `pytest --slurm -m slurm` is the Slurm
lane alone, `pytest --train` the unit and the training lane. scripts/test runs them all.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

from hposlurm.spec import draws

REPOSITORY = Path(__file__).parents[1]
LANES = {
    "slurm": "run the tests that need the real Slurm of scripts/slurm-cluster, and start it where it is not up",
    "train": "run the tests with real torch, DeepSpeed and torchrun processes",
    "browser": "run the tests that drive headless Chromium",
    "services": "run the tests with real PostgreSQL, MariaDB and MLflow servers",
    "gpu": "run the tests that need an NVIDIA GPU",
}
DEFAULT_CLUSTER = "/var/tmp/hposlurm-cluster"
T = TypeVar("T")

# An example may take long beside other processes; what must not take long is counted in steps, not in milliseconds.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

# Nearly every test reads a study file, and most of that time goes into trying it out for 300 configurations. tests/spec
# tries them all, whose matter that is, and so does every `hposlurm` that is a process of its own.
ALL_DRAWS, draws._COUNT = draws._COUNT, 50

# A shell that starts a command in the background lets it ignore Ctrl-C, and so would everything that is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)


def examples(count: int) -> int:
    """How many random cases a costly property test has: `count`, or $HPOSLURM_EXAMPLES times as many."""
    return round(count * float(os.environ.get("HPOSLURM_EXAMPLES", "1")))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lanes")
    for lane, text in LANES.items():
        group.addoption(f"--{lane}", action="store_true", help=text)


@pytest.hookimpl(trylast=True)  # of the chosen ones only
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:  # else in the order in which modules share what they set up
        _longest_first(items)
    for item in items:
        for lane in LANES:
            if item.get_closest_marker(lane) and not config.getoption(f"--{lane}"):
                item.add_marker(pytest.mark.skip(reason=f"a test of the {lane} lane: give pytest --{lane} to run it"))


def _longest_first(items: list[pytest.Item]) -> None:
    times = {item: marker.args[0] for item in items if (marker := item.get_closest_marker("long"))}
    long = sorted(times, key=times.__getitem__, reverse=True)
    others = [item for item in items if item not in times]
    # first, so that none is left for the end; with a short one behind each, since pytest-xdist hands out two at a time
    items[:] = [*chain.from_iterable(zip(long, others, strict=False)), *long[len(others) :], *others[len(long) :]]


@dataclass(frozen=True)
class SlurmCluster:
    """A running cluster of scripts/slurm-cluster; SLURM_CONF points to it while the session lasts."""

    conf: Path

    @property
    def root(self) -> Path:
        return self.conf.parents[1]


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    """The cluster that SLURM_CONF names, if it is one of scripts/slurm-cluster, else the one in its default directory.

    It stays up after the session, and the next one goes on with it. Where tests run side by side (`pytest -n`), each
    process but the first has a cluster of its own beside it, which goes down again: tests count jobs and fill nodes.
    """
    conf = Path(os.environ.get("SLURM_CONF", ""))
    # a site's own Slurm is never used for tests
    root = str(conf.parents[1]) if (conf.parent / "cluster.json").is_file() else DEFAULT_CLUSTER
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    is_mine = worker != "gw0"
    root = f"{root}-{worker}" if is_mine else root
    conf = Path(_cluster("up", root).removeprefix("export SLURM_CONF="))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(conf))
        yield SlurmCluster(conf)
    if is_mine:
        _cluster("down", root)
        shutil.rmtree(root)


def _cluster(verb: str, root: str) -> str:
    command = [sys.executable, str(REPOSITORY / "scripts" / "slurm-cluster"), verb, "--root", root]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if answer.returncode:
        message = f"the Slurm lane was asked for, but its cluster does not go {verb}: {answer.stderr}"
        pytest.fail(message, pytrace=False)
    return answer.stdout.strip()


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], T], float], T]:
    """`wait_until(condition, deadline_s)` polls until the condition is true and returns its value, or fails."""

    def wait(condition: Callable[[], T], deadline_s: float) -> T:
        end = time.monotonic() + deadline_s
        while not (value := condition()):
            if time.monotonic() > end:
                pytest.fail(f"not within {deadline_s:g} s; the last value was {value!r}")
            time.sleep(0.05)
        return value

    return wait
