"""Changes the spec of a study that has trials: which changes are allowed, and what they mean for its trials."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from hposlurm.errors import RequestError
from hposlurm.records.files import create_once
from hposlurm.records.history import History
from hposlurm.records.layout import StudyLayout
from hposlurm.space import Parameter

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# `resume --set` may not change these: the recorded trials would have another meaning.
_FIXED = ("name", "objectives", "backend")
# Characters of a value in a list of differences
_LONGEST = 60
_MAY_CHANGE = "its range, step, scale, choices and default may change"


def revise(layout: StudyLayout, settings: Sequence[str]) -> StudySpec:
    """Freezes a changed spec as the next revision (`study.1.yaml`, …) and returns it.

    The range, step, scale, choices and default of a parameter may change, and so may constraints and forbidden clauses.
    Trials outside the changed space stay in the results, but the search no longer learns from them. Raises RequestError
    for a change that is not allowed.
    """
    from hposlurm.spec import load
    from hposlurm.spec.frozen import frozen_spec

    known = frozen_spec(layout)
    spec = load(layout.spec(layout.revisions()[-1]), settings=settings, launched=True)
    return take(layout, known, spec)


def take(layout: StudyLayout, known: StudySpec, spec: StudySpec) -> StudySpec:
    """Freezes `spec` as the next revision after `known` and returns it, as `revise` does."""
    from hposlurm.spec import dump

    if spec == known:
        return known
    newest = layout.revisions()[-1]
    if refusals := list(_refusals(known, spec)):
        raise RequestError(f"a running study cannot change this; launch a new one for it. {'. '.join(refusals)}")
    if not create_once(layout.spec(newest + 1), dump(spec).encode()):
        raise RequestError(
            f"another process wrote {layout.spec(newest + 1)} at the same moment; look at it and try again"
        )
    return spec


def differences(before: StudySpec, after: StudySpec) -> list[str]:
    """Returns what differs between two specs, one "key: old → new" each, in the order of the study file."""
    old, new = (dict(_flat(one.model_dump(mode="json", by_alias=True))) for one in (before, after))
    return [f"{key}: {_shown(old, key)} → {_shown(new, key)}" for key in {**old, **new} if old.get(key) != new.get(key)]


def _flat(data: object, path: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _flat(value, f"{path}.{key}" if path else str(key))
    elif data is not None:
        yield path, data


def _shown(values: Mapping[str, object], key: str) -> str:
    text = json.dumps(values[key], ensure_ascii=False) if key in values else "none"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _refusals(known: StudySpec, spec: StudySpec) -> Iterator[str]:
    for name in _FIXED:
        if getattr(spec, name) != getattr(known, name):
            yield f"{name}: every trial was made with it"
    if spec.search.warm_start != known.search.warm_start:
        yield "search.warm_start: what was taken from other studies was frozen at launch"
    if spec.share != known.share:
        change = "g+rX" if spec.share == "group" else "g-rwx"
        yield f"share: chmod -R {change} on the study's directory does it, and later files follow their directories"
    before, after = ({p.name: p for p in one.space.parameters} for one in (known, spec))
    for name in before.keys() - after.keys():
        yield f"{name}: no parameter can be removed; give it one value (min equal to max, or one choice)"
    for name in after.keys() - before.keys():
        yield f"{name}: no parameter can be added, since the existing trials have no value for it"
    for name in (name for name in before if name in after):
        yield from _changed(before[name], after[name])


def _changed(before: Parameter, after: Parameter) -> Iterator[str]:
    if type(before) is not type(after):
        kinds = " to ".join(_kind(parameter) for parameter in (before, after))
        yield f"{before.name}: its type cannot change from {kinds}; {_MAY_CHANGE}"
    elif before.condition != after.condition:
        conditions = (f"{p.condition}" if p.condition else "always" for p in (before, after))
        yield f"{before.name}: when it is active cannot change ({' → '.join(conditions)}); {_MAY_CHANGE}"


def _kind(parameter: Parameter) -> str:
    return type(parameter).__name__.removesuffix("Parameter").lower()


def space_note(before: StudySpec, after: StudySpec, history: History) -> str | None:
    """Returns a sentence about how many earlier trials lie in the changed space; None if the space is unchanged."""
    if before.space == after.space or not history.trials:
        return None
    space = after.space
    inside = sum(space.contains(trial.params) for trial in history.trials)
    outside = len(history.trials) - inside
    rest = f"; the other {outside} stay in the results, and the search does not learn from them" if outside else ""
    return f"the space has changed: {inside} of {len(history.trials)} earlier trials lie in it{rest}"
