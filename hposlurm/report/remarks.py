"""Remarks on how trials ran that a person should know of: each is said once, with the trials that it is about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hposlurm.records.history import History
from hposlurm.report.numbers import counted
from hposlurm.report.starts import StartOver, starts_over
from hposlurm.trial import Trial

if TYPE_CHECKING:
    from hposlurm.spec.search import SearchSpec

_NAMED = 3
_RESUME = (
    "Let the script save into checkpoint_dir ({{ checkpoint_dir }}, client.checkpoint_dir()) and load resume_from "
    "({{ resume_from }}, client.resume_from())"
)


@dataclass(frozen=True, slots=True)
class PastStep:
    """A trial that went past the end of its stage."""

    trial: int
    reached: int
    assigned: int


@dataclass(frozen=True, slots=True)
class FirstStartOver:
    """The first trial that started from nothing although it was to continue."""

    trial: int
    start: StartOver


@dataclass(frozen=True, slots=True)
class RemarkTally:
    """The facts about trials that remarks are made of."""

    #: how many trials went past their step, and the first of them
    past_step: int = 0
    first: PastStep | None = None
    #: how many trials started from nothing although they were to continue, and the first of them
    started_over: int = 0
    first_start: FirstStartOver | None = None
    #: the workers' notes, each with its trials
    notes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __add__(self, other: RemarkTally) -> RemarkTally:
        """Returns the tally of the trials of both, which must be different ones."""
        firsts = [each for each in (self.first, other.first) if each]
        starts = [each for each in (self.first_start, other.first_start) if each]
        texts = dict.fromkeys((*self.notes, *other.notes))
        notes = {text: tuple(sorted((*self.notes.get(text, ()), *other.notes.get(text, ())))) for text in texts}
        in_order = dict(sorted(notes.items(), key=lambda pair: pair[1][0]))
        return RemarkTally(
            past_step=self.past_step + other.past_step,
            first=min(firsts, key=lambda each: each.trial, default=None),
            started_over=self.started_over + other.started_over,
            first_start=min(starts, key=lambda each: each.trial, default=None),
            notes=in_order,
        )


def remarks(history: History, search: SearchSpec) -> tuple[str, ...]:
    """Returns the remarks on the study's trials; () if there is nothing to say."""
    return remark_lines(tally_remarks(history.trials), past_step_advice(search))


def tally_remarks(trials: Iterable[Trial]) -> RemarkTally:
    """Returns the facts about `trials`, which are in the order of their numbers."""
    past: list[PastStep] = []
    over: list[FirstStartOver] = []
    notes: dict[str, list[int]] = {}
    for trial in trials:
        if (furthest := _furthest_past(trial)) is not None:
            past.append(PastStep(trial.number, *furthest))
        over += [FirstStartOver(trial.number, start) for start in starts_over(trial)[:1]]
        for text in dict.fromkeys(note for attempt in trial.attempts for note in attempt.notes):
            notes.setdefault(text, []).append(trial.number)
    by_text = {text: tuple(own) for text, own in notes.items()}
    return RemarkTally(len(past), past[0] if past else None, len(over), over[0] if over else None, by_text)


def remark_lines(tally: RemarkTally, advice: str) -> tuple[str, ...]:
    """Returns the remarks as sentences; `advice` is `past_step_advice` of the study."""
    found: list[str] = []
    if tally.first is not None:
        which = f"(trial {tally.first.trial}: step {tally.first.reached}, assigned {tally.first.assigned})"
        past = f"{counted(tally.past_step, 'trial')} went past the step at which the search compares them"
        found.append(f"{past} {which}: {advice}")
    if tally.first_start is not None:
        which = f"(trial {tally.first_start.trial} {tally.first_start.start.text})"
        found.append(f"{counted(tally.started_over, 'trial')} trained again what was trained {which}. {_RESUME}")
    return (*found, *_by_trials(tally.notes))


def past_step_advice(search: SearchSpec) -> str:
    """Returns what it costs if trials go past their step, and what to do."""
    script = "Let the script end at max_step ({{ max_step }}, client.max_step())"
    return f"{_loss(search)}. {script}{_instead(search)}"


def _loss(search: SearchSpec) -> str:
    if search.in_generations:
        return f"{search.name} compares its members at the end of each generation, so they have to stop there"
    return "pausing them there saves nothing"


def _instead(search: SearchSpec) -> str:
    from hposlurm.spec.algorithms import without_stages

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


def _by_trials(by_text: Mapping[str, Sequence[int]]) -> Iterator[str]:
    for text, numbers in by_text.items():
        more = len(numbers) - _NAMED
        named = ", ".join(map(str, numbers[:_NAMED])) + (f" and {more} more" if more > 0 else "")
        yield f"trial{'' if len(numbers) == 1 else 's'} {named}: {text}"
