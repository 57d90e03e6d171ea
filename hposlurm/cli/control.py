"""Verbs that act on a study: cancel, resume, retry, advance, rebuild, gc."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import hposlurm
from hposlurm.cli.common import log, say
from hposlurm.cli.follow import go_on
from hposlurm.cli.options import Changes, StudyName
from hposlurm.errors import BackendError
from hposlurm.report.numbers import counted, size_text
from hposlurm.report.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hposlurm import Study
    from hposlurm.planner.removable import Left, Removal

Wait = Annotated[bool, typer.Option("--wait", help="Keep running and show the progress.")]

_PROBLEMS_SHOWN = 10
_NAMES_SHOWN = 5


def register(app: typer.Typer) -> None:
    for verb in (cancel, resume, retry, advance, rebuild, gc):
        app.command()(verb)


def cancel(
    study: StudyName,
    trial: Annotated[list[int] | None, typer.Argument(metavar="[TRIAL]…", help="Only these trials.")] = None,
) -> None:
    """Cancel a study's jobs and submit no further wave; or cancel single trials."""
    found = hposlurm.Study.open(study)
    say(f"cancelled: {found.cancel(trial or ())}")
    if found.layout.stop.exists() and not trial:
        say(f"next:      hposlurm resume {found.name}   (continues where it stopped)")


def resume(
    study: StudyName,
    settings: Changes = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="STUDY.yaml", help="Take the changes of the edited study file.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also run the failed trials again, as `retry` does.")
    ] = False,
    wait: Wait = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="With --from: without a confirmation, however many GPU hours.")
    ] = False,
) -> None:
    """Continue a study: after a cancel, after Ctrl-C, with a raised budget, or if its chain is broken."""
    found = hposlurm.Study.open(study)
    for danger in found.place_notes():
        log(f"note: {danger}")
    if source is not None:
        _take(found, source, settings or [], yes=yes)
    elif settings and (note := found.revise(settings)):
        say(note)
    if retry_failed:
        _reopen(found)
    go_on(found, found.resume(), wait=wait)
    _note_what_raises_the_budget(found)


def _note_what_raises_the_budget(study: "Study") -> None:
    """Prints the command that allows more trials, if all trials of the budget are done."""
    from hposlurm.records.history import read_history
    from hposlurm.report.budget import raised

    history = read_history(study.layout)
    if history.finished and (setting := raised(history, study.spec.budget)):
        log(f"note: all trials of the budget are spent; more: hposlurm resume {study.name} --set {setting}")


def _take(study: "Study", source: Path, settings: list[str], *, yes: bool) -> None:
    """Shows what the file changes, and freezes it after all checks of `launch`."""
    from hposlurm.cli.launch import checked

    revision = checked(study, source, settings, yes=yes)
    for change in study.differences(revision) or ["nothing"]:
        say(f"changed:   {change}")
    if note := study.take(revision):
        say(note)


def retry(
    study: StudyName,
    trial: Annotated[list[int] | None, typer.Argument(metavar="[TRIAL]…", help="Only these trials.")] = None,
    wait: Wait = False,
) -> None:
    """Run failed trials again once the cause is gone, each from its last checkpoint, and continue the study.

    Trials that were cancelled, or that need too much memory, run again only if they are named.
    """
    found = hposlurm.Study.open(study)
    _reopen(found, trial or ())
    go_on(found, found.resume(), wait=wait)


def _reopen(study: "Study", trials: "Sequence[int]" = ()) -> None:
    numbers = [str(number) for number in study.reopen(trials)]
    say(f"again:     {'trial' if len(numbers) == 1 else 'trials'} {', '.join(numbers)}")


def advance(
    study: StudyName,
    patient: Annotated[
        bool, typer.Option("--patient", help="Retry while the cluster accepts no jobs; a job requeues itself.")
    ] = False,
    behind: Annotated[
        int | None, typer.Option("--behind", metavar="WAVE", help="With --patient: wait until this wave is settled.")
    ] = None,
) -> None:
    """Run one planner step (jobs call this). It is safe at any time, and any number of times."""
    found = hposlurm.Study.open(study)
    step = found.advance_patiently(behind=behind, log=log) if patient else found.advance()
    say(f"{step.kind}: {step.message}")
    step.check_published()


def rebuild(study: StudyName) -> None:
    """Build study.db and the CSV files again from the journals, and send all results to the trackers again."""
    found = hposlurm.Study.open(study)
    history = found.rebuild()
    say(f"rebuilt from the journals of {counted(len(history.trials), 'trial')} in {found.layout.root}")


def gc(
    study: StudyName,
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep",
            min=0,
            metavar="K",
            help="Of how many best trials to keep them (default: trial.keep_checkpoints, or 1).",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted; delete nothing.")] = False,
) -> None:
    """Delete checkpoints that are no longer needed; those of the best and of unfinished trials are kept.

    After the study's end, trials that wait for another rung are not unfinished.
    """
    found = hposlurm.Study.open(study).clear(keep, dry_run=dry_run)
    for removal in found.removals:
        say(_removal_line(removal))
    _print_left(found.left)
    what = "would free" if dry_run else "freed"
    size = size_text(sum(removal.size for removal in found.removals))
    say(f"{what} {size} of {counted(len(found.removals), 'trial')}; {_what_stays(found.keep)}")
    for error in found.problems[:_PROBLEMS_SHOWN]:
        log(f"not deleted: {error}")
    if found.problems:
        raise BackendError(f"{len(found.problems)} paths could not be deleted")


def _removal_line(removal: "Removal") -> str:
    names = ", ".join(printable(path.name) for path in removal.paths)
    return f"  trial {removal.trial}: {names} ({size_text(removal.size)})"


def _print_left(left: "Sequence[Left]") -> None:
    """Prints what is not deleted although its trial needs no checkpoints: it may be the person's own file."""
    for group in left[:_PROBLEMS_SHOWN]:
        place = group.paths[0] if len(group.paths) == 1 else group.paths[0].parent
        names = "" if len(group.paths) == 1 else f" ({_shortened([path.name for path in group.paths])})"
        say("  " + printable(f"left: {place}{names}: {group.why}"))
    if len(left) > _PROBLEMS_SHOWN:
        say(f"  left: … and in {len(left) - _PROBLEMS_SHOWN} more places")


def _shortened(names: "Sequence[str]") -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join([*names[:_NAMES_SHOWN], *([f"… {more} more"] if more > 0 else [])])


def _what_stays(keep: int) -> str:
    best = "" if keep == 0 else "of the best trial and " if keep == 1 else f"of the best {keep} trials and "
    return f"those {best}of unfinished trials are kept"
