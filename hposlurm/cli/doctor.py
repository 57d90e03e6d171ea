"""The verb `doctor`: finds out by tests what this cluster can do."""

from pathlib import Path
from typing import Annotated

import typer

from hposlurm.cli.common import log, print_json
from hposlurm.cli.options import Style
from hposlurm.records.find import runs_directory
from hposlurm.report.style import OutputFormat


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    root: Annotated[
        Path | None,
        typer.Option("--root", metavar="DIR", help="The directory of studies (default: $HPOSLURM_RUNS, or ./runs)."),
    ] = None,
    partition: Annotated[
        str | None, typer.Option("--partition", "-p", metavar="P", help="The partition to check.")
    ] = None,
    account: Annotated[
        str | None, typer.Option("--account", "-A", metavar="A", help="For the probe job, if the cluster needs one.")
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Run tests: processes in the study root, and a job of one minute.")
    ] = False,
    wait: Annotated[
        float, typer.Option("--wait", min=1, metavar="SECONDS", help="How long the probe job may wait for its start.")
    ] = 120,
    style: Style = OutputFormat.TABLE,
) -> None:
    """Show what this cluster can do, with advice; without --probe nothing is written."""
    from hposlurm.doctor.examination import Request, examine

    report = examine(Request((root or runs_directory()).absolute(), partition, account, probe, wait), log)
    if style is OutputFormat.JSON:
        print_json(report.to_json())
    else:
        from rich.console import Console

        from hposlurm.doctor.screen import screen

        Console().print(screen(report))
    if report.counts["fail"]:
        raise typer.Exit(1)
