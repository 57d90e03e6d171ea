"""Remarks on how trials ran that a person should know of: each is said once, with the trials that it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from hposlurm.records.history import History
from hposlurm.report.numbers import counted
from hposlurm.spec.algorithms import without_stages
from hposlurm.trial import Trial

if TYPE_CHECKING:
    from hposlurm.spec.search import SearchSpec

_NAMED = 3


def remarks(history: History, search: SearchSpec) -> tuple[str, ...]:
    """Returns the remarks on the study's trials; () if there is nothing to say."""
    return (*_past_their_step(history, search), *_notes(history))


def _past_their_step(history: History, search: SearchSpec) -> Iterator[str]:
    """Yields a remark if trials reported steps past the end of their stages."""
    found = [(trial, past) for trial in history.trials if (past := _furthest_past(trial)) is not None]
    if found:
        trial, (reached, assigned) = found[0]
        yield (
            f"{counted(len(found), 'trial')} went past the step at which the search compares them "
            f"(trial {trial.number}: step {reached}, assigned {assigned}): {_loss(search)}. Let the script end at "
            f"max_step ({{{{ max_step }}}}, client.max_step()){_instead(search)}"
        )


def _loss(search: SearchSpec) -> str:
    if search.in_generations:
        return f"{search.name} compares its members at the end of each generation, so they have to stop there"
    return "pausing them there saves nothing"


def _instead(search: SearchSpec) -> str:
    keys = without_stages(search.sampler_traits, search.pruner_traits)
    return f", or take search: {{{keys}}}, which needs no change of the script" if keys else ""


def _furthest_past(trial: Trial) -> tuple[int, int] | None:
    """Returns the last step that an attempt reported past its stage's end, and that end; None if none did."""
    ends = {stage.number: stage.to_step for stage in trial.stages if not stage.is_final}
    found = [
        (step, end)
        for attempt in trial.attempts
        if (end := ends.get(attempt.stage)) is not None
        if (step := max((report.step for report in attempt.reports), default=end)) > end
    ]
    return max(found, default=None)


def _notes(history: History) -> Iterator[str]:
    by_text: dict[str, list[int]] = {}
    for trial in history.trials:
        for text in dict.fromkeys(note for attempt in trial.attempts for note in attempt.notes):
            by_text.setdefault(text, []).append(trial.number)
    yield from _by_trials(by_text)


def _by_trials(by_text: Mapping[str, list[int]]) -> Iterator[str]:
    for text, numbers in by_text.items():
        more = len(numbers) - _NAMED
        named = ", ".join(map(str, numbers[:_NAMED])) + (f" and {more} more" if more > 0 else "")
        yield f"trial{'' if len(numbers) == 1 else 's'} {named}: {text}"
