"""Shows what trial.metric_pattern finds in an old log, as the worker would read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hposlurm.errors import RequestError
from hposlurm.records.cause_text import sentence
from hposlurm.records.reading import open_regular
from hposlurm.report.numbers import shown
from hposlurm.report.printable import printable
from hposlurm.worker import metrics, output
from hposlurm.worker.matcher import Matcher
from hposlurm.worker.verdict import Ending, judge

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

_PATIENCE_S = 60.0
_REPORTS_SHOWN = 10

#: A step and its metrics.
Found = tuple[int, dict[str, float | str]]


@dataclass(frozen=True, slots=True)
class PatternFindings:
    """The reports that a metric pattern finds in a file."""

    lines: int
    #: the lines with a match
    matched: int
    reports: tuple[Found, ...]
    #: why a trial with this output would fail; "" if it would be complete
    problem: str
    #: what was left out, and why
    notes: tuple[str, ...]


def try_pattern(spec: StudySpec, path: Path) -> PatternFindings:
    """Returns what the study's pattern finds in the file.

    Raises RequestError if the study has no pattern or the file cannot be read.
    """
    if spec.trial.metric_pattern is None:
        raise RequestError("--log shows what trial.metric_pattern finds, and the study has none")
    try:
        with open_regular(path):
            pass
    except OSError as error:
        raise RequestError(f"--log {path} cannot be read: {error.strerror or error}") from error
    named = (*(objective.metric for objective in spec.objectives), *spec.metrics)
    matcher, ledger, pattern = Matcher(spec.trial.metric_pattern), metrics.Ledger(), metrics.Pattern({}, named)
    lines = output.GrowingFile(path, ends=b"\r\n").remaining()
    found = matcher.finish((map(output.plain, part) for part in lines), _PATIENCE_S)
    records = pattern.read((groups for line in found for groups in line), ledger)
    ending = Ending(0, lines=matcher.seen, uneven_step=pattern.uneven_step)
    _, cause = judge(ending, [objective.metric for objective in spec.objectives], ledger.last)
    uneven = f"matches with a step that is not whole, such as {pattern.uneven_step!r}, are left out"
    return PatternFindings(
        lines=matcher.seen,
        matched=len(found),
        reports=tuple((record["step"], record["metrics"]) for record in records),
        problem=sentence(cause),
        notes=tuple(note for note in (uneven if pattern.uneven_step else "", matcher.complaint) if note),
    )


def pattern_lines(path: Path, found: PatternFindings) -> Iterator[str]:
    """Yields the findings as lines for a terminal."""
    lines = "1 line" if found.lines == 1 else f"{found.lines} lines"
    yield f"{printable(str(path))}: trial.metric_pattern matches {found.matched or 'none'} of {lines}"
    for step, values in found.reports[:_REPORTS_SHOWN]:
        pairs = (f"{name}={shown(v) if isinstance(v, float) else repr(v)}" for name, v in values.items())
        yield f"  {printable(f'step {step}: ' + ' '.join(pairs))}"
    if (more := len(found.reports) - _REPORTS_SHOWN) > 0:
        yield f"  … and {more} more"
    for note in found.notes:
        yield printable(f"note: {note}")
    yield printable(f"a trial that printed this would FAIL: {found.problem}" if found.problem else _result(found))


def _result(found: PatternFindings) -> str:
    step, _ = found.reports[-1]
    return f"a trial that printed this would be COMPLETE with the values at step {step}"
