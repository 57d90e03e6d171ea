"""Queries Slurm: one batched call per question, and pure parsers of the answers.

The formats have explicit separators and are not JSON: the JSON schemas change between Slurm's releases.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from hposlurm.backend.base import ElementState, NodeJob, Usage
from hposlurm.errors import BackendError, LimitError, NotNowError
from hposlurm.trial import JobState
from hposlurm.worker.environment_leaks import without_leaks

# Slurm's states (squeue(1), sacct(1), section JOB STATE CODES) → ours. A state that is not here is UNKNOWN.
SLURM_STATES: dict[str, JobState] = {
    "PENDING": JobState.PENDING,
    "CONFIGURING": JobState.PENDING,
    "REQUEUED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING,
    "RESV_DEL_HOLD": JobState.PENDING,
    "SPECIAL_EXIT": JobState.PENDING,
    "RUNNING": JobState.RUNNING,
    "COMPLETING": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "STAGE_OUT": JobState.RUNNING,
    "STOPPED": JobState.RUNNING,
    "SUSPENDED": JobState.RUNNING,
    "COMPLETED": JobState.COMPLETED,
    "FAILED": JobState.FAILED,
    "DEADLINE": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
    "REVOKED": JobState.CANCELLED,
    "TIMEOUT": JobState.TIMEOUT,
    "OUT_OF_MEMORY": JobState.OUT_OF_MEMORY,
    "NODE_FAIL": JobState.NODE_FAIL,
    "BOOT_FAIL": JobState.NODE_FAIL,
    "PREEMPTED": JobState.PREEMPTED,
}
_ASK_TIMEOUT_S = 60
_MOST_NODES = 100_000  # of one range; more is damage


@contextlib.contextmanager
def scrubbed_environment() -> Iterator[None]:
    """Removes from os.environ, while the body runs, the variables that would leak into a submitted job."""
    before = dict(os.environ)
    _replace_environment(without_leaks(before))
    try:
        yield
    finally:
        _replace_environment(before)


def _replace_environment(values: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(values)


def ask(*command: str, timeout_s: float = _ASK_TIMEOUT_S) -> str:
    """Returns the output of a Slurm command, whose options come from `command` only, not from the environment.

    Raises BackendError with the command's own message if it fails or does not exist, and NotNowError, one of its
    subclasses, after `timeout_s`.
    """
    # with Slurm's default of SLURM_BITSTR_LEN lists of indices are silently cut at 64 characters
    environment = {**without_leaks(os.environ), "SLURM_BITSTR_LEN": "0"}
    try:
        # names of jobs and nodes, and site banners, may be in any encoding
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=timeout_s, env=environment
        )
    except FileNotFoundError:
        raise BackendError(
            f"{command[0]} is not on the PATH: is Slurm installed here, or a module to be loaded?"
        ) from None
    except subprocess.TimeoutExpired:
        raise NotNowError(f"{command[0]} gave no answer in {timeout_s:g} s") from None
    except OSError as error:  # not executable, a directory of PATH that cannot be read, no memory to fork
        raise BackendError(f"{command[0]} cannot be started: {error.strerror or error}") from None
    if done.returncode:
        raise refusal(f"{command[0]} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def submitted_id(answer: str) -> str:
    """Returns the job id in the answer of `sbatch --parsable`; "" if there is none.

    That is the last line of only digits, which may have ";CLUSTER" after it: sites' wrappers print banners before it.
    """
    found = re.findall(r"^\s*(\d+)(?:;\S+)?\s*$", answer, re.MULTILINE)
    return found[-1] if found else ""


# Slurm's messages (slurm_errno.h, and logs of several sites) for a limit on jobs, and for a missing answer
_LIMIT_WORDS = re.compile(
    r"accounting/QOS policy|MaxSubmitJob|MaxJobCount|SubmitJobLimit|Reached \S+ .*limit|job array specification"
    r"|Resource temporarily unavailable|unable to accept job",
    re.IGNORECASE,
)
_NO_ANSWER_WORDS = re.compile(
    r"timed out|unable to contact|connection (refused|reset|failure)|communication (connection )?failure"
    r"|zero bytes|transport endpoint|in standby mode",
    re.IGNORECASE,
)


def refusal(message: str) -> BackendError:
    """Returns the error that a Slurm command's message means: LimitError, NotNowError or a plain BackendError."""
    if _LIMIT_WORDS.search(message):
        return LimitError(message)
    return NotNowError(message) if _NO_ANSWER_WORDS.search(message) else BackendError(message)


