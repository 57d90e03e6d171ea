"""Explains why a trial and the study's search went as they did: from the records, with each decision recomputed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hposlurm.decisions import Decision, DecisionMemory, decide_again, moments, observe, problem_of, read_warm_start
from hposlurm.pruning.scoring import scoring
from hposlurm.records.ancestry import Leg, legs
from hposlurm.records.assignment import Assignment, Settlement
from hposlurm.records.layout import StudyLayout
from hposlurm.records.retries import ended_by
from hposlurm.records.values import counted_values
from hposlurm.report.numbers import counted
from hposlurm.report.pruning_decisions import PruningStory, decisions
from hposlurm.report.remarks import remarks
from hposlurm.report.starts import starts_over
from hposlurm.search import RungCorrelations, rung_correlations
from hposlurm.search.halving import placing_of
from hposlurm.search.rungs import is_sent_to, levels_of, placing_text, placings, quota, standings, value_at
from hposlurm.spec.algorithms import SAMPLERS
from hposlurm.trial import Cause, Outcome, Params, Stage, Trial, TrialState

if TYPE_CHECKING:
    from hposlurm.report.records import StudyRecords
    from hposlurm.spec import StudySpec

# the origins of points that no sampler proposed
_ORIGINS = {
    "enqueue": "given by search.enqueue",
    "default": "the defaults of the parameters",
    "copy": "copied from another member of the population and changed",
}


@dataclass(frozen=True, slots=True)
class StageStory:
    """A stage of a trial's training."""

    wave: int
    from_step: int
    #: None: the training code's own end
    to_step: int | None
    #: why the search assigned it; may be ""
    why: str
    #: the outcomes of its attempts
    outcome: str
    #: the objectives' values at its end; {} before
    values: Mapping[str, float]
    #: where it ended otherwise, else ""
    past: str
    #: True if the search, recomputed from the records of that time, decides the same; None if other waves were running,
    #: because the records do not show exactly what was known of them
    agrees: bool | None
    #: which of its attempts started from nothing although they were to continue, else ""
    start: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of one trial."""

    study: str
    trial: int
    state: TrialState
    params: Params
    #: where its point comes from
    origin: str
    #: True if it is trained to its end regardless of its rungs
    is_let_through: bool
    stages: tuple[StageStory, ...]
    #: a paused trial's place among the trials that it is compared with, else ""
    standing: str
    #: why the search ended it, else ""
    verdict: str
    #: the wave in whose plan the search ended it
    verdict_wave: int | None
    #: as `StageStory.agrees`
    verdict_agrees: bool | None
    #: why it ended otherwise, else ""
    reason: str
    #: the limits that it breaks
    broken: tuple[str, ...]
    #: the decisions of the stopping rule at its reports
    decisions: tuple[PruningStory, ...]
    #: the trials of which it is a copy, then the trial itself, each with the step at which it began
    lineage: tuple[Leg, ...]
    attempts: int
    #: the workers' remarks
    notes: tuple[str, ...]
    runtime_s: float | None
    gpu_hours: float

    def to_json(self) -> dict[str, Any]:
        """Returns the same data with stable keys, for programs; the decisions at reports have those of the journal."""
        found = asdict(self)
        found["rulings"] = [{"ruling": each["decision"], "agrees": each["agrees"]} for each in found.pop("decisions")]
        for each in found["rulings"]:
            each["ruling"]["rivals"] = each["ruling"].pop("others")
        return found


@dataclass(frozen=True, slots=True)
class StudyExplanation:
    """The explanation of a study's search."""

    study: str
    algorithm: str
    #: the number of trials by the origin of their points
    origins: Mapping[str, int]
    #: how well the rungs predict the end; None without rungs
    premise: RungCorrelations | None
    #: the search's notes by wave
    notes: Mapping[int, tuple[str, ...]]
    #: how trials ran otherwise than the search assumes
    remarks: tuple[str, ...]
    #: why the study ended; None before
    finished: str | None
    gpu_hours: float

    def to_json(self) -> dict[str, Any]:
        """Returns the same data with stable keys, for programs."""
        return {**asdict(self), "premise_text": self.premise.text if self.premise else None}


