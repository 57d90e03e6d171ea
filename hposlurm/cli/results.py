"""Verbs that show results: collect, best, explain. They only read, except for writing a requested file."""

import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import hposlurm
from hposlurm.cli.common import log, print_json, say, width_of
from hposlurm.cli.options import StudyName, StudyNames, Style, TableStyle
from hposlurm.report.numbers import counted, shown
from hposlurm.report.style import FOR_PEOPLE, SUFFIXES, Format, OutputFormat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hposlurm.records.ancestry import Leg
    from hposlurm.report.export import Configuration
    from hposlurm.report.tables import StudyResults, Table

# columns of a table in a file; wide enough for most tables
_FILE_WIDTH = 200


def register(app: typer.Typer) -> None:
    app.command()(collect)
    app.command()(best)
    app.command()(explain)


def collect(
    studies: StudyNames,
    style: TableStyle = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file instead of the screen.")
    ] = None,
    safe: Annotated[
        bool, typer.Option("--safe", help="In CSV, put ' before texts that a spreadsheet would take for a formula.")
    ] = False,
    notes: Annotated[
        bool, typer.Option("--notes", help="Say what is noticed in the results, and what to do about it.")
    ] = False,
    states: Annotated[
        list[str] | None, typer.Option("--state", metavar="STATE", help="Only trials in this state, e.g. COMPLETE.")
    ] = None,
    where: Annotated[
        str, typer.Option("--where", metavar="EXPR", help='Only rows for which it is true: "lr > 1e-5 and f1 > 0.8".')
    ] = "",
    sort: Annotated[
        str, typer.Option("--sort", metavar="COLUMN", help="By this column; -COLUMN: the largest first.")
    ] = "",
    columns: Annotated[str, typer.Option("--columns", metavar="A,B,…", help="Only these columns, in this order.")] = "",
    all_columns: Annotated[
        bool, typer.Option("--all-columns", help="Also those that say the same in every row.")
    ] = False,
) -> None:
    """Show the result table, best trial first; several studies become one table."""
    from hposlurm.report.selection import Selection, select, without_repetition
    from hposlurm.report.tables import collect as collect_table

    if output is not None:
        from hposlurm.report.output import check_writable

        check_writable(output)
    style = style or (SUFFIXES.get(output.suffix.lower(), Format.TABLE) if output else Format.TABLE)
    opened = [_opened(name) for name in dict.fromkeys(studies)]
    found = [study.results() for study in opened]
    whole = collect_table(found)
    table = select(whole, Selection(tuple(states or ()), where, sort, _listed(columns)))
    if style in FOR_PEOPLE and not (columns or all_columns):
        table, same = without_repetition(table)
        if same:
            pairs = ", ".join(f"{name}={shown(value)}" for name, value in same.items())
            log(f"note: the same in every row: {pairs} (--all-columns)")
    if len(table.rows) < len(whole.rows):
        log(f"note: {len(table.rows)} of {counted(len(whole.rows), 'trial')}")
    if table.left_out:
        log(f"note: {counted(table.left_out, 'further metric')} without a column; study.db has them")
    if notes:
        _note_what_is_noticed(opened)
    if output is None:
        print_table(table, style, is_safe=safe)
        if style is Format.TABLE:
            compared = [study for study, results in zip(opened, found, strict=True) if results.has_rungs]
            _note_what_rungs_are_worth(compared, is_one=len(opened) == 1)
            for remark in chain.from_iterable(results.remarks for results in found):
                log(f"note: {remark}")
        return
    from hposlurm.report.output import write
    from hposlurm.report.tables_text import content

    write(output, content(table, style, width=_FILE_WIDTH, is_safe=safe))
    log(f"{output}: {counted(len(table.rows), 'trial')} as {style}")


def best(
    study: StudyName,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="How many trials, best first.")] = 1,
    style: TableStyle = None,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE.yaml", help="Write the best configuration to this file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --export replace any file.")] = False,
) -> None:
    """Show the best configuration, or the best K."""
    from hposlurm.records.ranking import pareto_front
    from hposlurm.report.export import best_trials
    from hposlurm.report.export import configuration as configuration_of
    from hposlurm.report.export import export as write

    results = _opened(study).records(curves=False).results
    trials = best_trials(results, top)
    found = [configuration_of(results, trial) for trial in trials]
    if found[0].broken:
        log(f"note: no completed trial is feasible; trial {found[0].trial} breaks {'; '.join(found[0].broken)}")
    elif len(results.objectives) > 1:
        front = len(pareto_front(results.history.trials, results.objectives, results.limits))
        what = "this is the best one" if top == 1 else "they come first,"
        hint = f"; --top {front} shows them all" if front > top else ""
        are = "trial is" if front == 1 else "trials are"
        log(f"note: {front} {are} on the Pareto front; {what} by {results.objectives[0].metric}{hint}")
    if export is not None:
        write(export, found[0], force=force)
        what = "the parameters and their schedule" if found[0].schedule else "the parameters"
        log(f"{export}: {what} of trial {found[0].trial}")
    if style is Format.JSON:
        print_json([configuration.to_json() for configuration in found], allow_nan=False)
    elif top == 1 and style in (None, Format.TABLE):
        _print_one(found[0])
    else:
        print_table(_first_rows(results, top), style or Format.TABLE)