def is_array_too_long(error: BackendError) -> bool:
    """True if the limit applies to each array separately, so that another array may follow."""
    return "job array specification" in str(error)


def has_already_ended(error: BackendError) -> bool:
    """True where a job cannot be changed any more because it has ended (ESLURM_ALREADY_DONE)."""
    return "already finished" in str(error)


def is_forgotten(error: BackendError) -> bool:
    """True where the controller does not know the job: it forgets ended ones after MinJobAge."""
    return "Invalid job id" in str(error)


def job_state(slurm_word: str) -> JobState:
    """Returns the state for Slurm's own word ("CANCELLED by 1000", "COMPLETED+")."""
    words = slurm_word.split()
    return SLURM_STATES.get(words[0].rstrip("+"), JobState.UNKNOWN) if words else JobState.UNKNOWN


def _listed_state(slurm_word: str) -> JobState:
    """Returns the state of a job that Slurm lists: a word that only a later Slurm has is not an end."""
    state = job_state(slurm_word)
    return JobState.RUNNING if state is JobState.UNKNOWN else state


def parse_squeue(text: str) -> dict[str, ElementState]:
    """Parses the output of `squeue -h -r -o %i|%T|%r` into the state by job id."""
    found = rows(text, 3)
    return {job_id: ElementState(_listed_state(state), reason) for job_id, state, reason in found}


def parse_node_jobs(text: str) -> list[NodeJob]:
    """Parses the output of `squeue -h -t R -o %i|%u|%P|%S|%N`, whose times are in this process's time zone."""
    found = []
    for job_id, user, partition, started, nodes in rows(text, 5):
        with contextlib.suppress(ValueError):
            started_at = datetime.datetime.fromisoformat(started).timestamp()
            found.append(NodeJob(job_id, user, partition, started_at, tuple(host_names(nodes))))
    return found


def host_names(text: str) -> Iterator[str]:
    """Yields the names in Slurm's "n[1-3,07],login": n1, n2, n3, n07, login."""
    for name, ranges in re.findall(r"([^,\[]+)(?:\[([^\]]*)\])?", text):
        if not ranges:
            yield name
        for part in filter(None, ranges.split(",")):
            first, _, last = part.partition("-")
            if first.isdecimal() and (last or first).isdecimal() and int(last or first) - int(first) < _MOST_NODES:
                yield from (f"{name}{i:0{len(first)}d}" for i in range(int(first), int(last or first) + 1))


def rows(text: str, fields: int) -> list[list[str]]:
    """Returns the rows of an answer of squeue, whose first field is a job id; text of a site's wrapper is left out.

    Raises NotNowError if there is text and no row at all: that differs from an empty queue.
    """
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    found = [row for line in lines if len(row := line.split("|", fields - 1)) == fields and row[0][:1].isdecimal()]
    if lines and not found:
        raise NotNowError(f"squeue's answer cannot be read: {lines[0]!r:.100}")
    return found


#: The arguments of sacct whose output `parse_sacct` and `last_states` parse. Without -D it shows only the last run of a
#: requeued job, and earlier GPU hours are lost.
SACCT_FORM = ("-n", "-P", "-X", "-D", "-o", "JobID,State,ElapsedRaw,AllocTRES,NodeList")


