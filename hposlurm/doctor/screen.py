"""Renders the report for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hposlurm.doctor.examination import DoctorReport
from hposlurm.doctor.finding import Finding, FindingLevel

_STYLES = {
    FindingLevel.OK: "green",
    FindingLevel.WARN: "yellow",
    FindingLevel.FAIL: "bold red",
    FindingLevel.UNKNOWN: "dim",
}
_WORDS = {FindingLevel.UNKNOWN: "?"}


def screen(report: DoctorReport) -> RenderableType:
    """Returns a line per finding, its advice below it, and the summary."""
    grid = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    alike = _alike(report.findings)
    for finding in report.findings:
        if finding.found not in alike:
            word = Text(_WORDS.get(finding.verdict, finding.verdict.value), style=_STYLES[finding.verdict])
            grid.add_row(word, Text(_spoken(finding)), _words(finding))
    for found, names in alike.items():
        grid.add_row(Text("?", style="dim"), Text("the rest"), Text(f"{found}: {', '.join(names)}", style="dim"))
    return Group(grid, Text(), _sum(report))


def _alike(findings: Sequence[Finding]) -> dict[str, list[str]]:
    """Returns the names of findings that are unknown for the same reason, by reason; they share one line."""
    reasons: dict[str, list[str]] = {}
    for finding in findings:
        if finding.verdict is FindingLevel.UNKNOWN and not finding.advice:
            reasons.setdefault(finding.found, []).append(_spoken(finding))
    return {reason: names for reason, names in reasons.items() if len(names) > 1}


def _spoken(finding: Finding) -> str:
    return finding.name.replace("_", " ")


def _words(finding: Finding) -> Text:
    text = Text("".join(c if c.isprintable() or c == "\n" else "?" for c in finding.found))
    if finding.advice:
        text.append(f"\n→ {finding.advice}", style="bold" if finding.verdict is FindingLevel.FAIL else "cyan")
    return text


def _sum(report: DoctorReport) -> Text:
    counts = [f"{n} {verdict}" for verdict, n in report.counts.items() if n]
    return Text(f"{len(report.findings)} checks in {report.seconds:.1f} s: {', '.join(counts)}")
