"""One tree of exceptions. Only `hposlurm.cli` catches them; each carries the exit status that it means.

HposlurmError
├── RequestError            the request was wrong (exit status 2)
│   └── SpecError           a study file has problems, all listed at once
├── BackendError            the cluster or the local machine did not do what it was asked (exit status 1)
│   └── NotNowError         … and may do it later: it gave no answer, say
│       └── LimitError      … or a limit on jobs is reached: fewer may fit now
└── StudyError              what lies in a study directory cannot be used (exit status 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class HposlurmError(Exception):
    """Base of everything that hposlurm raises on purpose; `exit_status` is what the shell gets."""

    exit_status = 1


class RequestError(HposlurmError):
    """What was asked for cannot be done as asked; nothing was written."""

    exit_status = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a study file.

    `path` is where ("parameters.lr.min"), `message` says what was given and what is allowed, `hint` names the nearest
    valid name or the place to look.
    """

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        return f"{text} ({self.hint})" if self.hint else text


class SpecError(RequestError):
    """A study file has problems; `problems` holds every one of them."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {p}" for p in self.problems)]))


class BackendError(HposlurmError):
    """Slurm or the local machine refused or failed; the message quotes its answer."""


class NotNowError(BackendError):
    """The cluster did not do it now and may do it later, unchanged: it gave no answer in time, or is full."""


class LimitError(NotNowError):
    """A limit on the number of jobs or array elements is reached; a smaller submission may be accepted."""


class StudyError(HposlurmError):
    """A study directory is damaged or in a state in which the verb makes no sense."""