def parse_sacct(text: str) -> dict[str, list[Usage]]:
    """Parses the output of `sacct` with SACCT_FORM into every run of each element, in order of time.

    Skips jobs that still wait or run: their elapsed time is not final.
    """
    found: dict[str, list[Usage]] = {}
    for job_ids, state, elapsed, tres, node in _sacct_rows(text):
        # a run that ended because the job was requeued has the state REQUEUED, and is over
        ended = job_state(state).is_terminal or state.startswith("REQUEUED")
        if ended and elapsed.isdigit():
            known = JobState.PREEMPTED if state.startswith("REQUEUED") else job_state(state)
            for job_id in expand(job_ids):
                found.setdefault(job_id, []).append(Usage(known, float(elapsed), gpus_in_tres(tres), node))
    return found


def last_states(text: str) -> dict[str, ElementState]:
    """Parses the output of `sacct` with SACCT_FORM into the state of each element's last run, ended or not."""
    found: dict[str, ElementState] = {}
    for job_ids, state, *_ in _sacct_rows(text):
        known = JobState.PREEMPTED if state.startswith("REQUEUED") else _listed_state(state)
        found |= dict.fromkeys(expand(job_ids), ElementState(known))
    return found


def _sacct_rows(text: str) -> Iterator[list[str]]:
    return (fields for line in text.splitlines() if len(fields := line.split("|")) == 5)


def expand(job_ids: str) -> list[str]:
    """Expands "812_[0-2,7%4]" to 812_0, 812_1, 812_2, 812_7: elements that never ran share one row."""
    array, bracket, indices = job_ids.partition("_[")
    if not bracket:
        return [job_ids]
    found: list[str] = []
    for part in indices.partition("%")[0].rstrip("]").split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            found += [f"{array}_{i}" for i in range(int(first), int(last or first) + 1)]
    return found


_JOB_ID = re.compile(r"[0-9]+(_[0-9]+)?")


def job_ids(words: Sequence[str]) -> list[str]:
    """Returns those of `words` that are ids of jobs, arrays or elements. Others could be options of a command."""
    return [word for word in words if _JOB_ID.fullmatch(word)]


def as_ranges(job_ids: Sequence[str]) -> list[str]:
    """Joins 812_0, 812_1, 812_2, 812_7, 813 to 812_[0-2], 812_7, 813.

    scancel sends the controller one message per argument.
    """
    ranges: list[tuple[str, int, int]] = []
    for job_id in job_ids:
        array, _, index = job_id.partition("_")
        if not index.isdigit():  # a plain job, or a range already
            array, number = job_id, -1
        else:
            number = int(index)
        before = ranges[-1] if ranges else None
        if before and number > 0 and (before[0], before[2]) == (array, number - 1):
            ranges[-1] = (array, before[1], number)
        else:
            ranges.append((array, number, number))
    return [_range(*found) for found in ranges]


def _range(array: str, first: int, last: int) -> str:
    if first < 0:
        return array
    return f"{array}_{first}" if first == last else f"{array}_[{first}-{last}]"


def gpus_in_tres(tres: str) -> int:
    """Returns the number of GPUs in "cpu=4,gres/gpu:v100=2,gres/gpu=2,mem=8G".

    That is the untyped count, or else the sum of the typed counts.
    """
    counts = dict(part.split("=", 1) for part in tres.split(",") if "=" in part)
    if counts.get("gres/gpu", "").isdigit():
        return int(counts["gres/gpu"])
    return sum(int(n) for name, n in counts.items() if name.startswith("gres/gpu:") and n.isdigit())


def chunks(count: int, limit: int) -> list[tuple[int, int]]:
    """Returns (offset, count) of arrays of nearly equal size, none with more than `limit` elements."""
    number = -(-count // limit)
    bounds = [round(i * count / number) for i in range(number + 1)]
    return [(a, b - a) for a, b in itertools.pairwise(bounds)]


def shares(total: int | None, parts: int) -> Sequence[int | None]:
    """Divides `total` (Slurm's `%K`) among the arrays: at least 1 each, together `total` if possible."""
    if total is None:
        return [None] * parts
    return [max(1, (total * (i + 1)) // parts - (total * i) // parts) for i in range(parts)]
