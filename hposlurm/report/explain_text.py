"""Writes explanations as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hposlurm.report.explain import Explanation, StageStory, StudyExplanation
from hposlurm.report.numbers import counted, duration, shown
from hposlurm.report.printable import printable
from hposlurm.report.pruning_decisions import PruningStory
from hposlurm.report.wrapping import wrapped
from hposlurm.search import RungCorrelations
from hposlurm.trial import param_text

_AGREES = {
    True: "recomputed from the records: the same decision",
    False: "recomputed from the records: NOT the same decision",
    None: "not recomputed: other waves were running, and the records do not show exactly what was known of them",
}

_LABEL = 9  # columns, including the space after it

Line = tuple[str, str]  # the label and the text


def text_of(about: Explanation | StudyExplanation, width: int | None = None) -> str:
    """Returns an explanation of a trial or of a study as text for a person, in lines of at most `width` columns."""
    return study_text(about, width) if isinstance(about, StudyExplanation) else trial_text(about, width)


def trial_text(found: Explanation, width: int | None = None) -> str:
    """Returns several lines about one trial."""
    return _text([("", f"trial {found.trial} of {found.study}: {found.state}"), *_trial_lines(found)], width)


def study_text(found: StudyExplanation, width: int | None = None) -> str:
    """Returns several lines about the study's search."""
    count = counted(sum(found.origins.values()), "trial")
    return _text([("", f"{found.study}: {found.algorithm}, {count}"), *_study_lines(found)], width)


def _text(lines: Sequence[Line], width: int | None) -> str:
    (_, title), *others = lines
    margin = max([_LABEL, *(len(label) + 1 for label, _ in others)])
    texts = (f"{label:<{margin}}{printable(words)}" for label, words in others)
    return "\n".join([wrapped(printable(title), width), *(wrapped(text, width, margin) for text in texts)])


def _trial_lines(found: Explanation) -> Iterator[Line]:
    yield "point:", found.origin
    yield "", _pairs(found.params)
    if found.is_let_through:
        yield "", "trained to its end regardless of its rungs, to measure how well the rungs predict"
    for leg in found.lineage if len(found.lineage) > 1 else ():
        yield "", f"trained from step {leg.step} on as trial {leg.trial}: {_pairs(leg.params)}"
    for stage in found.stages:
        yield from _stage_lines(stage)
    for story in found.decisions:
        yield from _decision_lines(story)
    if found.standing:
        yield "waits:", found.standing
    if found.verdict:
        yield "ended:", f"by the search in the plan of wave {found.verdict_wave}: {found.verdict}"
        yield "", _AGREES[found.verdict_agrees]
    elif found.reason:
        yield "ended:", found.reason
    for limit in found.broken:
        yield "breaks:", limit
    for note in found.notes:
        yield "note:", note
    spent = f"{counted(found.attempts, 'attempt')}, {duration(found.runtime_s)}, {shown(found.gpu_hours)} GPU hours"
    yield "spent:", spent


def _stage_lines(stage: StageStory) -> Iterator[Line]:
    end = "its end" if stage.to_step is None else f"step {stage.to_step}"
    values = f" with {_pairs(stage.values)}" if stage.values else ""
    yield f"wave {stage.wave}:", f"from step {stage.from_step} to {end}: {stage.outcome}{values}"
    if stage.start:
        yield "", stage.start
    if stage.past:
        yield "", stage.past
    if stage.why:
        yield "", f"because {stage.why}"
    yield "", _AGREES[stage.agrees]


def _decision_lines(story: PruningStory) -> Iterator[Line]:
    decision = story.decision
    against = f" (against {counted(len(decision.others), 'trial')})" if decision.others else ""
    yield f"step {decision.step}:", f"{'stopped' if decision.stops else 'went on'}: {decision.reason}{against}"
    again = "not recomputed: a journal is missing" if story.agrees is None else _AGREES[story.agrees]
    yield "", again


def _study_lines(found: StudyExplanation) -> Iterator[Line]:
    yield "points:", ", ".join(f"{count} {origin}" for origin, count in found.origins.items()) or "none yet"
    if found.premise is None:
        yield "rungs:", "none"
    else:
        yield from _premise_lines(found.premise)
    said: set[str] = set()
    for wave, notes in found.notes.items():
        yield from ((f"wave {wave}:", note) for note in notes if note not in said)
        said.update(notes)
    yield from (("note:", remark) for remark in found.remarks)
    yield "spent:", f"{shown(found.gpu_hours)} GPU hours{f'; {found.finished}' if found.finished else ''}"


def _premise_lines(premise: RungCorrelations) -> Iterator[Line]:
    for rung in premise.rungs:
        worth = "not known" if rung.correlation is None else f"{rung.correlation:.2f}"
        went = f"{rung.sent_on} {'went on' if premise.at_reports else 'were sent on'}"
        yield (
            f"{'step' if premise.at_reports else 'rung'} {rung.step}:",
            f"{rung.reached} reached it, {went}; rank correlation with the end {worth} "
            f"({counted(rung.pairs, 'trial')} {premise.judged.removeprefix('were ')})",
        )
    if premise.lowest is None:
        yield "", "no trial is stopped any more"
    elif premise.rungs and premise.lowest > premise.rungs[0].step:
        yield "", f"no trial is stopped below step {premise.lowest} any more"


def _pairs(values: Mapping[str, object]) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in values.items()) or "no parameters"


def _value(value: object) -> str:
    return shown(value) if isinstance(value, float) else param_text(value)