class Replay:
    """Recomputes the decisions that a study's records contain, each at most once."""

    def __init__(self, records: StudyRecords) -> None:
        """Raises StudyError if the results taken from other studies cannot be read."""
        self.layout, self.spec, self.history = records.layout, records.spec, records.history
        self.warm = read_warm_start(self.layout)
        self.observations = observe(self.history, self.spec.objectives)
        self.problem = problem_of(self.spec, self.warm.trials)
        self._moments = tuple(moments(self.layout, self.history))
        self._decisions: dict[int, Decision] = {}
        self._memory = DecisionMemory()

    def agrees(self, trial: int, stage: int) -> bool | None:
        """Returns True if the recomputed search trains that stage of the trial as well (see `StageStory.agrees`)."""
        for index, moment in enumerate(self._moments):
            for assignment in moment.assignments:
                if (assignment.trial, assignment.stage) == (trial, stage):
                    return self._is_decided_again(index, assignment)
        return None

    def ended(self, trial: int) -> tuple[int, Settlement, bool | None] | None:
        """Returns the wave in which the search ended a trial, its settlement, and `agrees`.

        None if the search did not.
        """
        for index, moment in enumerate(self._moments):
            for verdict in moment.verdicts:
                if verdict.trial == trial:
                    return moment.wave, verdict, self._is_decided_again(index, verdict)
        return None

    def _is_decided_again(self, index: int, what: Assignment | Settlement) -> bool | None:
        moment = self._moments[index]
        if index not in self._decisions:
            spec = _spec_of(self.layout, self.history.plans[moment.wave].spec)
            self._decisions[index] = decide_again(spec, self.history, moment, self.warm, self._memory)
        decision = self._decisions[index]
        is_found = decision.sends(what) if isinstance(what, Assignment) else decision.ends(what)
        return is_found or (False if decision.is_exact else None)


def explain_study(study: Replay) -> StudyExplanation:
    """Explains the study's search from its records."""
    spec, history = study.spec, study.history
    return StudyExplanation(
        study=spec.name,
        algorithm=spec.search.name,
        origins=dict(Counter(str(trial.attrs.get("origin", "unknown")) for trial in history.trials)),
        premise=rung_correlations(study.problem, study.observations),
        notes={plan.wave: plan.notes for plan in history.plans if plan.notes},
        remarks=remarks(history, study.spec.search),
        finished=history.finished,
        gpu_hours=history.gpu_hours,
    )


def explain_trial(study: Replay, number: int) -> Explanation:
    """Explains one trial from the records. Raises RequestError if there is no trial of that number."""
    trial = study.history.trial(number)
    ended = study.ended(number)
    return Explanation(
        study=study.spec.name,
        trial=number,
        state=trial.state,
        params=trial.params,
        origin=_origin(study, trial),
        is_let_through=bool(trial.attrs.get("through")),
        stages=tuple(_stage(study, trial, stage) for stage in trial.stages),
        standing=_standing(study, number) if trial.state is TrialState.PAUSED else "",
        verdict=ended[1].reason if ended else "",
        verdict_wave=ended[0] if ended else None,
        verdict_agrees=ended[2] if ended else None,
        reason=trial.reason,
        broken=_broken(study, trial),
        decisions=decisions(study.layout, study.history.plans, trial),
        lineage=legs(study.history, trial),
        attempts=len(trial.attempts),
        notes=tuple(dict.fromkeys(note for attempt in trial.attempts for note in attempt.notes)),
        runtime_s=trial.runtime_s,
        gpu_hours=trial.gpu_hours,
    )


