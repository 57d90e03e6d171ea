"""The tree of exceptions. Only `hposlurm.cli` catches them; each class has its exit status.

HposlurmError
├── RequestError            the request was wrong (exit status 2)
│   └── SpecError           a study file has problems, all listed at once
├── BackendError            the cluster or the local machine refused or failed (exit status 1)
│   └── NotNowError         … now, and may succeed later: for example it did not answer
│       └── LimitError      … because a limit on jobs is reached: fewer jobs may fit now
└── StudyError              the content of a study directory cannot be used (exit status 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: The number of problems that are listed: people mend the first ones first, and a hint for each takes time.
MOST_PROBLEMS = 100


class HposlurmError(Exception):
    """The base of all errors that hposlurm raises on purpose; `exit_status` is for the shell."""

    exit_status = 1


class RequestError(HposlurmError):
    """The request cannot be carried out as it is; nothing was written."""

    exit_status = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem in a study file."""

    #: The key: "parameters.lr.min".
    path: str
    #: The given value, and the allowed ones.
    message: str
    #: The nearest valid name, or the place to look.
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        return f"{text} ({self.hint})" if self.hint else text


class SpecError(RequestError):
    """A study file has problems; `problems` has all of them, or the first MOST_PROBLEMS."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems[:MOST_PROBLEMS])
        count = "1 problem" if len(problems) == 1 else f"{len(self.problems)} problems"
        has_more = len(problems) > MOST_PROBLEMS
        lines = [f"{source}: {f'more than {count}' if has_more else count}", *(f"  {p}" for p in self.problems)]
        super().__init__("\n".join([*lines, *(["  …"] if has_more else [])]))


class BackendError(HposlurmError):
    """Slurm or the local machine refused or failed. The message quotes its answer."""


class NotNowError(BackendError):
    """The cluster refused now, and may accept the same request later: it did not answer in time, or is full."""


class LimitError(NotNowError):
    """A limit on the number of jobs or array elements is reached. A smaller submission may be accepted."""


class StudyError(HposlurmError):
    """A study directory is damaged, or its state does not allow the command."""
