"""The verb that compares studies, or trials: compare. It only reads."""

from typing import TYPE_CHECKING, Annotated

import typer

import hposlurm
from hposlurm.cli.common import log
from hposlurm.cli.options import TableStyle
from hposlurm.cli.results import print_table
from hposlurm.errors import RequestError
from hposlurm.report.style import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hposlurm.report.records import StudyRecords
    from hposlurm.report.tables import Table
    from hposlurm.trial import Trial


def register(app: typer.Typer) -> None:
    app.command()(compare)


def compare(
    names: Annotated[
        list[str], typer.Argument(metavar="STUDY…", help="Studies; or trials, each as STUDY:NUMBER (two to six).")
    ],
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="STUDY", help="Compare with this one; default: the first."),
    ] = None,
    style: TableStyle = None,
) -> None:
    """Compare what studies found and what it cost, or trials side by side."""
    pairs = [_trial_of(name) for name in names]
    if all(number is not None for _, number in pairs):
        if baseline is not None:
            raise RequestError("--baseline is for studies, not for single trials")
        table = _trials([(name, number) for name, number in pairs if number is not None])
    elif any(number is not None for _, number in pairs):
        raise RequestError("compare either studies or trials (STUDY:NUMBER), not both")
    else:
        table = _studies(list(dict.fromkeys(names)), baseline, style or Format.TABLE)
    print_table(table, style or Format.TABLE)


def _trial_of(name: str) -> tuple[str, int | None]:
    """Returns the study and the trial's number of "demo:4"; no number for a study."""
    study, colon, number = name.rpartition(":")
    is_number = bool(colon) and number.isascii() and number.isdigit() and len(number) < 10
    return (study, int(number)) if is_number else (name, None)


def _studies(names: "Sequence[str]", baseline: str | None, style: Format) -> "Table":
    from hposlurm.report.compare import compare_studies, cost_sheet, cost_table

    if baseline is not None and baseline not in names:
        names = [baseline, *names]
    if len(names) < 2:
        raise RequestError("compare needs two studies at least, or trials as STUDY:NUMBER")
    found = [hposlurm.Study.open(name).records(curves=False) for name in names]
    reference = names.index(baseline) if baseline is not None else 0
    costs = compare_studies(found, reference)
    log(f"note: ratios are those to {costs[reference].study}")
    return cost_sheet(costs, reference) if style is Format.TABLE else cost_table(costs)


def _trials(pairs: "Sequence[tuple[str, int]]") -> "Table":
    from hposlurm.report.compare import compare_trials

    known: dict[str, StudyRecords] = {}
    chosen: list[tuple[StudyRecords, Trial]] = []
    for name, number in pairs:
        if name not in known:
            known[name] = hposlurm.Study.open(name).records(curves=False)
        chosen.append((known[name], known[name].history.trial(number)))
    return compare_trials(chosen)
