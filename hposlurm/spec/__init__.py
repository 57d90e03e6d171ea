"""Reads the study file from YAML into a validated, frozen StudySpec, and writes it back.

May import render (to try a command out), space, pruning and errors.

All problems of a file are found at once and raised as one SpecError. Three things override the study file, in this
order: a search space file (its sections replace those of the study file), overlay files (merged), `--set` settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hposlurm.errors import Problem, SpecError
from hposlurm.spec import document
from hposlurm.spec.bounds import bound_problems
from hposlurm.spec.check import cross_problems, resort
from hposlurm.spec.command import template_problems
from hposlurm.spec.definitions import (
    CategoricalDefinition,
    Conditional,
    Definition,
    FloatDefinition,
    IntDefinition,
)
from hposlurm.spec.entries import Source, anchored
from hposlurm.spec.gpu_memory import with_model_config
from hposlurm.spec.merge import apply_setting, merge
from hposlurm.spec.model import StudySpec
from hposlurm.spec.objectives import with_counted_reports
from hposlurm.spec.probe import probe_problems
from hposlurm.spec.problems import problems_of, suggestion
from hposlurm.spec.search import SearchSpec
from hposlurm.spec.sections import (
    BudgetSpec,
    DeepSpeedSpec,
    PlannerSpec,
    ResourcesSpec,
    SlurmSpec,
    TrialSpec,
    WavesSpec,
)
from hposlurm.spec.simulation import SimulationSpec
from hposlurm.spec.unused import unused

__all__ = [
    "BudgetSpec",
    "CategoricalDefinition",
    "Conditional",
    "DeepSpeedSpec",
    "Definition",
    "FloatDefinition",
    "IntDefinition",
    "PlannerSpec",
    "ResourcesSpec",
    "SearchSpec",
    "SimulationSpec",
    "SlurmSpec",
    "Source",
    "StudySpec",
    "TrialSpec",
    "WavesSpec",
    "dump",
    "load",
    "parse",
    "unused",
]

_SEARCH_SPACE_KEYS = ("parameters", "conditionals", "constraints", "forbidden", "metrics", "objectives")


def load(
    path: Path,
    overlays: Sequence[Path] = (),
    settings: Sequence[str] = (),
    search_space: Path | None = None,
    *,
    frozen: bool = False,
    launched: bool = False,
) -> StudySpec:
    """Returns the study in the file at `path`, with all overrides applied. Raises SpecError with all problems.

    `settings` are "a.b.c=value". Relative paths (`slurm.template`, `search.warm_start`, `gpu_memory.model`) are
    relative to the file that contains them. `frozen` is for a spec that hposlurm wrote itself: it is not tried out
    again, and its template may be missing by now. `launched` is for one that is changed: keys that it lacks mean what
    they meant when it was launched.
    """
    data, problems = document.read(path, regular=frozen)
    if data is None:
        raise SpecError(str(path), problems)
    data, found = _overridden(_anchored(data, path.parent), overlays, settings, search_space)
    problems += found
    if data is None:
        raise SpecError(str(path), problems)
    try:
        spec = parse(data, str(path), frozen=frozen, launched=launched)
    except SpecError as error:
        raise SpecError(str(path), [*problems, *_blamed(error.problems, settings)]) from None
    if problems:
        raise SpecError(str(path), problems)
    return spec


def _blamed(problems: Sequence[Problem], settings: Sequence[str]) -> list[Problem]:
    """Returns the problems; those of a value that a setting gave name `--set`, since the file does not have it."""
    given = {setting.partition("=")[0].strip() for setting in settings}
    return [replace(each, path=f"--set {each.path}") if each.path in given else each for each in problems]


def _with_older_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """Returns the spec of a launched study with the defaults that it was launched with.

    A key that a spec lacks is younger than the version of hposlurm that wrote it.
    """
    trial, search = data.get("trial"), data.get("search")
    if isinstance(trial, dict):
        data = {**data, "trial": {"seed": "trial", **trial}}
    if isinstance(search, dict):
        data = {**data, "search": {"startup_trials": 10, **search}}
    return data


def _overridden(
    data: dict[str, Any], overlays: Sequence[Path], settings: Sequence[str], search_space: Path | None
) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Returns `data` with all overrides applied, and their problems; None if a file could not be read."""
    problems: list[Problem] = []
    if search_space is not None:
        sections, problems = _search_space(search_space)
        if sections is None:
            return None, problems
        data = {**data, **sections}
    for overlay in overlays:
        changes, found = document.read(overlay)
        problems += [_within(overlay, problem) for problem in found]
        if changes is None:
            return None, problems
        data = merge(data, _anchored(changes, overlay.parent))
    problems += [problem for setting in settings if (problem := apply_setting(data, setting))]
    return data, problems


