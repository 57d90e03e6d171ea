"""One line of the doctor's report, and the deadline of each check. Standard library only."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")

#: The finding of a check that needs a probe.
NOT_TRIED = "not tested (--probe)"
#: The finding if scontrol did not answer, which the finding `controller` reports.
SEE_CONTROLLER = "not known: see controller"


class FindingLevel(StrEnum):
    """OK; WARN: works, with a drawback; FAIL: hposlurm cannot work; UNKNOWN: not tested, or no answer."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `advice` is what to set, or to ask the administrator for ("" if nothing)."""

    name: str
    verdict: FindingLevel
    found: str
    advice: str = ""

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "verdict": self.verdict.value, "found": self.found, "advice": self.advice}


def ok(name: str, found: str) -> Finding:
    return Finding(name, FindingLevel.OK, found)


def warn(name: str, found: str, advice: str) -> Finding:
    return Finding(name, FindingLevel.WARN, found, advice)


def fail(name: str, found: str, advice: str) -> Finding:
    return Finding(name, FindingLevel.FAIL, found, advice)


def unknown(name: str, found: str, advice: str = "") -> Finding:
    return Finding(name, FindingLevel.UNKNOWN, found, advice)


class NoAnswerError(Exception):
    """A call did not return before its deadline."""


def within(seconds: float, question: Callable[[], T]) -> T:
    """Returns the result of `question`, or raises NoAnswerError after `seconds`.

    For calls that cannot be interrupted, such as a system call on a file system whose server does not answer. The
    call then continues in a daemon thread, which ends with the process.
    """
    answers: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(question())
        except BaseException as error:  # raised again below, in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise NoAnswerError(f"no answer in {seconds:g} s")
    return answers[0]