def explain(
    study: StudyName,
    trial: Annotated[
        int | None, typer.Argument(metavar="[TRIAL]", min=0, help="A trial; without it: the study's search.")
    ] = None,
    style: Style = OutputFormat.TABLE,
) -> None:
    """Explain why a trial was proposed, sent on, stopped or copied; without TRIAL, how well the rungs predict."""
    from hposlurm.report.explain_text import text_of

    about = hposlurm.Study.open(study).explain(trial)
    if style is OutputFormat.JSON:
        print_json(about.to_json())
    else:
        say(text_of(about, width_of(sys.stdout)))


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name for each in names.split(",") if (name := each.strip()))


def _opened(name: str) -> "hposlurm.Study":
    study = hposlurm.Study.open(name)
    if study.layout.simulated.exists():
        log(f"note: {study.name} was simulated: nothing was trained")
    return study


def _note_what_is_noticed(studies: "Sequence[hposlurm.Study]") -> None:
    from hposlurm.report.notices import notices

    for study in studies:
        found = notices(study.records())
        for notice in found:
            log(f"noticed: {f'{study.spec.name}: ' if len(studies) > 1 else ''}{notice.line}")
        if not found:
            log(f"nothing is noticed in {study.spec.name}")


def _note_what_rungs_are_worth(studies: "Sequence[hposlurm.Study]", *, is_one: bool) -> None:
    """Prints whether early values predict late ones, for each study that compares trials before their end."""
    from hposlurm.report.explain import what_rungs_are_worth

    for study in studies:
        if text := what_rungs_are_worth(study.records()):
            log(f"note: {'' if is_one else f'{study.spec.name}: '}{text}")


def _first_rows(results: "StudyResults", top: int) -> "Table":
    from dataclasses import replace

    from hposlurm.report.tables import collect as collect_table
    from hposlurm.trial import TrialState

    table = collect_table([results])
    return replace(table, rows=tuple(row for row in table.rows if row["state"] == TrialState.COMPLETE)[:top])


def print_table(table: "Table", style: Format, *, is_safe: bool = False) -> None:
    if style is not Format.TABLE:
        from hposlurm.report.tables_text import render

        print(render(table, style, is_safe=is_safe), end="")
        return
    from rich.console import Console

    from hposlurm.report.tables_text import show

    show(table, Console())


def _print_one(found: "Configuration") -> None:
    from hposlurm.report.numbers import duration, shown

    say(f"trial {found.trial} of {found.study}")
    _print_pairs("values", {name: _value_text(found, name) for name in found.values})
    if found.checkpoint:
        _print_pairs("checkpoint", {f"step {found.steps[next(iter(found.values))]}": found.checkpoint})
    _print_pairs("params", found.params)
    if found.schedule:
        _print_pairs("schedule", _changes(found.schedule))
    _print_pairs("metrics", {name: shown(value) for name, value in found.metrics.items()})
    say(f"runtime: {duration(found.runtime)}   GPU hours: {shown(found.gpu_hours)}")


def _value_text(found: "Configuration", name: str) -> str:
    """Returns the value that counts with its step, and the last one if that is another one."""
    from hposlurm.report.numbers import shown

    step, last = found.steps[name], found.metrics.get(name)
    place = f" at step {step}" if step is not None else ""
    other = f"; the last one is {shown(last)}" if last is not None and last != found.values[name] else ""
    return f"{shown(found.values[name])}{place}{other}"


def _changes(schedule: "Sequence[Leg]") -> dict[str, object]:
    """Returns the values from each step on, of those parameters that change."""
    from hposlurm.report.numbers import shown

    names = {name: None for leg in schedule for name in leg.params}
    moving = [name for name in names if len({repr(leg.params.get(name)) for leg in schedule}) > 1]
    return {
        f"from step {leg.step}": ", ".join(f"{name}={shown(leg.params[name])}" for name in moving if name in leg.params)
        + f" (trial {leg.trial})"
        for leg in schedule
    }


def _print_pairs(title: str, pairs: "Mapping[str, object]") -> None:
    from hposlurm.report.printable import printable

    clean = {printable(name): printable(str(value)) for name, value in pairs.items()}
    width = max((len(name) for name in clean), default=0)
    say("\n".join([f"{title}:", *(f"  {name:<{width}}  {value}" for name, value in clean.items())]))
