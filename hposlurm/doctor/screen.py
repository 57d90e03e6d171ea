"""The report as a person reads it on a terminal of 80 columns."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hposlurm.doctor.examination import Report
from hposlurm.doctor.finding import Finding, Verdict

_STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red", Verdict.UNKNOWN: "dim"}
_WORDS = {Verdict.UNKNOWN: "?"}


def screen(report: Report) -> RenderableType:
    """A line per finding, its advice beneath it, and the sum."""
    grid = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in report.findings:
        grid.add_row(
            Text(_WORDS.get(finding.verdict, finding.verdict.value), style=_STYLES[finding.verdict]),
            Text(finding.name.replace("_", " ")),
            _words(finding),
        )
    return Group(grid, Text(), _sum(report))


def _words(finding: Finding) -> Text:
    text = Text("".join(c if c.isprintable() or c == "\n" else "?" for c in finding.found))
    if finding.advice:
        text.append(f"\n→ {finding.advice}", style="bold" if finding.verdict is Verdict.FAIL else "cyan")
    return text


def _sum(report: Report) -> Text:
    counts = [f"{n} {verdict}" for verdict, n in report.counts.items() if n]
    text = Text(f"{len(report.findings)} checks in {report.seconds:.1f} s: {', '.join(counts)}")
    if not report.request.probe:
        text.append("; --probe tries out more")
    return text
