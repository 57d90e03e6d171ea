"""The verb that writes a trial as a script of its own: reproduce."""

from pathlib import Path
from typing import Annotated

import typer

import hposlurm
from hposlurm.cli.common import say
from hposlurm.cli.options import StudyName


def register(app: typer.Typer) -> None:
    app.command()(reproduce)


def reproduce(
    study: StudyName,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="The number of the trial.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file instead of the screen.")
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--directory", metavar="DIR", help="Where the script trains [reproduce-STUDY-TRIAL]."),
    ] = None,
) -> None:
    """Write the script that repeats one trial outside of its study, and say what it cannot pin."""
    from hposlurm.report.output import check_writable, write

    if output is not None:
        check_writable(output)
    found = hposlurm.Study.open(study)
    where = directory or Path(f"reproduce-{found.name}-{trial}")
    text = found.reproduce(trial, where.absolute())
    if output is None:
        print(text, end="")
        return
    write(output, text.encode())
    say(f"{output}: run it by `bash {output}`, or by `sbatch {output}`")
