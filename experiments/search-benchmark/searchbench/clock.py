"""Other tools' searches in virtual time: workers ask when they are free and report every step when it is reached."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from searchbench.tasks import Task


@dataclass(frozen=True)
class Ask:
    """What a free worker does next. A trial that is asked for again goes on where it was.

    `to_step` None: to the end of training. A new trial with `copy_of` goes on from where that other one is.
    """

    trial: str
    params: Mapping[str, Any]
    to_step: int | None = None
    copy_of: str | None = None


class Tool(Protocol):
    """A search that is asked and told; it sees neither the task nor the clock."""

    def ask(self) -> Ask | None:
        """None: nothing to do until something that runs has ended."""

    def report(self, trial: str, step: int, loss: float, is_last: bool) -> bool:
        """Whether the trial goes on. With `is_last` it ends in any case: no more is asked for, or there is no more."""


@dataclass
class Course:
    """How a study went: (virtual seconds, lowest loss so far), and how many trials ended, or pause, at each step."""

    found: list[tuple[float, float]] = field(default_factory=list)
    ended_at: Counter[int] = field(default_factory=Counter)


def drive(tool: Tool, task: Task, workers: int, until_s: float) -> Course:
    """Runs the study for `until_s` virtual seconds, or until nothing runs and nothing is left to do."""
    run = _Run(tool, task, workers)
    run.start()
    while run.events and run.events[0][0] <= until_s:
        run.step()
        run.start()
    return run.course


@dataclass
class _Running:
    """A trial at the end of the step that it is training."""

    ask: Ask
    step: int
    loss: float
    state: Any


class _Run:
    def __init__(self, tool: Tool, task: Task, workers: int) -> None:
        self.tool, self.task, self.free = tool, task, workers
        self.course = Course()
        self.now = 0.0
        self.events: list[tuple[float, int, _Running]] = []
        self._order = 0
        self._saved: dict[str, tuple[int, Any]] = {}  # the newest step of each trial, and the state after it
        self._ended: set[str] = set()
        self._lowest = float("inf")

    def start(self) -> None:
        """Every free worker asks, as long as there is something to do."""
        while self.free and (ask := self.tool.ask()) is not None:
            at, state = self._saved.get(ask.trial if ask.copy_of is None else ask.copy_of, (0, None))
            if at >= (ask.to_step or self.task.max_step):
                raise ValueError(f"trial {ask.trial} is at step {at} already and was asked to go to {ask.to_step}")
            if ask.trial in self._ended:
                self._ended.remove(ask.trial)
                self.course.ended_at[at] -= 1
            self.free -= 1
            self._train(ask, at, state)

    def step(self) -> None:
        """The next step that is reached, anywhere."""
        self.now, _, running = heapq.heappop(self.events)
        ask, step = running.ask, running.step
        if running.loss < self._lowest:
            self._lowest = running.loss
            self.course.found.append((self.now, running.loss))
        self._saved[ask.trial] = step, running.state
        is_last = step >= min(ask.to_step or self.task.max_step, self.task.max_step)
        if self.tool.report(ask.trial, step, running.loss, is_last) and not is_last:
            self._train(ask, step, running.state)
            return
        self._ended.add(ask.trial)
        self.course.ended_at[step] += 1
        self.free += 1

    def _train(self, ask: Ask, at: int, state: Any) -> None:
        loss, seconds, state = self.task.advance(ask.params, state)
        self._order += 1
        heapq.heappush(self.events, (self.now + seconds, self._order, _Running(ask, at + 1, loss, state)))
