"""`hposlurm`: builds the command line, runs it, and turns errors into one clear message and an exit status."""

import io
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from hposlurm import __version__
from hposlurm.cli import compare, control, dashboard, doctor, export, launch, report, reproduce, results, watch
from hposlurm.cli.common import complain
from hposlurm.cli.screens import prepare_help
from hposlurm.errors import HposlurmError
from hposlurm.records.find import in_utf8

app = typer.Typer(
    name="hposlurm",
    help="Hyperparameter optimisation as chained Slurm job arrays: launch, log out, collect.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"hposlurm {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Hyperparameter optimisation as chained Slurm job arrays: launch, log out, collect."""


launch.register(app)
watch.register(app)
results.register(app)
compare.register(app)
reproduce.register(app)
report.register(app)
dashboard.register(app)
export.register(app)
control.register(app)
doctor.register(app)


def main() -> NoReturn:
    """Runs the command line. The exit status is 0 done, 1 failed, 2 wrong request, 130 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # replaces characters that the terminal cannot show, instead of failing
        sys.stdout.reconfigure(errors="replace")
    try:
        _check_encoding(sys.argv[1:])
        prepare_help(sys.argv[1:])
        app()
    except HposlurmError as error:
        _leave(f"error: {error}", error.exit_status)
    except KeyboardInterrupt:
        _leave("interrupted", 130)
    except BrokenPipeError:  # `hposlurm collect … | head`
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        _leave(f"error: {error.strerror or error}: {error.filename or ''}".rstrip(": "), 1)
    sys.exit(0)


def _check_encoding(words: list[str]) -> None:
    """Raises RequestError for an argument that is not UTF-8: records, scripts and screens could not show it."""
    for word in words:
        in_utf8(Path(word))


def _leave(message: str, status: int) -> NoReturn:
    if "--debug" in sys.argv and status != 130:
        raise  # only the except clauses of main() call this
    complain(message)
    sys.exit(status)


if __name__ == "__main__":
    main()
