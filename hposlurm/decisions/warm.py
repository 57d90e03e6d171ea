"""What a study learns from others before its first trial: gathered once, frozen in its directory, the same for ever."""

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
from hposlurm.records.history import ranked
from hposlurm.records.layout import StudyLayout
from hposlurm.search import Observation
from hposlurm.space import CategoricalParameter, SearchSpace
from hposlurm.trial import Params, ParamValue, Trial, TrialState

if TYPE_CHECKING:
    from hposlurm.spec import Source, StudySpec

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of one source: `taken` of `found` trials, why the others were left out and how many.

    `unknown` are parameters of the taken trials that this study does not have, and of how many trials.
    """

    source: str
    found: int
    taken: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
        words = f"{self.taken} of {self.found} trials of {self.source}{f' (left out: {reasons})' if reasons else ''}"
        names = ", ".join(self.unknown)
        return f"{words}; this study has no {names}, so that was left out of them" if names else words


@dataclass(frozen=True, slots=True)
class WarmStart:
    """Trials of other studies, numbered -1, -2, …: no trial of this study is called so."""

    sources: tuple[Taken, ...] = ()
    trials: tuple[Observation, ...] = ()


def gather(layout: StudyLayout, spec: StudySpec) -> WarmStart:
    """What `search.warm_start` names, read now; what was frozen when the study was launched holds instead.

    A relative path counts from the working directory. What is not there is looked for by its name beside the study.
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
    """Keeps `warm` in the study's directory, unless something is kept there already."""
    if warm.sources:
        create_once(layout.warm_start, to_json({"format": _FORMAT, **asdict(warm)}))


def read_warm_start(layout: StudyLayout) -> WarmStart:
    """What was frozen when the study was launched; nothing if that was nothing. Raises StudyError if it is damaged."""
    return _read(layout.warm_start) if layout.warm_start.exists() else WarmStart()


@lru_cache(maxsize=4)  # it never changes
def _read(path: Path) -> WarmStart:
    try:
        data = from_json(path.read_bytes())
        if not isinstance(data, dict) or data.pop("format", None) != _FORMAT:
            raise ValueError("it is of another format")
        return structure(WarmStart, data)
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} is damaged: {error}; restore it from a backup (nothing was changed)") from error


def _from_source(layout: StudyLayout, spec: StudySpec, entry: Source, where: str) -> tuple[list[Observation], Taken]:
    if entry.study is not None:
        found, left_out = read_study(_study(layout, entry.study, where), spec.objectives)
    else:
        path = _existing(Path(entry.place), layout.root.parent)
        found, left_out = read_csv(path, f"{where}.csv", spec.space, spec.objectives)
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
    return [trial for trial, _ in fitting], Taken(entry.place, total, len(fitting), dict(left_out), dict(unknown))


def _best(found: Sequence[Observation], most: int, spec: StudySpec) -> set[int]:
    """Numbers of the best completed ones; those that break limits of this study only where there are too few others."""
    complete = [o for o in found if o.state is TrialState.COMPLETE]
    order: list[Trial] = []
    for is_wanted in (True, False):
        group = [o for o in complete if spec.limits.is_feasible(o.params, o.metrics) is is_wanted]
        order += ranked((Trial(o.number, o.params, "", 0, 0, o.state, values=o.values) for o in group), spec.objectives)
    return {trial.number for trial in order[:most]}


def fitted(space: SearchSpace, params: Params) -> tuple[dict[str, ParamValue], str]:
    """Those in `params` that are active in `space`, and why they are no configuration of it ("" if they are)."""
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
    raise RequestError(f"{where}: there is no study {path}, nor one called {path.name} in {runs}; {hint}")
