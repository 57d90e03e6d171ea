"""The verb that sends a study's results elsewhere once: export. It writes nothing into the study's records."""

from typing import Annotated

import typer

import hposlurm
from hposlurm.cli.common import log, say
from hposlurm.cli.options import StudyName
from hposlurm.errors import RequestError, StudyError
from hposlurm.report.numbers import counted


def register(app: typer.Typer) -> None:
    app.command()(export)


def export(
    study: StudyName,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="NAME[:TARGET]",
            help="optuna:URL, mlflow:URL, wandb:PROJECT, trackio:PROJECT or tensorboard:DIR.",
        ),
    ],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Another option, e.g. --set experiment=bert.")
    ] = None,
) -> None:
    """Send all results to a tracker or a storage, now; `publish` in the study file does it at every step."""
    from hposlurm.publish import Published, send
    from hposlurm.spec.publishing import entry_of

    entry = entry_of(to, settings or ())
    found = hposlurm.Study.open(study)
    if found.layout.simulated.exists():
        raise RequestError(f"{found.name} was simulated: nothing was trained, and a tracker would not tell")
    records = found.records()
    if not records.history.plans:
        raise RequestError(f"{found.name} has planned nothing yet")
    failure = send(Published(records.layout, records.spec, records.history), entry)
    if failure:
        raise StudyError(f"{entry.name}: not everything was sent: {failure}")
    say(f"{entry.name}: {counted(len(records.history.trials), 'trial')} of {found.name}")
    how_to = found.layout.root / "wandb" / "how-to-sync.txt"
    if entry.name == "wandb" and how_to.is_file():
        log(how_to.read_text(encoding="utf-8", errors="replace").rstrip())
