"""The verb gc, and what `check` says of the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hposlurm.cli.common import find_study, frozen_spec, say
from hposlurm.errors import BackendError

if TYPE_CHECKING:
    from hposlurm.planner.retention import Removal
    from hposlurm.spec import StudySpec

_KEPT = 1


def register(app: typer.Typer) -> None:
    app.command()(gc)


def gc(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A study's directory, or its name under runs/.")],
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep", min=0, metavar="K", help="Of how many best trials (default: trial.keep_checkpoints, or 1)."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted; delete nothing.")] = False,
) -> None:
    """Delete checkpoints that are no longer needed; those of the best trials and of unfinished ones stay.

    Once the study is over, trials that wait for a further rung are no longer unfinished.
    """
    from hposlurm.planner.retention import removals, remove
    from hposlurm.records.history import read_history

    layout = find_study(study)
    spec = frozen_spec(layout)
    known = _KEPT if spec.trial.keep_checkpoints is None else spec.trial.keep_checkpoints
    keep = known if keep is None else keep
    found = removals(layout, read_history(layout), spec.objectives, keep, spec.limits, with_paused=True)
    problems = [error for removal in found if not dry_run for error in remove(removal)]
    for removal in found:
        print(_line(removal))
    what = "would free" if dry_run else "freed"
    trials = "1 trial" if len(found) == 1 else f"{len(found)} trials"
    print(f"{what} {size_text(sum(r.size for r in found))} of {trials}; {_stays(keep)}")
    for error in problems[:10]:
        say(f"not deleted: {error}")
    if problems:
        raise BackendError(f"{len(problems)} paths could not be deleted")


def _line(removal: Removal) -> str:
    names = ", ".join(path.name for path in removal.paths)
    return f"  trial {removal.trial}: {names} ({size_text(removal.size)})"


def _stays(keep: int) -> str:
    best = "" if keep == 0 else "those of the best trial and " if keep == 1 else f"those of the best {keep} trials and "
    return f"{best}those of unfinished trials stay"


def size_text(count: float) -> str:
    """Bytes in the largest unit that fits: "1.5 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def disk_line(spec: StudySpec, first_wave: int) -> str:
    """What checkpoints may use of the disk, in one line."""
    from hposlurm.decisions import is_refill
    from hposlurm.planner.retention import disk_gb

    trial = spec.trial
    if trial.checkpoint_gb is None:
        return "disk: unknown; trial.checkpoint_gb would tell how much the checkpoints of one trial use"
    at_most = disk_gb(spec, first_wave)
    one = f"{size_text(trial.checkpoint_gb * 1e9)} a trial"
    if at_most is None:
        bound = "trial.keep_checkpoints" if trial.keep_checkpoints is None else "budget.n_trials"
        return f"disk: {one}, and no budget bounds the trials; {bound} would bound it"
    kept = "all trials' checkpoints are kept"
    if trial.keep_checkpoints is not None:
        kept = "as trial.keep_checkpoints says" + (", once a wave of many has ended" if is_refill(spec) else "")
    return f"disk: at most {size_text(at_most * 1e9)} of checkpoints ({one}, {kept})"
