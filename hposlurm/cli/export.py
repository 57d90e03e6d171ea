"""Verbs that carry results to and from other programs: export, import. They write nothing into a study's records."""

from pathlib import Path
from typing import Annotated

import typer

import hposlurm
from hposlurm.cli.common import log, say
from hposlurm.cli.options import StudyName
from hposlurm.errors import HposlurmError, RequestError, StudyError
from hposlurm.report.numbers import counted, shorten
from hposlurm.report.printable import printable


def register(app: typer.Typer) -> None:
    app.command()(export)
    app.command(name="import")(import_results)


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


def import_results(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="optuna:URL[#STUDY] or mlflow:URI#EXPERIMENT.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.csv", help="Where to write the table.")],
) -> None:
    """Write another program's results as a table that `search.warm_start` learns from: {csv: FILE.csv}."""
    from hposlurm.publish.results_of import columns_of, read_results
    from hposlurm.report.output import check_writable, write
    from hposlurm.report.rows import to_csv

    check_writable(output)
    try:
        rows = read_results(source)
    except (HposlurmError, OSError):
        raise
    except Exception as error:  # a service's library may raise any error
        raise StudyError(f"{source} cannot be read: {shorten(printable(str(error)), 300)}") from None
    columns = columns_of(rows)
    write(output, to_csv(columns, rows).encode())
    say(f"{output}: {counted(len(rows), 'trial')}; columns: {', '.join(columns)}")
    say(f"next:      search.warm_start: [{{csv: {output}}}]   (another name: columns: {{OURS: THEIRS}})")
