"""One line of the doctor's report, and the deadline that no check may outlive. Standard library only."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")

#: What is found where only a probe finds anything out.
NOT_TRIED = "not tried (--probe)"
#: What is found where scontrol gave no answer, which another line says.
SEE_CONTROLLER = "not known: see controller"


class FindingLevel(StrEnum):
    """OK; WARN: works, but something is lost; FAIL: hposlurm needs it; UNKNOWN: not tried, or no answer."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `advice` says what to set or to ask the administrator for, and is empty if nothing is."""

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
    """What was asked gave no answer before its deadline."""


def within(seconds: float, question: Callable[[], T]) -> T:
    """The answer to `question`; NoAnswerError after `seconds`, while a thread that ends with the process goes on.

    For what cannot be interrupted: a system call on a file system whose server is gone.
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
