"""Reads metrics from the command: lines of its metrics file, and named groups of a pattern on its output."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hposlurm.records.journal import metric_value, parse_line
from hposlurm.records.scores import ScoreFormula, with_scores
from hposlurm.space.names import group_metrics
from hposlurm.trial import Params

_LONGEST_NAME, _LONGEST_STEP = 200, 40
_LONGEST_PATH = 4096  # PATH_MAX
_LONG_S = 30.0  # a shorter command may print all of its steps between two looks
_NO_STEP = 2**63  # databases keep 64 bits of an integer


@dataclass(slots=True)
class Ledger:
    """The reports of the command so far, folded as they arrive."""

    # metric → (step, value); begins with what earlier attempts reported up to the checkpoint
    last: dict[str, tuple[int, float | str]] = field(default_factory=dict)
    has_reported: bool = False  # this command did
    peak_gpu_gb: float | None = None
    peak_host_gb: float | None = None
    is_listening: bool = False  # the training code polls for a request
    is_stopping: bool = False  # it saw the request and reported so
    unreadable: int = 0
    scores: Sequence[ScoreFormula] = ()  # metrics to compute from those that are reported
    params: Params = field(default_factory=dict)  # of the trial: a score may use them

    def take(self, record: dict[str, Any]) -> None:
        """Folds one record of kind report, and adds the scores that it allows."""
        self.has_reported = True
        if self.scores:
            known = {**self.params, **{name: value for name, (_, value) in self.last.items()}}
            record["metrics"] = with_scores(record["metrics"], known, self.scores)
        for name, value in record["metrics"].items():
            self.last[name] = (record["step"], value)
            if name == "peak_gpu_gb" and isinstance(value, float):
                self.peak_gpu_gb = max(value, self.peak_gpu_gb or value)
            if name == "peak_host_gb" and isinstance(value, float):
                self.peak_host_gb = max(value, self.peak_host_gb or value)


def from_file(lines: Iterable[bytes], ledger: Ledger) -> list[dict[str, Any]]:
    """Returns journal records (report, checkpoint; without time) of the file's lines; folds them into `ledger`."""
    records = []
    for line in lines:
        data = parse_line(line)
        record = None if data is None else _record(data, ledger)
        if record is not None:
            records.append(record)
        elif data is None or not _is_sign(data):
            ledger.unreadable += 1
    return records


def from_sources(reports: Iterable[Mapping[str, Any]], ledger: Ledger, to_step: int | None) -> list[dict[str, Any]]:
    """Returns journal records of what files of the training library say; folds them into `ledger`.

    A report without a step is one of the last reported step, or of `to_step`, where the assignment ends.
    """
    records = []
    for report in reports:
        last = max((step for step, _ in ledger.last.values()), default=to_step if to_step is not None else 1)
        step = _step(last if report["step"] is None else report["step"])
        values = {name: _value(value) for given, value in report["metrics"].items() if (name := _name(given))}
        if step is not None and values:
            records.append({"kind": "report", "step": step, "metrics": values})
            ledger.take(records[-1])
    return records


def _is_sign(data: Mapping[str, Any]) -> bool:
    return data.get("stopping") is True or data.get("listening") is True


def _record(data: Mapping[str, Any], ledger: Ledger) -> dict[str, Any] | None:
    if _is_sign(data):
        ledger.is_listening = True
        ledger.is_stopping |= data.get("stopping") is True
        return None
    step, metrics, checkpoint = _step(data.get("step")), data.get("metrics"), data.get("checkpoint")
    if step is None:
        return None
    if isinstance(checkpoint, str) and len(checkpoint) <= _LONGEST_PATH:
        return {"kind": "checkpoint", "step": step, "path": checkpoint}
    if not isinstance(metrics, dict):
        return None
    values = {name: _value(value) for given, value in metrics.items() if (name := _name(given))}
    if metrics and not values:
        return None
    record = {"kind": "report", "step": step, "metrics": values}
    ledger.take(record)
    return record


def _step(value: object) -> int | None:
    """Returns `value` as a step, None if it is not one. Many languages write every number as a float."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= _NO_STEP:
        return None
    return value


def _name(given: str) -> str:
    """Returns a metric's name as a column head: one printable line of bounded length; "" for a blank."""
    name = given if given.isprintable() else "".join(c if c.isprintable() else " " for c in given).strip()
    return name[:_LONGEST_NAME] if name.strip() else ""


def _value(value: object) -> float | str:
    """Returns a value as the client would have written it; other languages may write anything."""
    return metric_value(json.dumps(value) if isinstance(value, dict | list) else value)


def buffering_note(early: int, late: int, ran_s: float) -> str:
    """Returns a remark on output that came only at the end of a command, after `ran_s` seconds; "" if it did not.

    `early` and `late` are the matches while it ran and after its end. The C library writes blocks of 4 KiB into what is
    not a terminal.
    """
    if early or late < 2 or ran_s < _LONG_S:
        return ""
    return (
        f"all {late} matches of trial.metric_pattern came when the command had ended, so that no rule could stop it: "
        "it buffers its output; start it with `stdbuf -oL`, or flush after each line"
    )


class Pattern:
    """Makes reports of the matches of trial.metric_pattern: the named groups of each are its metrics.

    The group `step` is the step. Without it each metric counts its own reports, 1, 2, … A match whose step is not a
    whole number is left out: epochs 0.5 and 1.0 would both be step 1 if they were counted.
    """

    def __init__(self, counts: Mapping[str, int], metrics: Iterable[str] = ()) -> None:
        """`counts` is how many reports of each metric earlier attempts made.

        A group reports the one of `metrics` that it stands for: val__loss reports val/loss.
        """
        self._metrics = tuple(metrics)
        self._counts: Counter[str] = Counter(counts)
        #: Says which step was the first that is not a whole number; "" while there is none.
        self.uneven_step = ""

    def read(self, matches: Iterable[Mapping[str, str]], ledger: Ledger) -> list[dict[str, Any]]:
        """Returns journal records of kind report; folds them into `ledger`."""
        records = [record for groups in matches if (record := self._record(groups))]
        for record in records:
            ledger.take(record)
        return records

    def _record(self, groups: Mapping[str, str]) -> dict[str, Any] | None:
        metrics = group_metrics(groups, self._metrics)
        found = {metrics[name]: metric_value(text) for name, text in groups.items() if name != "step"}
        if not found:
            return None
        self._counts.update(found.keys())
        if "step" not in groups:
            return {"kind": "report", "step": max(self._counts[name] for name in found), "metrics": found}
        step = _step(metric_value(groups["step"]))
        if step is None:
            self.uneven_step = self.uneven_step or groups["step"][:_LONGEST_STEP] or " "
            return None
        return {"kind": "report", "step": step, "metrics": found}
