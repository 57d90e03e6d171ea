"""The audit: what must always hold, checked from outside — journals, plans and `sacct -D`, not what hposlurm says."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.study import EVALUATION_EVERY, LONG_STEPS, LONG_TRIAL, NAME, Study
from tests.chaos.trial import checksum

# An attempt's own clock against the allocation's whole seconds
_OVERLAP_S = 1.0


@dataclass
class Verdict:
    """Counts for the closing line, and every violation in words."""

    trials: int = 0
    lost: int = 0
    double: int = 0
    resumed: int = 0
    ledger_gpu_hours: float = 0.0
    sacct_gpu_hours: float = 0.0
    violations: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return self.ledger_gpu_hours / self.sacct_gpu_hours if self.sacct_gpu_hours else 0.0


def audit(study: Study, cancelled: set[str]) -> Verdict:
    """Holds the finished study against its invariants. `cancelled` are elements that a person took out."""
    verdict = Verdict()
    plans = _plans(study.root)
    journals = {path: _lines(path) for path in sorted(study.root.glob("trials/*/attempt-*.jsonl"))}
    rows = json.loads(study.hposlurm("collect", NAME, "--format", "json").stdout)
    planned = {a["trial"]: a for plan in plans for a in plan["assignments"]}
    verdict.trials = len(planned)
    verdict.resumed = sum(bool(lines and lines[0].get("resumed_from")) for lines in journals.values())
    _check_ends(verdict, rows, planned, cancelled)
    _check_journals(verdict, study.root, planned, journals)
    _check_waves(verdict, study, plans)
    _check_gpu_hours(verdict, study, rows)
    return verdict


def _plans(root: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted(root.glob("waves/*/wave.json"))]


def _lines(path: Path) -> list[dict[str, Any]]:
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            found.append(json.loads(line)) if line else None
        except ValueError:
            continue  # a torn line: its writer was killed in the middle
    return found


def _check_ends(verdict: Verdict, rows: list[dict[str, Any]], planned: dict[int, Any], cancelled: set[str]) -> None:
    """Every trial that was planned is in the table once, and over; only a cancelled one may have failed."""
    numbers = Counter(row["trial"] for row in rows)
    failed = [row for row in rows if row["state"] != "COMPLETE"]
    for number in planned:
        if numbers[number] != 1:
            verdict.lost += numbers[number] == 0
            verdict.double += numbers[number] > 1
            verdict.violations.append(f"trial {number} is {numbers[number]} times in the table")
    for row in failed:
        if row["state"] == "FAIL" and "cancelled" in (row["reason"] or ""):
            continue
        verdict.lost += 1
        verdict.violations.append(f"trial {row['trial']} ended {row['state']}: {row['reason']}")
    if len(failed) > len(cancelled):
        verdict.violations.append(f"{len(failed)} trials did not complete, {len(cancelled)} were cancelled")
    for row in rows:
        steps = LONG_STEPS if row["trial"] == LONG_TRIAL else row["steps"]
        if row["trial"] % EVALUATION_EVERY == 1:  # its last report may be lost with the worker, and is not repeated
            steps = max(steps - 1, row["step"])
        if row["state"] == "COMPLETE" and row["checksum"] != checksum(steps):
            verdict.violations.append(f"trial {row['trial']} lost or repeated a step: checksum {row['checksum']}")


def _check_journals(verdict: Verdict, root: Path, planned: dict[int, Any], journals: dict[Path, list[Any]]) -> None:
    """One complete attempt per trial, none after it, no two at the same time; parameters as planned."""
    attempts: dict[int, list[list[dict[str, Any]]]] = defaultdict(list)
    for path, lines in journals.items():
        if lines and lines[0]["kind"] == "start":
            attempts[int(path.parent.name)].append(lines)
    for number, mine in attempts.items():
        record = json.loads((root / "trials" / f"{number:05d}" / "trial.json").read_bytes())
        wanted = planned[number]
        if any(record[key] != wanted[key] for key in ("params", "seed", "signature")):
            verdict.violations.append(f"trial {number} changed: {record} was planned as {wanted}")
        complete = [lines for lines in mine if lines[-1].get("outcome") == "complete"]
        if len(complete) > 1:
            verdict.double += 1
            verdict.violations.append(f"trial {number} completed {len(complete)} times")
        spans = sorted((lines[0]["t"], lines[-1]["t"]) for lines in mine)
        for (_, end), (start, _) in itertools.pairwise(spans):
            if start < end - _OVERLAP_S:
                verdict.double += 1
                verdict.violations.append(f"trial {number} ran twice at the same time")
        if complete and spans[-1][0] > complete[0][-1]["t"]:
            verdict.double += 1
            verdict.violations.append(f"trial {number} ran again after it was complete")


def _check_waves(verdict: Verdict, study: Study, plans: list[dict[str, Any]]) -> None:
    """No element of a wave ran in two arrays: what ran is what jobs.json names."""
    text = study.run("sacct", "-n", "-P", "-X", "-S", "now-1days", "-o", "JobID,JobName,ElapsedRaw").stdout
    ran: dict[int, set[str]] = defaultdict(set)
    for line in text.splitlines():
        job_id, name, elapsed = line.split("|")
        if name.startswith(f"{NAME}-w") and elapsed.isdigit() and int(elapsed) > 0:
            ran[int(name.removeprefix(f"{NAME}-w")[:4])].add(job_id.partition("_")[0])
    for plan in plans:
        jobs = study.root / "waves" / f"{plan['wave']:04d}"
        known = {a["job_id"] for path in jobs.glob("jobs*.json") for a in json.loads(path.read_bytes())["arrays"]}
        for foreign in ran[plan["wave"]] - known:
            verdict.double += 1
            verdict.violations.append(f"array {foreign} ran for wave {plan['wave']} besides {sorted(known)}")


def _check_gpu_hours(verdict: Verdict, study: Study, rows: list[dict[str, Any]]) -> None:
    """What the table says was used is what was allocated, element by element, within a second per run.

    Everything that ran for the study counts, with or without an attempt that wrote a journal.
    """
    allocated, runs = _allocated(study)
    said = _said(study.root)
    verdict.sacct_gpu_hours = sum(allocated.values()) / 3600
    verdict.ledger_gpu_hours = sum(row["gpu_hours"] or 0.0 for row in rows)
    for job_id in sorted(allocated.keys() | said):
        if abs(allocated[job_id] - said[job_id]) > runs[job_id] + _OVERLAP_S:
            verdict.violations.append(
                f"element {job_id} used {allocated[job_id]:g} GPU seconds in {runs[job_id]} runs, "
                f"and its attempts have {said[job_id]:g}"
            )
    difference = abs(verdict.ledger_gpu_hours - verdict.sacct_gpu_hours)
    if difference > max(0.02 * verdict.sacct_gpu_hours, runs.total() / 3600):
        verdict.violations.append(
            f"GPU hours: {verdict.ledger_gpu_hours:.3f} said, {verdict.sacct_gpu_hours:.3f} allocated"
        )


def _allocated(study: Study) -> tuple[Counter[str], Counter[str]]:
    """GPU seconds, and the number of runs with a GPU, of each element of the study's arrays, by `sacct -D`."""
    arrays = {a["job_id"] for p in study.root.glob("waves/*/jobs*.json") for a in json.loads(p.read_bytes())["arrays"]}
    text = study.run(
        "sacct", "-n", "-P", "-X", "-D", "-j", ",".join(sorted(arrays)), "-o", "JobID,ElapsedRaw,AllocTRES"
    ).stdout
    seconds: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    for job_id, elapsed, tres in (line.split("|") for line in text.splitlines()):
        if elapsed.isdigit() and "gres/gpu" in tres:
            seconds[job_id] += int(elapsed)  # one GPU each
            runs[job_id] += 1
    return seconds, runs


def _said(root: Path) -> Counter[str]:
    """GPU seconds of each element's attempts, as the study's database has them."""
    seconds: Counter[str] = Counter()
    with contextlib.closing(sqlite3.connect(root / "study.db")) as database:
        for job_id, hours in database.execute("SELECT job_id, gpu_hours FROM attempts"):
            seconds[job_id] += round(3600 * hours)
    return seconds
