"""Collects where a study's results come from: what was submitted, by which code, where it ran."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hposlurm import __version__
from hposlurm.records.history import History
from hposlurm.records.layout import StudyLayout
from hposlurm.records.reading import read_whole
from hposlurm.report.numbers import counted
from hposlurm.report.printable import printable, without_controls

_LONGEST_FILE = 60_000
_NAMED = 12


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the study directory, as text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """The files that were submitted, and facts about the study with their names."""

    files: tuple[SourceFile, ...]
    facts: tuple[tuple[str, str], ...]


def provenance(layout: StudyLayout, history: History) -> Provenance:
    """Reads the newest study file and the newest scripts; a file that cannot be read is left out."""
    paths = [layout.spec(layout.revisions()[-1])] if layout.revisions() else []
    for plan in reversed(history.plans):
        wave = layout.wave(plan.wave)
        if wave.script().exists():
            paths += [wave.script(), wave.planner_script]
            break
    found = ((path, _text(layout, str(path.relative_to(layout.root)))) for path in paths)
    files = tuple(SourceFile(str(path.relative_to(layout.root)), text) for path, text in found if text)
    return Provenance(files, tuple(_facts(layout, history)))


def _text(layout: StudyLayout, name: str) -> str:
    try:
        data = read_whole(layout.root / name)
    except OSError:
        return ""
    text = without_controls(data[:_LONGEST_FILE].decode(errors="replace"))
    return text + (f"\n… ({len(data) - _LONGEST_FILE} more bytes)" if len(data) > _LONGEST_FILE else "")


def _facts(layout: StudyLayout, history: History) -> list[tuple[str, str]]:
    attempts = [attempt for trial in history.trials for attempt in trial.attempts]
    first = history.plans[0] if history.plans else None
    commits = Counter(attempt.git_commit for attempt in attempts if attempt.git_commit)
    nodes = Counter(attempt.host for attempt in attempts if attempt.host)
    facts = [
        ("study directory", str(layout.root)),
        ("commands run in", first.workdir if first else ""),
        ("git commit of the training code", _listed(commits) or ("not recorded" if attempts else "")),
        ("nodes", _listed(nodes)),
        ("seed of the search", str(first.seed) if first else ""),
        ("revisions of the study file", str(len(layout.revisions()))),
        ("waves", str(sum(bool(plan.assignments) for plan in history.plans))),
        ("attempts", str(len(attempts))),
        ("report by", f"hposlurm {__version__}, Python {platform.python_version()}, {platform.node()}"),
    ]
    return [(name, printable(value)) for name, value in facts if value]


def _listed(counts: Counter[str]) -> str:
    """Returns the commonest values, with their number of attempts where there are several."""
    if len(counts) == 1:
        return next(iter(counts))
    most: Sequence[tuple[str, int]] = counts.most_common(_NAMED)
    more = f" and {len(counts) - _NAMED} more" if len(counts) > _NAMED else ""
    return ", ".join(f"{value} ({counted(number, 'attempt')})" for value, number in most) + more
