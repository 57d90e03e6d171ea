"""The Slurm backend: submits job arrays from our templates through submitit, and asks each question in one batch."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from hposlurm.backend import capacity, cluster_facts, queries, scripts
from hposlurm.backend.base import ElementState, Group, NodeJob, Script, Usage, WaveRequest
from hposlurm.backend.identity import OwnJob, slurm_job
from hposlurm.backend.reasons import NEVER_SATISFIED
from hposlurm.backend.scripts import Part, job_name, planner_comment, planner_name, planner_script
from hposlurm.decisions import is_refill, waves_in_flight
from hposlurm.errors import BackendError, LimitError, NotNowError, Problem
from hposlurm.records.fail_points import fail_point
from hposlurm.records.files import publish
from hposlurm.records.jobs import ArrayJob
from hposlurm.records.layout import WaveLayout
from hposlurm.records.permissions import make_directory
from hposlurm.trial import JobState

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

# How long to look for a job whose submission got no answer: the controller may still be processing it
LOOK_AFTER_S = 20
_LOOK_EVERY_S = 2
# How often a process that waits for a wave asks the queue, which all users of the cluster share
_WAIT_FIRST_S, _WAIT_MOST_S = 2.0, 30.0


class SlurmBackend:
    """Runs waves as job arrays, and planner jobs on `afterany`; no process stays on the login node."""

    name = "slurm"
    is_foreground = False

    def __init__(self, patience_s: float = 60.0) -> None:
        self._patience_s = patience_s

    def _ask(self, *command: str) -> str:
        return queries.ask(*command, timeout_s=self._patience_s)

    def _squeue(self, *options: str) -> str:
        """Returns squeue's answer about all partitions: it leaves out hidden ones without -a, the user's jobs too."""
        return self._ask("squeue", "-a", "-h", *options)

    @cached_property
    def _config(self) -> str:
        """The answer of `scontrol show config`; "" if there is none (--dry-run): Slurm's defaults apply then."""
        try:
            return self._ask("scontrol", "show", "config")
        except BackendError:
            return ""

    @cached_property
    def max_array_size(self) -> int:
        """The most elements that one array can have on this cluster."""
        return cluster_facts.max_array_size(self._config)

    def problems(self, spec: StudySpec) -> list[Problem]:
        """Returns the requests that no node can fulfil. Raises BackendError if sinfo gives no answer."""
        return capacity.problems(spec)

    def nodes(self, spec: StudySpec) -> tuple[str, ...]:
        try:
            return capacity.fitting_nodes(spec)
        except BackendError:
            return ()

    def wave_size(self, spec: StudySpec) -> int:
        return spec.waves.max_concurrent or 4

    def _parts(self, request: WaveRequest, begun: int = 0, offset: int = 0, limit: int | None = None) -> list[Part]:
        """Returns the arrays for the elements from `offset` on, after `begun` earlier arrays.

        No array has more than `limit` elements (default: the cluster's own limit).
        """
        # a refill wave has as many elements as the study may ever need, so its size does not limit them
        is_open = is_refill(request.spec)
        most = self.wave_size(request.spec) if is_open else request.spec.waves.max_concurrent
        if most is not None:  # %K limits one array, and each wave in flight has its own
            waves = waves_in_flight(request.spec, self.wave_size(request.spec))
            shares = queries.shares(most, waves)[::-1]  # the larger first: all others wait for the oldest wave
            most = shares[request.lane % waves]
        is_bound = most is not None and most < request.count
        groups = _as_one(request) if is_bound else request.groups or _as_one(request)
        found = []
        for first, count, group in _ranges(groups, offset, request.count):
            found += [(first + a, n, group) for a, n in queries.chunks(count, limit or self.max_array_size)]
        # %K is at least 1. Where the arrays are more than that, or divided anew, each follows the one before it
        follows = most is not None and is_bound and (begun > 0 or len(found) > most)
        shares = queries.shares(most, len(found)) if is_bound and not follows else [most] * len(found)
        return [
            Part(begun + i, first, count, share, follows and begun + i > 0, group.time_min, group.nice)
            for i, ((first, count, group), share) in enumerate(zip(found, shares, strict=True))
        ]

    def gpus(self, spec: StudySpec) -> int:
        return spec.resources.gpus_per_node * spec.resources.nodes

    def scripts(self, request: WaveRequest) -> list[Script]:
        parts = self._parts(request)
        wave = request.layout.wave(request.wave)
        names = [f"ARRAY_{i - 1}" for i in range(len(parts))]
        texts = (self._trial_script(request, part, before) for part, before in zip(parts, names, strict=True))
        arrays = [Script(wave.script(part.number).name, text) for part, text in zip(parts, texts, strict=True)]
        if request.spec.slurm.driver == "foreground":
            return arrays
        after = [f"ARRAY_{i}" for i in range(len(parts))]
        return [*arrays, Script(wave.planner_script.name, planner_script(request, after))]

    def submit(self, request: WaveRequest) -> list[ArrayJob]:
        wave = request.layout.wave(request.wave)
        make_directory(wave.logs)
        arrays = self._adopted(request) if wave.script().exists() else []
        try:
            self._submit_rest(request, arrays)
        except BackendError:  # no record names the arrays submitted so far
            with contextlib.suppress(BackendError):
                self.cancel([array.job_id for array in arrays])
            raise
        return arrays

    def _submit_rest(self, request: WaveRequest, arrays: list[ArrayJob]) -> None:
        """Appends to `arrays` until they cover the wave or the cluster accepts no more; halves a refused array."""
        covered, is_full = sum(array.count for array in arrays), False
        ahead = self._parts(request, len(arrays), covered) if covered < request.count else []
        while ahead:
            part = ahead[0]
            try:
                before = arrays[-1].job_id if arrays else None
                arrays.append(ArrayJob(self._submit_array(request, part, before), part.offset, part.count))
            except LimitError as error:
                is_full = is_full or not queries.is_array_too_long(error)
                if part.count == 1 and arrays:
                    return
                if part.count == 1:
                    raise
                ahead = self._parts(request, len(arrays), part.offset, part.count // 2)
            else:
                ahead = [] if is_full else ahead[1:]  # any room that is left is for the planner

    def _submit_array(self, request: WaveRequest, part: Part, before: str | None) -> str:
        wave = request.layout.wave(request.wave)
        text = self._trial_script(request, part, before)
        publish(wave.script(part.number), text.encode())
        fail_point("scripted")
        name = job_name(request, part.offset, part.count)
        return self._sbatch(wave, text, lambda: [j for j, n in self._queue_of(request) if n == name])

    def _sbatch(self, wave: WaveLayout, text: str, find: Callable[[], list[str]]) -> str:
        """Submits a script and returns its job id; if sbatch fails, first looks for the job with `find`.

        The answer may have been lost although the job was accepted.
        """
        from hposlurm.backend.executor import ScriptExecutor

        try:
            return ScriptExecutor(wave.logs).submit_script(text)
        except LimitError:
            raise
        except BackendError as error:
            deadline = time.monotonic() + (LOOK_AFTER_S if isinstance(error, NotNowError) else 0)
            while True:
                with contextlib.suppress(BackendError):
                    if found := find():
                        return found[0]
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_LOOK_EVERY_S)

    def _my_jobs(self) -> list[tuple[str, str]]:
        """Returns (id, name) of this user's jobs in the queue, an array as one, lowest id first."""
        found = {(job_id, name) for job_id, name in queries.rows(self._squeue("--me", "-o", "%F|%j"), 2)}
        return sorted((row for row in found if row[0].isdecimal()), key=lambda row: int(row[0]))

    def _queue_of(self, request: WaveRequest) -> list[tuple[str, str]]:
        """Returns (id, name) of the request's arrays in the queue, lowest id first; their names contain its token."""
        return [row for row in self._my_jobs() if f"-{request.token}-" in row[1]]

    def arrays_of(self, tokens: Collection[str]) -> Mapping[str, Sequence[str]]:
        jobs = self._my_jobs() if tokens else []
        found = {token: [job_id for job_id, name in jobs if f"-{token}-" in name] for token in tokens if token}
        return {token: job_ids for token, job_ids in found.items() if job_ids}

    def _adopted(self, request: WaveRequest) -> list[ArrayJob]:
        """Returns the arrays of an interrupted submission that cover the wave from its start without a gap."""
        left = {}
        for job_id, name in reversed(self._queue_of(request)):
            offset, count = name.rsplit("-", 2)[1:]
            if offset.isdecimal() and count.isdecimal():
                left[int(offset)] = ArrayJob(job_id, int(offset), int(count))
        arrays: list[ArrayJob] = []
        while (array := left.get(sum(a.count for a in arrays))) and array.offset + array.count <= request.count:
            arrays.append(array)
        return arrays

    def sweep(self, request: WaveRequest, arrays: Sequence[ArrayJob]) -> None:
        known = {array.job_id for array in arrays}
        self.cancel([job_id for job_id, _ in self._queue_of(request) if job_id not in known])

    def submit_planner(self, request: WaveRequest, arrays: Sequence[ArrayJob]) -> str | None:
        if request.spec.slurm.driver == "foreground":
            return None
        wave = request.layout.wave(request.wave)
        is_repeated = wave.planner_script.exists()
        if is_repeated and (waiting := self._waiting_planners(request)):
            return waiting[0]
        text = planner_script(request, [array.job_id for array in arrays])
        publish(wave.planner_script, text.encode())
        fail_point("planner scripted")
        mine = self._sbatch(wave, text, lambda: self._waiting_planners(request))
        first = next(iter(self._waiting_planners(request)), mine) if is_repeated else mine
        if first != mine:  # two processes repaired the chain at the same time: the first planner stays
            self.cancel([mine])
        return first

    def _waiting_planners(self, request: WaveRequest) -> list[str]:
        """Returns the wave's planner jobs that wait and will start, lowest id first, without this process's own job."""
        text = self._squeue("--me", f"--name={planner_name(request)}", "-t", "PD", "-o", "%i|%k|%r")
        rows, me = queries.rows(text, 3), self.own_job()
        found = [j for j, comment, why in rows if comment == planner_comment(request) and why != NEVER_SATISFIED]
        return sorted((j for j in found if j.isdecimal() and (me is None or j != me.job_id)), key=int)

    def release(self, arrays: Sequence[ArrayJob]) -> None:
        try:
            self._ask("scontrol", "release", ",".join(queries.job_ids([array.job_id for array in arrays])))
        except BackendError as error:
            if not queries.has_already_ended(error):
                raise

    def cancel(self, job_ids: Sequence[str], tokens: Collection[str] | None = None) -> tuple[str, ...]:
        wanted, others = queries.job_ids(job_ids), []
        if tokens is not None and wanted:
            is_mine = self._carrying(tokens)
            others = [job_id for job_id in wanted if is_mine.get(job_id.partition("_")[0]) is False]
            wanted = [job_id for job_id in wanted if is_mine.get(job_id.partition("_")[0])]
        if wanted:
            # with --state, scancel cancels all waiting elements of the array, not only the named ones
            self._ask("scancel", "--quiet", *queries.as_ranges(wanted))
        return tuple(others)

    def _carrying(self, tokens: Collection[str]) -> dict[str, bool]:
        """Returns, by id, whether each job of this user in the queue has one of the tokens in its name or comment."""
        rows = queries.rows(self._squeue("--me", "-o", "%F|%j|%k"), 2)
        return {job_id: any(token in names for token in tokens if token) for job_id, names in rows}

    def states(self, job_ids: Sequence[str]) -> Mapping[str, ElementState]:
        arrays = sorted({job_id.partition("_")[0] for job_id in queries.job_ids(job_ids)})
        if not arrays:
            return {}
        try:
            text = self._squeue("-r", "-t", "all", "-j", ",".join(arrays), "-o", "%i|%T|%r")
        except BackendError as error:
            if not queries.is_forgotten(error):
                raise
            text = ""
        found = queries.parse_squeue(text)
        if any(job_id not in found for job_id in job_ids):
            # squeue forgets ended jobs; what it leaves out has not ended for that
            with contextlib.suppress(BackendError):
                found = {**queries.last_states(self._sacct(arrays)), **found}
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}

    def usage(self, array_ids: Sequence[str]) -> Mapping[str, Sequence[Usage]] | None:
        if not (array_ids := queries.job_ids(array_ids)):
            return {}
        try:
            return queries.parse_sacct(self._sacct(array_ids))
        except NotNowError:  # slurmdbd is restarted
            return {}
        except BackendError:  # switched off: the workers' own records count
            return None

    def _sacct(self, array_ids: Sequence[str]) -> str:
        return self._ask("sacct", "-j", ",".join(array_ids), *queries.SACCT_FORM)

    def running_on(self, nodes: Collection[str]) -> Sequence[NodeJob]:
        names = sorted(node for node in nodes if re.fullmatch(r"[A-Za-z0-9][\w.-]*", node))
        if not names:
            return ()
        return queries.parse_node_jobs(self._squeue("-w", ",".join(names), "-t", "R", "-o", "%i|%u|%P|%S|%N"))

    def own_job(self) -> OwnJob | None:
        return slurm_job()

    def run_again_later(self) -> bool:
        me = self.own_job()
        if me is None:
            return False
        self._ask("scontrol", "requeue", me.job_id)
        return True

    def wait(self, arrays: Sequence[ArrayJob]) -> None:
        ids = [f"{array.job_id}_{i}" for array in arrays for i in range(array.count)]
        pause_s = _WAIT_FIRST_S
        while True:
            with contextlib.suppress(NotNowError):  # a controller that gives no answer may do so later
                known = self.states(ids).values()
                if not any(found.state in (JobState.PENDING, JobState.RUNNING) for found in known):
                    return
            time.sleep(pause_s)
            pause_s = min(_WAIT_MOST_S, 1.5 * pause_s)

    def _trial_script(self, request: WaveRequest, part: Part, before: str | None = None) -> str:
        return scripts.trial_script(request, part, cluster_facts.kill_wait_s(self._config), before)


def _as_one(request: WaveRequest) -> list[Group]:
    """Returns one group of all elements: Slurm has no limit for several arrays together."""
    minutes = [group.time_min for group in request.groups] or [request.spec.resources.time_min]
    return [Group(request.count, max(minutes), min((group.nice for group in request.groups), default=0))]


def _ranges(groups: Sequence[Group], offset: int, end: int) -> Iterator[tuple[int, int, Group]]:
    """Yields the first element and the count of each group, limited to the elements from `offset` to `end`."""
    first = 0
    for group in groups:
        begin, until = max(first, offset), min(first + group.count, end)
        if begin < until:
            yield begin, until - begin, group
        first += group.count
