"""Decides for the default search which trials are promoted, which are new, and how far each is trained."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from hposlurm.search.auto.ladder import best_first, promotions
from hposlurm.search.auto.memory import memory_of
from hposlurm.search.auto.proposals import Proposer
from hposlurm.search.auto.records import THROUGH, LossTable, joined
from hposlurm.search.auto.trusted import TrustedRungs, trusted_rungs
from hposlurm.search.observation import Answer, Observation, Proposal, SearchProblem, TrainingRequest
from hposlurm.search.queue import enqueued
from hposlurm.search.seeds import derive_seed
from hposlurm.search.suggestions import suggest

# The share of new trials that are trained to the end whatever their rungs show. Not tuned: without them it would stay
# unknown later if rungs stopped predicting the end.
THROUGH_SHARE = 0.1
# The share is at least this many times the doubt in the lowest rung: at even odds all new trials. Compared with no such
# rule, the regret was .69 ± .09 times as high on rungs without information and .74 ± .07 on ordinary tasks with once
# the doubt, .60 ± .07 and .81 ± .08 with twice.
THROUGH_DOUBT = 2.0
# The first trials are let through: six, or ten if that many start before the first has ended. The sooner some have
# ended, the sooner it is known whether rungs predict the end. They cost little while nothing else is known.
FIRST_THROUGH = 6
AT_ONCE = 10
AGAIN_WHY = "proposed again: its present rung does not predict the end"


def through_at_least(n_trials: int, at_once: int) -> int:
    """Returns how many of `n_trials` are let through to the end even if early values predict late ones well."""
    first = min(n_trials, max(FIRST_THROUGH, min(at_once, AT_ONCE)))
    return first + round(THROUGH_SHARE * (n_trials - first))


def next_requests(problem: SearchProblem, observations: Sequence[Observation], n: int) -> Answer:
    """Returns up to `n` requests: promotions first, then new trials. The same arguments give the same answer.

    Trials are promoted from rung to rung as in asynchronous successive halving, as far as rungs predict the end in this
    study. Some are let through to the end whatever their rungs show: they measure how well rungs predict it. Once no
    new trial may come and none is running, each rung without a promotion promotes its best trial; once the space has no
    new point, all paused trials are promoted. With several objectives every trial is trained to the end, and TPE
    proposes.
    """
    if len(problem.objectives) > 1:
        return _several(problem, observations, n)
    search = problem.search
    records = memory_of(problem).own.read(observations)
    trusted = trusted_rungs(records)
    onward = promotions(records, trusted.lowest, search.reduction_factor, problem.objectives)
    requests = [_onward(records, observations, i, why) for i, why in islice(onward, max(n, 0))]
    new, is_exhausted = _new_requests(problem, observations, records, trusted, n - len(requests))
    requests += new
    if is_exhausted:
        onward = best_first(records)
    elif requests or records.is_open.any():
        onward = iter(())
    else:
        onward = promotions(records, trusted.lowest, search.reduction_factor, problem.objectives, is_last=True)
    taken = {request.trial for request in requests}
    waiting = ((i, why) for i, why in onward if observations[i].number not in taken)
    requests += [_onward(records, observations, i, why) for i, why in islice(waiting, n - len(requests))]
    is_over = is_exhausted and not requests and not records.is_open.any()
    return Answer(tuple(requests), notes=trusted.notes(), finished="the search space is exhausted" if is_over else None)


def _several(problem: SearchProblem, observations: Sequence[Observation], n: int) -> Answer:
    left = n if problem.n_trials is None else max(0, min(n, problem.n_trials - len(observations)))
    search = problem.search
    found = suggest(
        problem.space,
        "tpe",
        problem.objectives,
        observations,
        left,
        search.seed,
        search.startup_trials,
        enqueue=search.enqueue,
        prior=problem.prior,
        points=problem.memory.known_points(problem.space),
    )
    notes = () if observations else ("auto with several objectives: TPE proposes, and every trial is trained fully",)
    requests = tuple(
        TrainingRequest(suggestion.params, to_step=search.max_resource, attrs=suggestion.attrs) for suggestion in found
    )
    return Answer(requests, notes=notes, finished="the search space is exhausted" if len(found) < left else None)


def trusted_rungs_of(problem: SearchProblem, observations: Sequence[Observation]) -> TrustedRungs:
    """Returns what these records show about the rungs: how well early values predict the final ones."""
    return trusted_rungs(memory_of(problem).own.read(observations))


def _new_requests(
    problem: SearchProblem,
    observations: Sequence[Observation],
    records: LossTable,
    trusted: TrustedRungs,
    n: int,
) -> tuple[list[TrainingRequest], bool]:
    """Returns new trials, up to `n` and to what the study may have, and True if the space has no more."""
    n = n if problem.n_trials is None else min(n, problem.n_trials - len(observations))
    if n <= 0:
        return [], False
    search, memory = problem.search, memory_of(problem)
    below = records.is_paused & ~records.is_open & (records.target < trusted.lowest)
    learned = records
    if problem.prior:
        learned = joined(records, memory.prior.read(problem.prior))
    proposer = Proposer(
        memory.encoder,
        learned,
        trusted.lowest,
        [o.params for o in observations],
        [o.attrs for o in observations],
        np.flatnonzero(below).tolist(),
        enqueued(problem.space, search.enqueue, observations, search.seed),
        search.seed,
        search.startup_trials,
    )
    requests: list[TrainingRequest] = []
    number = len(observations)
    for _ in range(n):
        proposal = proposer.propose()
        if proposal is None:
            return requests, True
        if proposal.continues is not None:
            requests.append(_onward(records, observations, proposal.continues, AGAIN_WHY, trusted.lowest))
            continue
        is_first = number < (AT_ONCE if records.is_open.all() else FIRST_THROUGH)
        requests.append(_start(proposal, is_first or _is_through(problem, number, trusted), trusted))
        number += 1
    return requests, False


def _onward(
    records: LossTable, observations: Sequence[Observation], i: int, why: str, rung: int | None = None
) -> TrainingRequest:
    """Returns the request to train trial `i` to the next rung, or to `rung`."""
    at = int(records.target[i])
    rung = at + 1 if rung is None else rung
    observation = observations[i]
    return TrainingRequest(
        observation.params,
        observation.number,
        from_step=observation.to_step or 0,
        to_step=records.levels[rung],
        is_final=rung == records.top,
        why=why,
    )


def _start(proposal: Proposal, is_through: bool, trusted: TrustedRungs) -> TrainingRequest:
    attrs = {**proposal.attrs, **({THROUGH: True} if is_through and len(trusted.levels) > 1 else {})}
    return TrainingRequest(
        proposal.params, to_step=trusted.levels[trusted.lowest], is_final=trusted.is_full, attrs=attrs
    )


def _is_through(problem: SearchProblem, number: int, trusted: TrustedRungs) -> bool:
    """True for a share of the trials, drawn by their numbers; for all if none is stopped any more."""
    share = max(THROUGH_SHARE, THROUGH_DOUBT * trusted.doubt)
    draw = np.random.default_rng(derive_seed(problem.search.seed, "through", number)).random()
    return trusted.is_full or bool(draw < share)
