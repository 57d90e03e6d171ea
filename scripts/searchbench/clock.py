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
    """What a free worker does next. A trial asked for again goes on where it was; None: to the end of training."""

    trial: str
    params: Mapping[str, Any]
    to_step: int | None = None


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
    ask: Ask
    losses: Any
    seconds: Any
    step: int  # the one that is being trained
    begun: float  # when it would have started from nothing

    @property
    def ends(self) -> float:
        return self.begun + float(self.seconds[self.step - 1])


class _Run:
    def __init__(self, tool: Tool, task: Task, workers: int) -> None:
        self.tool, self.task, self.free = tool, task, workers
        self.course = Course()
        self.now = 0.0
        self.events: list[tuple[float, int, _Running]] = []
        self._order = 0
        self._reached: dict[str, int] = {}
        self._lowest = float("inf")

    def start(self) -> None:
        """Every free worker asks, as long as there is something to do."""
        while self.free and (ask := self.tool.ask()) is not None:
            losses, seconds = self.task.curve(ask.params)
            at = self._reached.get(ask.trial, 0)
            if at >= (ask.to_step or self.task.max_step):
                raise ValueError(f"trial {ask.trial} is at step {at} already and was asked to go to {ask.to_step}")
            if at:
                self.course.ended_at[at] -= 1
            begun = self.now - (float(seconds[at - 1]) if at else 0.0)
            self.free -= 1
            self._push(_Running(ask, losses, seconds, at + 1, begun))

    def step(self) -> None:
        """The next step that is reached, anywhere."""
        self.now, _, running = heapq.heappop(self.events)
        loss = float(running.losses[running.step - 1])
        if loss < self._lowest:
            self._lowest = loss
            self.course.found.append((self.now, loss))
        trial = running.ask.trial
        is_last = running.step >= min(running.ask.to_step or self.task.max_step, self.task.max_step)
        if self.tool.report(trial, running.step, loss, is_last) and not is_last:
            running.step += 1
            self._push(running)
            return
        self._reached[trial] = running.step
        self.course.ended_at[running.step] += 1
        self.free += 1

    def _push(self, running: _Running) -> None:
        self._order += 1
        heapq.heappush(self.events, (running.ends, self._order, running))
