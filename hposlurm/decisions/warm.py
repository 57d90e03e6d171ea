"""Gathers the trials of other studies that a study learns from: once, then frozen in its directory."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from hposlurm.decisions.foreign import read_csv, read_study
from hposlurm.errors import RequestError, StudyError
from hposlurm.records.decode import structure
from hposlurm.records.files import create_once, from_json, to_json
from hposlurm.records.layout import StudyLayout
from hposlurm.records.ranking import ranked
from hposlurm.records.reading import read_whole
from hposlurm.search import Observation
from hposlurm.space import CategoricalParameter, SearchSpace
from hposlurm.trial import Params, ParamValue, Trial, TrialState

if TYPE_CHECKING:
    from hposlurm.spec import Source, StudySpec

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Taken:
    """Counts the trials that were taken from one source."""

    source: str
    found: int
    taken: int
    #: how many trials were left out, by the reason
    left_out: Mapping[str, int] = field(default_factory=dict)
    #: how many of the taken trials have a parameter that this study does not have, by its name
    unknown: Mapping[str, int] = field(default_factory=dict)
    #: how a table had to be read, if not as usual, for people
    read_as: str = ""

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
        remarks = [self.read_as, f"left out: {reasons}" if reasons else ""]
        remark = f" ({'; '.join(filter(None, remarks))})" if any(remarks) else ""
        text = f"{self.taken} of {self.found} trials of {self.source}{remark}"
        names = ", ".join(self.unknown)
        return f"{text}; this study has no {names}, so their values of it were left out" if names else text


@dataclass(frozen=True, slots=True)
class WarmStart:
    """Trials of other studies, numbered -1, -2, …, so that none has the number of a trial of this study."""

    sources: tuple[Taken, ...] = ()
    trials: tuple[Observation, ...] = ()


def gather(layout: StudyLayout, spec: StudySpec) -> WarmStart:
    """Reads what `search.warm_start` names; returns what was frozen if the study was launched already.

    A relative path counts from the working directory. A missing path is looked for by its name beside the study.
    Raises RequestError or StudyError where a source cannot be read.
    """
    if layout.spec().exists():
        return read_warm_start(layout)
    sources: list[Taken] = []
    trials: list[Observation] = []
    for index, entry in enumerate(spec.search.warm_start):
        found, taken = _from_source(layout, spec, entry, f"search.warm_start.{index}")
        sources.append(taken)
        trials += [replace(trial, number=-1 - len(trials) - i) for i, trial in enumerate(found)]
    return WarmStart(tuple(sources), tuple(trials))


def freeze(layout: StudyLayout, warm: WarmStart) -> None:
    """Writes `warm` to the study's directory, unless it was written already."""
    if warm.sources:
        create_once(layout.warm_start, to_json({"format": _FORMAT, **asdict(warm)}))


def read_warm_start(layout: StudyLayout) -> WarmStart:
    """Returns what was frozen when the study was launched, empty if nothing was. Raises StudyError if it is damaged."""
    return _read(layout.warm_start) if layout.warm_start.exists() else WarmStart()


@lru_cache(maxsize=4)  # it never changes
def _read(path: Path) -> WarmStart:
    try:
        data = from_json(read_whole(path))
        if not isinstance(data, dict) or data.pop("format", None) != _FORMAT:
            raise ValueError("it has another format")
        return structure(WarmStart, data)
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} is damaged: {error}; restore it from a backup (nothing was changed)") from error


def _from_source(layout: StudyLayout, spec: StudySpec, entry: Source, where: str) -> tuple[list[Observation], Taken]:
    read_as = ""
    if entry.study is not None:
        found, left_out = read_study(_study(layout, entry.study, where), spec.objectives)
    else:
        path = _existing(Path(entry.place), layout.root.parent)
        table = read_csv(path, f"{where}.csv", spec.space, spec.objectives, entry.columns)
        found, left_out, read_as = table
    total = len(found) + left_out.total()
    fitting: list[tuple[Observation, list[str]]] = []
    for trial in found:
        params, reason = fitted(spec.space, trial.params)
        if reason:
            left_out[reason] += 1
        else:
            foreign = [name for name in trial.params if name not in spec.space.names]
            fitting.append((replace(trial, params=params), foreign))
    if entry.best is not None:
        best = _best([trial for trial, _ in fitting], entry.best, spec)
        if len(best) < len(fitting):
            left_out[f"not among the best {entry.best}"] += len(fitting) - len(best)
        fitting = [pair for pair in fitting if pair[0].number in best]
    unknown = Counter(name for _, names in fitting for name in names)
    return [trial for trial, _ in fitting], Taken(
        entry.place, total, len(fitting), dict(left_out), dict(unknown), read_as
    )


def _best(found: Sequence[Observation], most: int, spec: StudySpec) -> set[int]:
    """Returns the numbers of the best completed trials; those that break this study's limits come last."""
    complete = [o for o in found if o.state is TrialState.COMPLETE]
    order: list[Trial] = []
    for is_wanted in (True, False):
        group = [o for o in complete if spec.limits.is_feasible(o.params, o.metrics) is is_wanted]
        order += ranked((Trial(o.number, o.params, "", 0, 0, o.state, values=o.values) for o in group), spec.objectives)
    return {trial.number for trial in order[:most]}


def fitted(space: SearchSpace, params: Params) -> tuple[dict[str, ParamValue], str]:
    """Returns the values of `params` that are active in `space`, and why they are not a configuration of it, or ""."""
    point: dict[str, ParamValue] = {}
    for parameter in space.parameters:
        name = parameter.name
        if not space.is_active(parameter, point):
            continue
        if name not in params:
            return {}, f"without {name}"
        if not parameter.contains(params[name]):
            is_choice = isinstance(parameter, CategoricalParameter)
            return {}, f"with {name} {'not one of its choices' if is_choice else 'out of its range'}"
        point[name] = params[name]
    return point, ""


def _existing(path: Path, runs: Path) -> Path:
    beside = runs / path.name
    return beside if beside.exists() and not path.exists() else path


def _study(layout: StudyLayout, place: str, where: str) -> StudyLayout:
    path, runs = Path(place), layout.root.parent
    for candidate in (path, runs / path.name):
        if (found := StudyLayout(candidate)).spec().is_file():
            return found
    known = sorted(entry.parent.name for entry in runs.glob("*/study.yaml"))
    near = difflib.get_close_matches(path.name, known, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are: {', '.join(known[:10]) or 'none yet'}"
    raise RequestError(f"{where}: there is no study {path}, nor {path.name} in {runs}; {hint}")
