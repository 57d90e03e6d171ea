"""Shows what multi-fidelity did: who reached each rung, who went on and why, and what the rungs are worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hposlurm.decisions import observe, problem_of
from hposlurm.records.history import History
from hposlurm.report.page.shortening import short
from hposlurm.report.printable import printable
from hposlurm.search import Observation, RungCorrelations, rung_correlations
from hposlurm.search.rungs import is_sent_to, levels_of, value_at
from hposlurm.trial import Trial, TrialState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# More decisions than a person reads on a page; the details of a trial have its own
_MOST_DECISIONS = 2000


@dataclass(frozen=True, slots=True)
class RungPanel:
    """A rung, with the value there of each trial that reached it."""

    step: int
    rows: tuple[int, ...]
    values: tuple[float, ...]
    #: for each of them "went on", "stopped", "waits", "failed" or "complete"
    fates: tuple[str, ...]
    sent_on: int
    #: Spearman's rank correlation with the value at the end; None with too few pairs, and for the end itself
    correlation: float | None
    pairs: int


@dataclass(frozen=True, slots=True)
class Bracket:
    """A bracket of Hyperband or successive halving."""

    number: int
    trials: int
    #: the first step at which its trials are compared
    first_rung: int | None
    complete: int


@dataclass(frozen=True, slots=True)
class SentOn:
    """Why a trial went on, or why it was stopped."""

    row: int
    from_step: int
    #: None: the training code's own end
    to_step: int | None
    #: "went on" or "stopped"
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class MultiFidelity:
    """The rungs of a study for its first objective; the last one is the end of the training."""

    objective: str
    algorithm: str
    rungs: tuple[RungPanel, ...]
    brackets: tuple[Bracket, ...]
    decisions: tuple[SentOn, ...]
    #: how many decisions are not among them
    more: int
    #: what the rank correlations mean, in one line
    premise: str
    #: the training steps that were run, and those that all trials run to the end would have taken
    steps: int
    full_steps: int


def multi_fidelity(spec: StudySpec, history: History) -> MultiFidelity | None:
    """Returns what is known of the rungs; None for a study that compares trials at their ends only."""
    levels, pruner = levels_of(spec.search), spec.search.pruner_traits
    if not levels or (pruner.rungs == "never" and not pruner.at_reports):
        return None  # at once: the observations of 10,000 trials take a second
    observations = observe(history, spec.objectives)
    found = rung_correlations(problem_of(spec, ()), observations)
    if found is None:
        return None
    steps = sorted({*(rung.step for rung in found.rungs), *levels[-1:]})
    panels = tuple(_panel(step, observations, step == steps[-1], found) for step in steps)
    decisions = _decisions(history.trials)
    return MultiFidelity(
        objective=printable(spec.objectives[0].metric),
        algorithm=spec.search.name,
        rungs=tuple(panel for panel in panels if panel.rows),
        brackets=_brackets(observations),
        decisions=tuple(decisions[:_MOST_DECISIONS]),
        more=max(0, len(decisions) - _MOST_DECISIONS),
        premise=found.text,
        steps=sum(trial.reports[-1].step for trial in history.trials if trial.reports),
        full_steps=(levels[-1] if levels else 0) * sum(1 for trial in history.trials if trial.reports),
    )


def _panel(step: int, observations: Sequence[Observation], is_end: bool, found: RungCorrelations) -> RungPanel:
    reached = [(row, o, value) for row, o in enumerate(observations) if (value := value_at(o, step)) is not None]
    own = next((rung for rung in found.rungs if rung.step == step), None)
    return RungPanel(
        step=step,
        rows=tuple(row for row, _, _ in reached),
        values=tuple(short(value[0]) for _, _, value in reached),
        fates=tuple(_fate(o, step, is_end) for _, o, _ in reached),
        sent_on=own.sent_on if own else 0,
        correlation=None if own is None or own.correlation is None else short(own.correlation),
        pairs=own.pairs if own else 0,
    )


def _fate(observation: Observation, step: int, is_end: bool) -> str:
    if is_end or (observation.state is TrialState.COMPLETE and not is_sent_to(observation, step + 1)):
        return "complete"
    last = observation.curve[-1][0] if observation.curve else step
    if observation.state is TrialState.PRUNED and last <= step:
        return "stopped"
    if is_sent_to(observation, step + 1):
        return "went on"
    return {TrialState.PRUNED: "stopped", TrialState.FAIL: "failed"}.get(observation.state, "waits")


def _brackets(observations: Sequence[Observation]) -> tuple[Bracket, ...]:
    members: dict[int, list[Observation]] = {}
    for observation in observations:
        number = observation.attrs.get("bracket")
        if isinstance(number, int):
            members.setdefault(number, []).append(observation)
    return tuple(
        Bracket(number, len(own), _first_rung(own), sum(o.state is TrialState.COMPLETE for o in own))
        for number, own in sorted(members.items())
    )


def _first_rung(members: Sequence[Observation]) -> int | None:
    """Returns the step at which most of a bracket's trials ended their first assignment."""
    ends = Counter(o.ends[0][0] for o in members if o.ends)
    return ends.most_common(1)[0][0] if ends else None


def _decisions(trials: Sequence[Trial]) -> list[SentOn]:
    found: list[SentOn] = []
    for row, trial in enumerate(trials):
        found += [
            SentOn(row, stage.from_step, stage.to_step, "went on", printable(stage.why))
            for stage in trial.stages
            if stage.why
        ]
        if trial.state is TrialState.PRUNED:
            last = trial.reports[-1].step if trial.reports else 0
            found.append(SentOn(row, last, None, "stopped", printable(trial.reason)))
    return found
