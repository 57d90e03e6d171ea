"""Finds in the last lines of a failed command why it failed: an exception, or the last words before a launcher's box.

torchrun, `deepspeed`, `accelerate launch` and srun end with pages of their own, which only say that a process failed.
So what counts is what came before, and of several ranks what the first one to fail wrote. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_LONGEST = 300
_NEAR = 10  # an error message may be followed by some lines of other ranks
# Before a line of a rank: torch's "[rank0]: " of an exception, torchrun's "[default0]:" of --tee
_PREFIX = re.compile(r"\[(?:rank|default)(\d+)\]: ?")
# "ValueError: …", "torch.OutOfMemoryError: …"
_EXCEPTION = re.compile(r"((?:\w+\.)*\w*(?:Error|Exception)(?:: .*)?)")
_ANY_EXCEPTION = re.compile(r"((?:\w+\.)*[A-Za-z_]\w*(?:: .*)?)")
_TRACEBACK = "Traceback (most recent call last):"
# Errors that only say that another process failed: torchrun's, and those of accelerate and scripts that start others
_NO_CAUSE = ("ChildFailedError", "CalledProcessError: Command ")
# The launchers' first words after a failure. torchrun logs in three formats, by its version
_TORCHRUN = re.compile(r".*\bfailed \(exitcode: (-?\d+)\) local_rank: (\d+) \(pid: \d+\) of binary.*")
_TORCHRUN_CLOSES = re.compile(r".*\bSending process \d+ closing signal.*")
_TORCHRUN_LOGS = re.compile(
    r"[EWI]\d{4} \d\d:\d\d:.*torch/.*|(?:\[.*\] )?torch\.distributed\..*|\w+:torch\.distributed\..*"
)
_DEEPSPEED = re.compile(r".*\[launch\.py:\d+:\w+\] .*(?:Killing subprocess|exits with return code = (-?\d+)).*")
_SUBPROCESS = re.compile(r"subprocess\.CalledProcessError: Command .* exit status (-?\d+)\.?")
_SRUN = re.compile(r"srun: error: .* Exited with exit code (\d+)")
# argparse: "train.py: error: unrecognized arguments: --lrr 3"; click: "Error: No such option: --lrr"
_ERROR = re.compile(r"(?:\S+: )?[Ee]rror: .+")
_USAGE = re.compile(r"\s*usage: .*", re.IGNORECASE)
_RICH_ERROR = re.compile(r"╭─ Error ─+╮")
_UNUSED = "ValueError: Some specified arguments are not used by the HfArgumentParser"


@dataclass(frozen=True, slots=True)
class LastWords:
    """The meaning of the last lines of a failed command."""

    #: The lines without those of a launcher after the failure.
    lines: Sequence[str]
    #: The exception that ended it, else its last words if a launcher hides them; "" if neither is there.
    reason: str
    #: True if the command line was refused: every attempt would end so.
    is_wrong_argument: bool = False


NOTHING_SAID = LastWords((), "")


@dataclass(frozen=True, slots=True)
class _Failure:
    """The place where a launcher's own words begin, and the first failure that they name."""

    begin: int
    exit_code: int | None = None
    rank: str | None = None


def last_words(lines: Sequence[str], exit_code: int) -> LastWords:
    """Returns what `lines` say of the end of a command with this exit status."""
    found = _failure(lines)
    own = lines if found is None else lines[: found.begin]
    spoken, texts = _spoken(own, None if found is None else found.rank)
    error = next((text for text in reversed(texts[-_NEAR:]) if _ERROR.fullmatch(text)), "")
    code = exit_code if found is None or found.exit_code is None else found.exit_code
    thrown = exception(lines)
    if code == 2 and any(map(_USAGE.fullmatch, texts)) and (refused := error or _in_rich_box(texts)):
        return LastWords(own, refused[:_LONGEST], is_wrong_argument=True)
    if found is None or (thrown and not (error and _comes_later(spoken, error, thrown))):
        return LastWords(own, thrown, is_wrong_argument=thrown.startswith(_UNUSED))
    return LastWords(own, (error or next(reversed(texts), ""))[:_LONGEST])


def exception(lines: Sequence[str]) -> str:
    """Returns the last line that ends a Python traceback ("ValueError: …"); "" if there is none."""
    plain = [_PREFIX.sub("", line) for line in lines]
    for text in reversed(plain):
        if (match := _EXCEPTION.fullmatch(text)) and not _is_no_cause(text):
            return match.group(1)[:_LONGEST]
    for begin in reversed([place for place, text in enumerate(plain) if text == _TRACEBACK]):
        end = next((text for text in plain[begin + 1 :] if not text.startswith(" ")), "")
        if _ANY_EXCEPTION.fullmatch(end) and not _is_no_cause(end):
            return end[:_LONGEST]
    return ""


def _is_no_cause(text: str) -> bool:
    return any(name in text for name in _NO_CAUSE)


def _failure(lines: Sequence[str]) -> _Failure | None:
    """Returns where the last launcher's words begin; None without a launcher."""
    failed = [(place, match) for place, line in enumerate(lines) if (match := _TORCHRUN.fullmatch(line))]
    if failed:
        last, match = failed[-1]
        after = failed[-2][0] if len(failed) > 1 else -1  # that of an earlier start, with --max-restarts
        closes = (place for place in range(after + 1, last) if _TORCHRUN_CLOSES.fullmatch(lines[place]))
        return _Failure(next(closes, last), int(match[1]), match[2])
    for place, line in enumerate(lines):
        if (found := _DEEPSPEED.fullmatch(line) or _SRUN.fullmatch(line)) is not None:
            return _Failure(place, int(found[1]) if found[1] else None)
        if (found := _SUBPROCESS.fullmatch(line)) is not None:
            begins = (begin for begin in range(place, -1, -1) if lines[begin] == _TRACEBACK)
            return _Failure(next(begins, place), int(found[1]))
    return None


def _spoken(lines: Sequence[str], rank: str | None) -> tuple[list[str], list[str]]:
    """Returns the lines that may be of the rank with this local number, and the same without prefix."""
    known = [line for line in lines if rank is not None and (match := _PREFIX.match(line)) and match[1] == rank]
    others = [line for line in lines if not _PREFIX.match(line)]
    spoken = [line for line in known or others if re.search(r"\w", line) and not _TORCHRUN_LOGS.fullmatch(line)]
    return spoken, [_PREFIX.sub("", line).strip() for line in spoken]


def _comes_later(lines: Iterable[str], one: str, other: str) -> bool:
    """True if the last line with `one` comes after the last line with `other`."""
    places = {name: place for place, line in enumerate(lines) for name in (one, other) if name in line}
    return places.get(one, -1) > places.get(other, -1)


def _in_rich_box(texts: Sequence[str]) -> str:
    """Returns the message in the box that typer draws around an error; "" without one."""
    after = next((place + 1 for place, text in enumerate(texts) if _RICH_ERROR.fullmatch(text)), len(texts))
    return next((text.strip("│ ") for text in texts[after:]), "")
