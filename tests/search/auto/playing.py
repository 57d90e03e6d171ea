"""Studies that are played in memory: free workers ask for one request after the other."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable
from dataclasses import replace

from hposlurm.search import Answer, Observation, SearchProblem
from hposlurm.search.auto import next_requests
from hposlurm.space import SearchSpace
from hposlurm.spec.search import SearchSpec
from hposlurm.trial import Direction, Objective, Params, TrialState

Curve = Callable[[Params, int], float]  # what training with these parameters reports at a step
END = 27


def problem(
    space: SearchSpace,
    *,
    seed: int = 0,
    n_trials: int | None = None,
    rungs: bool = True,
    direction: Direction = Direction.MINIMIZE,
) -> SearchProblem:
    resources = {"min_resource": 1, "max_resource": END} if rungs else {}
    search = SearchSpec(algorithm="auto", seed=seed, **resources)  # type: ignore[arg-type]
    return SearchProblem(space, search, (Objective("loss", direction),), n_trials)


class Study:
    """The observations so far; attributes go through JSON, as they do on disk."""

    def __init__(self, asked: SearchProblem, curve: Curve) -> None:
        self.problem = asked
        self.curve = curve
        self.observations: list[Observation] = []
        self.answers: list[Answer] = []
        self.stopped: list[tuple[int, int]] = []  # (trial, step) of each assignment that ended
        self._running: list[tuple[float, int, int]] = []  # when it ends, trial, step
        self._now = 0.0

    def ask(self, n: int) -> Answer:
        """Asks for `n` requests and starts them."""
        answer = next_requests(self.problem, self.observations, n)
        self.answers.append(answer)
        for request in answer.requests:
            number = len(self.observations) if request.trial is None else request.trial
            if request.trial is None:
                attrs = json.loads(json.dumps(request.attrs))
                self.observations.append(Observation(number, dict(request.params), TrialState.WAITING, attrs=attrs))
            before = self.observations[number]
            assert not before.is_open and before.params == request.params
            self.observations[number] = replace(before, state=TrialState.RUNNING, to_step=request.to_step, is_open=True)
            step = END if request.to_step is None else request.to_step
            heapq.heappush(self._running, (self._now + step - request.from_step, number, step))
        return answer

    def end_one(self) -> None:
        """Lets the request that ends next end."""
        self._now, number, step = heapq.heappop(self._running)
        before = self.observations[number]
        first = before.curve[-1][0] + 1 if before.curve else 1
        new = tuple((s, (self.curve(before.params, s),)) for s in range(first, step + 1))
        curve = before.curve + new
        state = TrialState.COMPLETE if step == END else TrialState.PAUSED
        ends = (*before.ends, (step, curve[-1][1]))
        self.stopped.append((number, step))
        self.observations[number] = replace(
            before, state=state, values=curve[-1][1], curve=curve, is_open=False, ends=ends
        )

    def play(self, steps: float, workers: int = 4) -> Study:
        """Goes on until `workers` have trained for so many steps each, or nothing is left to do."""
        while True:
            self.ask(workers - len(self._running))
            if not self._running or self._running[0][0] > steps:
                return self
            self.end_one()

    @property
    def best(self) -> float:
        """The lowest value that a trial trained to the end has."""
        return min((o.values[0] for o in self.observations if o.state is TrialState.COMPLETE and o.values), default=9e9)

    def reached(self, step: int) -> int:
        """How many trials were trained so far."""
        return sum(bool(o.curve) and o.curve[-1][0] >= step for o in self.observations)
