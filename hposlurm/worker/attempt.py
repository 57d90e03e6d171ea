"""One attempt: runs its command from start to end and journals everything about it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hposlurm.pruning import DECISION
from hposlurm.records.cause_text import sentence
from hposlurm.records.files import create_once
from hposlurm.records.journal import end_fields
from hposlurm.records.plan import WavePlan
from hposlurm.trial import Cause, EndCause, Outcome
from hposlurm.worker import metrics, output, scratch
from hposlurm.worker.environment import Place, environment
from hposlurm.worker.gauge import Gauge
from hposlurm.worker.gpumemory import last_place, out_of_gpu_memory
from hposlurm.worker.inbox import Inbox
from hposlurm.worker.last_words import NOTHING_SAID, LastWords, last_words
from hposlurm.worker.match import Groups
from hposlurm.worker.matcher import Matcher
from hposlurm.worker.memory import Advice, Guard
from hposlurm.worker.patience import GRACE_S, KILL_WAIT_S, Patience
from hposlurm.worker.process import MARKER, Command, peak_host_gb, reap_orphans
from hposlurm.worker.pruning import Pruner
from hposlurm.worker.recorder import Recorder, say
from hposlurm.worker.saved import SavedCheckpoints
from hposlurm.worker.sources import sources_of
from hposlurm.worker.verdict import Ending, judge
from hposlurm.worker.watchdog import Watchdog

_TIMED_OUT = "trial.timeout exceeded"
_POLL_S = 0.2
_LOCKS_S = 30.0  # between looks for locks of killed extension builds
_SOURCES_S = 1.0  # between looks into the files of trial.metrics
_SAVED_S = 5.0  # between looks for checkpoints that the command does not announce
_DRAIN_S, _HASTY_DRAIN_S = 30.0, 2.0
_MATCH_S, _HASTY_MATCH_S = 60.0, 2.0


class AttemptRun:
    """Runs one attempt. `log` is the file that the command writes to, and its descriptor."""

    def __init__(
        self,
        place: Place,
        log: tuple[Path, int],
        recorder: Recorder,
        inbox: Inbox,
        environ: Mapping[str, str],
    ) -> None:
        self._place = place
        self._log, self._log_fd = log
        self._log_start = self._size = self._silent_from = os.fstat(self._log_fd).st_size
        self._recorder = recorder
        self._inbox = inbox
        self._environ = environ
        self._request = place.study.trial(place.assignment.trial).request
        self._extensions: Path | None = None
        last, params = dict(place.earlier.last), place.assignment.params
        self._ledger = metrics.Ledger(last=last, scores=place.plan.scores, params=params)
        self._pattern = metrics.Pattern(place.earlier.counts, (*place.plan.objectives, *place.plan.metrics))
        self._matcher = None if place.plan.metric_pattern is None else Matcher(place.plan.metric_pattern)
        self._reports = output.GrowingFile(place.metrics_file)
        self._lines = output.GrowingFile(self._log, offset=self._log_start, ends=b"\r\n")
        self._notes: set[str] = set()
        self._killed_after_s: float | None = None
        plan, assignment = place.plan, place.assignment
        self._sources = sources_of(plan.sources, assignment.metric_files, Path(plan.workdir))
        self._next_sources = 0.0
        self._early = 0  # matches of the pattern while the command ran
        self._is_signalled = False  # a handler of the stop signal was asked
        self._saved = SavedCheckpoints(place.study.trial(place.assignment.trial).checkpoints, place.facts.gpus)
        self._next_saved = 0.0
        self._guard = _guard(place.plan)
        self._pruner = Pruner(place) if place.plan.stop is not None else None

    def run(self) -> Outcome | None:
        """Runs the command to its end. Returns its outcome, None if the end could not be recorded."""
        self._recorder.flush()
        with contextlib.suppress(OSError):
            self._request.unlink()  # left from an earlier attempt
        plan = self._place.plan
        patience = Patience(time.monotonic(), plan.timeout_s, _grace_s(self._environ), plan.stop_grace_s)
        try:
            command, watchdog = self._start()
        except (OSError, ValueError) as error:
            return self._end(Outcome.FAIL, EndCause(Cause.COMMAND_NOT_STARTED, detail=str(error)), None, patience)
        if self._pruner is not None:
            self._pruner.start()  # after all forks: a child of a process with threads may hang
        try:
            self._watch(command, patience)
        except BaseException:
            if self._matcher is not None:
                self._matcher.close()
            raise
        finally:
            command.kill()
            exit_code = command.poll()
            watchdog.dismiss()
            reap_orphans()
        return self._judge(exit_code, patience)

    def _start(self) -> tuple[Command, Watchdog]:
        """Starts the command.

        Raises OSError or ValueError where parameters are too long for the kernel or contain a NUL.
        """
        variables = self._variables()
        watchdog = Watchdog(variables[MARKER], self._place.scratch)
        try:
            plan = self._place.plan
            return Command(self._line(), Path(plan.workdir), variables, self._log_fd, plan.stop_signal), watchdog
        except BaseException:
            watchdog.dismiss()
            raise

    def _variables(self) -> dict[str, str]:
        (self._place.scratch / "tmp").mkdir(mode=0o700)
        if not self._environ.get("TORCH_EXTENSIONS_DIR"):
            self._extensions = scratch.extensions_directory(self._environ)
        if self._extensions is not None:
            scratch.remove_stale_locks(self._extensions)
        return environment(self._environ, self._place, self._extensions)

    def _line(self) -> str:
        assignment = self._place.assignment
        if self._place.resumed_from is not None and assignment.command_resumed is not None:
            return assignment.command_resumed
        return assignment.command

    def _watch(self, command: Command, patience: Patience) -> None:
        """Watches the command until it has ended, or until it was killed and does not end."""
        next_look = time.monotonic() + _LOCKS_S
        while True:
            signals = self._inbox.wait(_POLL_S)
            has_ended = command.poll() is not None
            self._collect()
            if has_ended:
                return
            now = time.monotonic()
            for number in signals:
                patience.signalled(number, now)
            patience.tick(now)
            self._watch_memory(now)
            self._watch_saved(now)
            self._watch_search(patience, now)
            if patience.is_asked or self._memory_reason:
                self._ask(patience)
                self._is_signalled = self._is_signalled or command.ask()
            is_over = patience.is_over(now, is_listening=self._ledger.is_listening or self._is_signalled)
            if is_over and self._has_given_up(command, patience, now):
                return
            if self._extensions is not None and now >= next_look:
                scratch.remove_stale_locks(self._extensions)
                next_look = now + _LOCKS_S

    def _collect(self) -> None:
        """Journals what the command has reported since the last call."""
        matches: list[Groups] = []
        if self._matcher is not None:
            if self._matcher.has_room:
                self._matcher.put(map(output.plain, self._lines.lines()))
            matches = self._matcher.take()
        self._take(self._reports.lines(), matches)
        if self._sources and time.monotonic() >= self._next_sources:
            self._next_sources = time.monotonic() + _SOURCES_S
            self._read_sources()
        self._early += len(matches)
        self._size = self._log_size()
        self._recorder.flush()

    def _log_size(self) -> int:
        with contextlib.suppress(OSError):
            return os.fstat(self._log_fd).st_size
        return self._size

    def _collect_rest(self, patience: Patience) -> None:
        """Journals what is left when the command has ended."""
        matches: list[Groups] = []
        if self._matcher is not None:
            batches = (map(output.plain, lines) for lines in self._lines.remaining())
            matches = self._matcher.finish(batches, _HASTY_MATCH_S if patience.asked else _MATCH_S)
        self._take([line for lines in self._reports.remaining() for line in lines], matches)
        self._read_sources(is_over=True)
        if note := metrics.buffering_note(self._early, len(matches), time.monotonic() - patience.started_at):
            self._note(note)

    def _read_sources(self, *, is_over: bool = False) -> None:
        """Journals what the files of trial.metrics have since the last look."""
        for source in self._sources:
            found = list(source.new(is_over=is_over))
            self._keep(metrics.from_sources(found, self._ledger, self._place.assignment.to_step))
            if source.uneven_step:
                step = source.uneven_step
                self._note(f"trial.metrics: entries with a step that is not whole, such as {step}, are left out")

    def _take(self, reports: list[bytes], matches: list[Groups]) -> None:
        unreadable = self._ledger.unreadable
        records = metrics.from_file(reports, self._ledger)
        if any(record["kind"] == "report" for record in records):
            self._silent_from = self._size  # it was reported after the last look, and so after all output until then
        records += self._pattern.read((groups for line in matches for groups in line), self._ledger)
        self._keep(records)
        if self._ledger.unreadable and not unreadable:
            say(f"a line of the metrics file is not a report and is left out, one of: {reports[:5]!r:.500}")
        self._note_problems()

    def _keep(self, records: list[dict[str, Any]]) -> None:
        for record in records:
            self._recorder.add(**record)
        if self._pruner is not None:
            self._pruner.add(records)

    def _note_problems(self) -> None:
        if self._reports.is_replaced:
            self._note("its metrics file is not a regular file any more; reports in it are not read")
        if self._lines.is_replaced:
            self._note("its log is not a regular file any more; metrics in it are not read")
        if self._pattern.uneven_step:
            step = self._pattern.uneven_step
            self._note(f"trial.metric_pattern: matches with a step that is not whole, such as {step!r}, are left out")
        if self._matcher is not None and self._matcher.complaint:
            self._note(self._matcher.complaint)

    def _note_older_values(self) -> None:
        """Journals that the values which count are older than the checkpoint after which nothing was left to train."""
        step, saved = self._place.earlier.step(self._place.plan.objectives), self._place.earlier.saved
        if step is not None and saved is not None and step < saved:
            self._note(
                f"nothing was left to train after its checkpoint of step {saved}, and nothing was reported there: the "
                f"values of step {step} count; a script that resumes can evaluate again, see hposlurm.client"
            )

    def _note(self, text: str) -> None:
        """Journals a remark for people, once."""
        if text not in self._notes:
            self._notes.add(text)
            self._recorder.add("note", text=text)
            say(f"trial {self._place.assignment.trial}: {text}")

    def _ask(self, patience: Patience) -> None:
        """Writes the request for the training code; tries again at every call until the file exists."""
        with contextlib.suppress(OSError):
            why = sentence(patience.asked) or self._memory_reason or sentence(patience.pruned) or _TIMED_OUT
            create_once(self._request, f"{why}\n".encode())  # never through a link that the training code made

    @property
    def _memory_reason(self) -> str:
        return self._guard.asked if self._guard else ""

    def _watch_memory(self, now: float) -> None:
        guard = self._guard
        advice = guard.tick(now) if guard else Advice.NOTHING
        if guard is None or guard.last is None or advice is Advice.NOTHING:
            return
        self._record_peaks()  # now: the kernel may kill the worker as well
        fullness = f"{guard.last.share:.1%} of the {guard.last.limit / 2**30:.1f} GiB of {guard.last.place} are used"
        wish = f"; asked to save and stop: {guard.asked}" if advice is Advice.STOP else ""
        say(f"trial {self._place.assignment.trial}: memory runs short, {fullness}{wish}")

    def _watch_search(self, patience: Patience, now: float) -> None:
        """Records the pruning decisions about the trial and acts on them."""
        for decision in self._pruner.decisions() if self._pruner is not None else ():
            self._recorder.add(DECISION, **decision.to_record())
            if decision.stops:
                say(f"trial {self._place.assignment.trial} is asked to save and stop: {decision.reason}")
                patience.prune(decision.reason, now)

    def _watch_saved(self, now: float) -> None:
        """Journals the checkpoints of a Trainer whose script does not report them."""
        if now < self._next_saved:
            return
        self._next_saved = now + _SAVED_S
        last = max((step for step, _ in self._ledger.last.values()), default=None)
        for step, path in self._saved.new(last):
            self._recorder.add("checkpoint", step=step, path=str(path))

    def _record_peaks(self) -> None:
        peaks = [peak_host_gb(), self._ledger.peak_host_gb or 0.0]
        if self._guard is not None and self._guard.peak is not None:
            peaks.append(self._guard.peak / 2**30)
        self._recorder.add("memory", peak_host_gb=round(max(peaks), 3), peak_gpu_gb=self._ledger.peak_gpu_gb)

    def _has_given_up(self, command: Command, patience: Patience, now: float) -> bool:
        if self._killed_after_s is None:
            self._killed_after_s = now - patience.asked_at
            command.kill()
        return now >= patience.asked_at + self._killed_after_s + KILL_WAIT_S

    def _judge(self, exit_code: int | None, patience: Patience) -> Outcome | None:
        self._collect_rest(patience)
        self._watch_saved(self._next_saved)
        ending = Ending(
            exit_code,
            asked=patience.asked,
            killed_after_s=self._killed_after_s,
            is_stopping=self._ledger.is_stopping or self._is_signalled,
            has_reported=self._ledger.has_reported,
            timed_out_s=patience.timeout_s if patience.timed_out else None,
            unreadable=self._ledger.unreadable,
            lines=None if self._matcher is None else self._matcher.seen,
            uneven_step=self._pattern.uneven_step,
            memory=self._memory_reason,
            pruned=patience.pruned,
        )
        plan, assignment = self._place.plan, self._place.assignment
        said = self._last_words(exit_code) if exit_code else NOTHING_SAID
        no_room = out_of_gpu_memory(self._unsurvived(), self._place.scratch) if exit_code else ""
        is_begun = self._ledger.has_reported or self._place.earlier.has_begun
        last = self._ledger.last if is_begun else {}
        outcome, cause = judge(ending, plan.objectives, last, assignment.to_step, said, no_room)
        if outcome is Outcome.COMPLETE and not ending.has_reported:
            self._note_older_values()
        return self._end(outcome, cause, exit_code, patience)

    def _last_words(self, exit_code: int) -> LastWords:
        return last_words(output.last_lines(self._log, self._log_start), exit_code)

    def _unsurvived(self) -> list[str]:
        """Returns the last lines of output after which nothing was reported.

        An out-of-memory error before a report was caught, as batch-size finders do. Where the output itself reports,
        only the lines after an error are matched, again and for a short time.
        """
        lines = output.last_lines(self._log, self._log_start, self._silent_from)
        place = last_place(lines)
        if place is not None and self._place.plan.metric_pattern is not None:
            later = [line.encode(errors="replace") for line in lines[place + 1 :]]
            if Matcher(self._place.plan.metric_pattern).finish([later], _HASTY_MATCH_S):
                return []
        return lines

    def _end(
        self, outcome: Outcome, cause: EndCause | None, exit_code: int | None, patience: Patience
    ) -> Outcome | None:
        lines = [] if outcome is Outcome.COMPLETE else output.tail(self._last_words(exit_code or 0).lines)
        last = {name: value for name, (_, value) in self._ledger.last.items()}
        self._record_peaks()
        self._recorder.add("end", **end_fields(outcome, cause, exit_code=exit_code, metrics=last, tail=lines))
        reason = sentence(cause)
        say(f"trial {self._place.assignment.trial}, attempt {self._place.attempt}: {outcome}{reason and f': {reason}'}")
        is_recorded = self._recorder.drain(_HASTY_DRAIN_S if patience.asked else _DRAIN_S)
        return outcome if is_recorded else None


def _guard(plan: WavePlan) -> Guard | None:
    if plan.memory_warning is None:
        return None
    return Guard(Gauge().look, plan.memory_warning, plan.memory_grace_steps)


def _grace_s(environ: Mapping[str, str]) -> float:
    try:
        return float(environ["HPOSLURM_GRACE_S"])
    except (KeyError, ValueError):
        return GRACE_S