def _search_space(file: Path) -> tuple[dict[str, Any] | None, list[Problem]]:
    sections, found = document.read(file)
    if sections is None:
        return None, [_within(file, problem) for problem in found]
    for key in sorted(sections.keys() - set(_SEARCH_SPACE_KEYS)):
        hint = suggestion(key, _SEARCH_SPACE_KEYS, "allowed in a search space file")
        found.append(Problem(key, f"unknown key {key!r}", hint))
    kept = {key: value for key, value in sections.items() if key in _SEARCH_SPACE_KEYS}
    return kept, [_within(file, problem) for problem in found]


def _within(file: Path, problem: Problem) -> Problem:
    return Problem(f"{file}: {problem.path}" if problem.path else str(file), problem.message, problem.hint)


def _anchored(data: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Returns `data` with relative paths (of templates, earlier results, the model) made absolute, from `directory`."""
    slurm, search, memory = data.get("slurm"), data.get("search"), data.get("gpu_memory")
    if isinstance(memory, dict) and isinstance(name := memory.get("model"), str) and (directory / name).exists():
        data = {**data, "gpu_memory": {**memory, "model": str((directory / name).absolute())}}
    if isinstance(slurm, dict) and isinstance(slurm.get("template"), str) and slurm["template"]:
        data = {**data, "slurm": {**slurm, "template": str((directory / slurm["template"]).absolute())}}
    if isinstance(search, dict) and isinstance(search.get("warm_start"), list):
        sources = [anchored(entry, directory) for entry in search["warm_start"]]
        data = {**data, "search": {**search, "warm_start": sources}}
    return data


def parse(data: Mapping[str, Any], source: str, *, frozen: bool = False, launched: bool = False) -> StudySpec:
    """Returns the study in `data`, which consists of dict, list and single values. Raises SpecError with all problems.

    `source` names the data in messages. `frozen` and `launched` as in `load`.
    """
    if not isinstance(data, Mapping):
        raise SpecError(source, [Problem("", "a study is a mapping of keys such as `name:` and `parameters:`")])
    cleaned = _without_nulls(data)
    cleaned = _with_older_defaults(cleaned) if frozen or launched else with_counted_reports(cleaned)
    if not frozen and (beyond := list(bound_problems(cleaned))):
        raise SpecError(source, resort(beyond))  # the other checks would take long
    problems: list[Problem] = []
    if not frozen:
        cleaned, problems = with_model_config(cleaned)
    problems += cross_problems(cleaned, frozen=frozen)
    spec: StudySpec | None = None
    try:
        spec = StudySpec.model_validate(cleaned)
    except ValidationError as error:
        problems += problems_of(error)
    template = _template(cleaned)
    if template is not None and not frozen:
        problems += template_problems(template, "slurm.template")
    if spec is not None and not problems and not frozen:
        problems += probe_problems(spec)
    if spec is None or problems:
        raise SpecError(source, resort(problems))
    return spec


def _template(data: Mapping[str, Any]) -> Path | None:
    slurm = data.get("slurm")
    name = slurm.get("template") if isinstance(slurm, dict) else None
    return Path(name) if isinstance(name, str) and name.strip() else None


def _without_nulls(data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `data` without keys that are null, in sections too: an overlay unsets a key by `key: null`.

    In definitions and in `slurm.extra` null is a value and is kept.
    """
    cleaned = {str(key): value for key, value in data.items() if value is not None}
    for name in ("search", "budget", "waves", "trial", "resources", "gpu_memory", "slurm", "simulation"):
        if isinstance(section := cleaned.get(name), dict):
            cleaned[name] = {str(key): value for key, value in section.items() if value is not None}
    for section_name, name in (("trial", "deepspeed"), ("slurm", "planner")):
        section = cleaned.get(section_name)
        if isinstance(section, dict) and isinstance(inner := section.get(name), dict):
            section[name] = {str(key): value for key, value in inner.items() if value is not None}
    return cleaned


def dump(spec: StudySpec) -> str:
    """Returns YAML that `load` reads back as an equal spec, with all defaults written out."""
    data = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    data["parameters"] = _definitions(spec.parameters)
    data["conditionals"] = [_conditional(conditional) for conditional in spec.conditionals]
    data["forbidden"] = [clause if isinstance(clause, str) else dict(clause) for clause in spec.forbidden]
    data["search"]["enqueue"] = [dict(entry) for entry in spec.search.enqueue]  # null is a value in these
    data["slurm"]["extra"] = dict(spec.slurm.extra)
    return document.dump(data)


def _conditional(conditional: Conditional) -> dict[str, Any]:
    inner = [_conditional(entry) for entry in conditional.conditionals]
    found = {"if": conditional.condition, "then": _definitions(conditional.then)}
    return {**found, "conditionals": inner} if inner else found


def _definitions(definitions: Mapping[str, Definition]) -> dict[str, Any]:
    """Returns the definitions as given, plus an inferred `type`; `default: null` is not the same as no default."""
    return {
        name: {"type": definition.type} | definition.model_dump(mode="json", exclude_unset=True)
        for name, definition in definitions.items()
    }
