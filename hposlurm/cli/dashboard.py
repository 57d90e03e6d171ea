"""The verb that serves a web page about studies: dashboard. It only reads studies."""

import signal
import sys
import threading
import time
from typing import Annotated

import typer

import hposlurm
from hposlurm.cli.common import log, say
from hposlurm.errors import RequestError
from hposlurm.records.find import runs_directory, studies_in


def register(app: typer.Typer) -> None:
    app.command()(dashboard)


def dashboard(
    studies: Annotated[
        list[str] | None,
        typer.Argument(metavar="STUDY…", help="Directories, or names under runs/; all there if none is named."),
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            "--port", min=0, max=65535, metavar="N", show_default=False, help="The port; without it, a free one."
        ),
    ] = 0,
    every: Annotated[
        float, typer.Option("--every", min=0.5, metavar="SECONDS", help="How often to look for new results.")
    ] = 3.0,
) -> None:
    """Serve optuna-dashboard's page about studies to this machine; it follows them until Ctrl-C."""
    from hposlurm.dashboard.server import Copies, served

    names = list(dict.fromkeys(studies or [str(path) for path in studies_in(runs_directory())]))
    if not names:
        raise RequestError(f"there is no study in {runs_directory()}; name a study's directory")
    copies = Copies([hposlurm.Study.open(name) for name in names], log)
    copies.look()
    # not a KeyboardInterrupt: Python drops one that comes while an object is finalised
    end = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: end.set())
    with served(copies.application, port) as place:
        say(place.address)
        sys.stdout.flush()  # into a pipe it would come at the end
        log(f"from your own machine: {place.tunnel}")
        log("Ctrl-C ends it; what you write on the page is not kept")
        copies.follow(every, end.wait, time.monotonic)
