"""Plays a search in memory: workers run requests for given durations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from typing import Any

from hposlurm.search import Observation, SearchProblem, TrainingRequest, Verdict, next_requests
from hposlurm.space import FloatParameter, SearchSpace
from hposlurm.spec import SearchSpec
from hposlurm.trial import Objective, Params, TrialState

LINE = SearchSpace((FloatParameter("x", 0.0, 1.0),))
LOSS = (Objective("loss"),)


def problem_of(n_trials: int | None = 27, *, space: SearchSpace = LINE, **search: Any) -> SearchProblem:
    return SearchProblem(space, SearchSpec(**search), LOSS, n_trials)


def shrinking(params: Params, step: int) -> float:
    """A loss that keeps the trials' order at every step: x is best at 0."""
    return float(params["x"]) + 1.0 / step  # type: ignore[arg-type]


class Play:
    """A study: its observations, and the requests that were assigned, in order."""

    def __init__(
        self,
        problem: SearchProblem,
        loss: Callable[[Params, int], float] = shrinking,
        *,
        fails: Callable[[TrainingRequest, int], bool] = lambda *_: False,
    ) -> None:
        self.problem = problem
        self.loss = loss
        self.fails = fails
        self.observations: list[Observation] = []
        self.requests: list[tuple[int, TrainingRequest]] = []
        self.verdicts: list[Verdict] = []

    def start(self, n: int) -> list[tuple[int, TrainingRequest]]:
        """Gives out up to `n` requests, each with its trial's number."""
        answer = next_requests(self.problem, self.observations, n)
        for verdict in answer.verdicts:
            self._set(verdict.trial, state=TrialState.PRUNED)
        self.verdicts += answer.verdicts
        started = []
        for request in answer.requests:
            number = len(self.observations) if request.trial is None else request.trial
            if request.trial is None:
                self.observations.append(Observation(number, request.params, TrialState.RUNNING, attrs=request.attrs))
            self._set(number, state=TrialState.RUNNING, values=None, to_step=request.to_step, is_open=True)
            started.append((number, request))
        self.requests += started
        return started

    def end(self, number: int, request: TrainingRequest) -> None:
        """The request arrives where it was sent, or fails."""
        if self.fails(request, number):
            self._set(number, state=TrialState.FAIL, is_open=False)
            return
        before = self.observations[number]
        last = request.to_step or 1
        points = tuple((step, (self.loss(request.params, step),)) for step in range(request.from_step + 1, last + 1))
        state = TrialState.COMPLETE if request.is_final else TrialState.PAUSED
        self._set(
            number,
            state=state,
            is_open=False,
            curve=before.curve + points,
            values=points[-1][1],
            ends=(*before.ends, (last, points[-1][1])),
        )

    def waves(self, size: Callable[[Play], int], most: int = 500) -> list[list[tuple[int, TrainingRequest]]]:
        """Plays wave by wave to the end."""
        found: list[list[tuple[int, TrainingRequest]]] = []
        while len(found) < most and (wave := self.start(size(self))):
            found.append(wave)
            for number, request in wave:
                self.end(number, request)
        return found

    def workers(self, count: int, seconds: Callable[[int, TrainingRequest], float], most: int = 100_000) -> float:
        """Plays with so many workers until nothing is left; the time that it took."""
        now, running = 0.0, list[tuple[float, int, TrainingRequest]]()
        while len(self.requests) < most:
            for number, request in self.start(count - len(running)):
                heappush(running, (now + seconds(number, request), number, request))
            if not running:
                break
            now, number, request = heappop(running)
            self.end(number, request)
        return now

    def census(self, levels: Sequence[int]) -> list[int]:
        """How many requests were sent to each rung."""
        return [sum(request.to_step == level for _, request in self.requests) for level in levels]

    def _set(self, number: int, **changes: Any) -> None:
        self.observations[number] = replace(self.observations[number], **changes)