def what_rungs_are_worth(records: StudyRecords) -> str:
    """Returns in one line whether early values predict late ones; "" without rungs, or with too few trials yet."""
    found = rung_correlations(problem_of(records.spec, ()), observe(records.history, records.spec.objectives))
    return found.text if found and any(rung.correlation is not None for rung in found.rungs) else ""


def _spec_of(layout: StudyLayout, file: str) -> StudySpec:
    from hposlurm.spec.frozen import frozen_spec

    return frozen_spec(layout, file)


def _origin(study: Replay, trial: Trial) -> str:
    origin = str(trial.attrs.get("origin", "unknown"))
    words = SAMPLERS[origin].origin if origin in SAMPLERS else _ORIGINS.get(origin, origin)
    if origin == study.spec.search.sampler_traits.over_rungs:
        words += " over all rungs" if len(levels_of(study.spec.search)) > 1 else ""
    if origin in SAMPLERS and not SAMPLERS[origin].is_blind and study.warm.trials:
        words += f", which also learnt from {counted(len(study.warm.trials), 'trial')} of other studies"
    if origin == "copy":
        words = f"a copy of trial {trial.attrs.get('parent')} at step {trial.attrs.get('parent_step')}, changed"
    if isinstance(trial.attrs.get("member"), int):
        words += f"; member {trial.attrs['member']} of the population from generation {trial.attrs.get('generation')}"
    if isinstance(trial.attrs.get("bracket"), int):
        words += f"; in bracket {trial.attrs['bracket']}"
    return words


def _broken(study: Replay, trial: Trial) -> tuple[str, ...]:
    if trial.values is None:
        return ()
    is_over = trial.state is TrialState.COMPLETE
    return study.spec.limits.complaints(trial.params, trial.known_metrics, is_over=is_over)


def _stage(study: Replay, trial: Trial, stage: Stage) -> StageStory:
    own = [attempt for attempt in trial.attempts if attempt.stage == stage.number]
    done = next((attempt for attempt in own if attempt.outcome is Outcome.COMPLETE), None)
    values: Mapping[str, float] = {}
    if done is not None:
        names, rules = study.history.objectives, study.history.value_rules
        until_then = trial.attempts[: trial.attempts.index(done) + 1]
        values = dict(zip(names, counted_values(until_then, names, rules, stage.to_step) or (), strict=False))
    outcomes = Counter("running" if attempt.outcome is None else str(attempt.outcome) for attempt in own)
    words = ", ".join(f"{count}× {name}" if count > 1 else name for name, count in outcomes.items())
    past = done.reason if done is not None and ended_by(done, Cause.OTHER_STEP) else ""
    return StageStory(
        wave=stage.wave,
        from_step=stage.from_step,
        to_step=stage.to_step,
        why=stage.why,
        outcome=words or "not started",
        values=values,
        past=past,
        agrees=study.agrees(trial.number, stage.number),
        start="; ".join(each.text for each in starts_over(trial) if each.stage == stage.number),
    )


def _standing(study: Replay, number: int) -> str:
    """Returns a paused trial's current place among the trials that it is compared with; "" if it is at no rung."""
    mine, search, objectives = study.observations[number], study.spec.search, study.spec.objectives
    step, levels = mine.to_step, levels_of(search)
    if step not in levels[:-1]:
        return ""
    if search.pruner_traits.by_rungs:
        placing = placing_of(study.problem, study.observations, mine)
    else:
        k = levels.index(step)
        score, limits = scoring(objectives, search.compare_by), study.problem.space.limits
        rung = standings(study.observations, levels, score, limits)[k]
        there = [study.observations[s.number] for s in rung]
        is_open = any(is_sent_to(o, levels[k + 1]) and not o.attrs.get("through") for o in there)
        # a rung too small for a quota sends one trial on if no more trials will come; `is_open` shows that it did
        goers = quota(len(rung), search.reduction_factor) or int(is_open)
        placing = placings(rung, step, goers, lambda n: value_at(study.observations[n], step)).get(number)
    return placing_text(placing, study.problem, mine, is_decided=False) if placing else ""
