"""Proposes new points: by random draws, by a Gaussian process over all rungs, by Parzen estimators on one rung."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random

import numpy as np

from hposlurm.search.auto import parzen
from hposlurm.search.auto.encoding import Encoder, Floats
from hposlurm.search.auto.records import LossTable
from hposlurm.search.auto.surrogate import Kept, Surrogate
from hposlurm.search.observation import Proposal
from hposlurm.search.points import Point, canonical, draw_point, given_defaults, identity
from hposlurm.search.proposals import DEFAULT_DRAWS
from hposlurm.search.queue import ORIGIN
from hposlurm.search.seeds import derive_seed
from hposlurm.search.unseen import UnseenPoints
from hposlurm.trial import Params

SETTINGS = "gp"  # the attribute of a trial with the process's settings that were fitted for its suggestion
# The shares of random proposals and of the process; Parzen estimators propose the rest, a tenth. On nine LCBench tasks
# the regret at 5/12/25 full trainings was .131/.039/.014 with 45 % by the process and longer steps (see SCALES),
# .108/.023/.007 with 85 %, and .089/.029/.010 with all. A few proposals of other kinds remain, in case the process is
# wrong about a space.
RANDOM_SHARE = 0.05
PROCESS_SHARE = 0.85
RANDOM_DRAWS = 50  # at once; if none of them is new and allowed, UnseenPoints searches longer
# The Parzen estimators learn from the highest rung with this many values, at least two more than there are parameters.
# Not tuned.
LEAST_AT_RUNG = 10


class Proposer:
    """Proposes points one by one, each different from all in the history and from those before it."""

    def __init__(
        self,
        encoder: Encoder,
        #: The trials that the models learn from: the study's own, then those of other studies.
        records: LossTable,
        #: The rung below which values do not predict the end.
        lowest: int,
        #: Of the study's own trials.
        params: Sequence[Params],
        attrs: Sequence[Mapping[str, object]],
        #: Rows of the records: trials that wait below `lowest` and may be continued.
        left: Sequence[int],
        #: Suggestions that come before all others.
        first: Iterator[Proposal],
        seed: int,
        #: How many trials must have a value before a model proposes.
        startup_trials: int,
    ) -> None:
        self._encoder = encoder
        self._records = records.from_rung(lowest)
        self._lowest = lowest
        self._params = params
        self._attrs = attrs
        self._first_ones = first
        self._seed = seed
        self._startup_trials = startup_trials
        keys = _keys(records.rows[: len(params)])
        self._known = set(keys)
        self._left = {keys[i]: i for i in left if records.inside[i]}
        has_value = records.inside[:, None] & ~np.isnan(self._records.losses)
        self._has_value = has_value
        self._pending = records.rows[records.inside & records.is_open & ~has_value.any(axis=1)]
        self._taken: list[Point] = []
        self._has_begun = False
        self._surrogate: Surrogate | None = None
        self._kept: Kept | None = None

    def propose(self) -> Proposal | None:
        """Returns the next point; None if no new one is found: the space is exhausted."""
        count = len(self._params) + len(self._taken)
        if (given := next(self._first_ones, None)) is not None:
            return self._take(Proposal(given.params, dict(given.attrs)))
        rng = np.random.default_rng(derive_seed(self._seed, "auto", count))
        is_first = all(kept.get("origin") == ORIGIN for kept in self._attrs) and not self._has_begun
        self._has_begun = True
        if is_first and (default := self._default(rng)) is not None:
            return self._take(Proposal(default, {"origin": "default"}))
        if self._has_value.any(axis=1).sum() >= self._startup_trials:
            proposal = self._by_model(rng)
            if proposal is not None:
                return self._take(proposal)
        point = self._first_new(self._encoder.uniform(rng, RANDOM_DRAWS)) or self._any(rng)
        return None if point is None else self._take(Proposal(point, {"origin": "random"}))

    def _by_model(self, rng: np.random.Generator) -> Proposal | None:
        which = rng.random()
        if which < RANDOM_SHARE:
            return None
        if which >= RANDOM_SHARE + PROCESS_SHARE:
            return self._first(self._by_parzen(rng), {"origin": "tpe"})
        proposal = self._first(self._by_process(rng), {"origin": "gp"})
        assert self._surrogate is not None
        if proposal is not None and proposal.continues is None and self._surrogate.kept != self._kept:
            self._kept = self._surrogate.kept
            proposal.attrs[SETTINGS] = self._kept.to_json()
        return proposal

    def _by_process(self, rng: np.random.Generator) -> Floats:
        if self._surrogate is None:
            features = Surrogate.features(self._encoder, self._records.top)
            self._kept = Kept.newest(self._attrs, SETTINGS, features, self._lowest)
            trials = len(self._params)
            self._surrogate = Surrogate(self._encoder, self._records, self._kept, trials, rng, self._lowest)
            for point in self._taken:
                self._surrogate.expect(self._encoder.row(point)[None])
        left = self._records.rows[list(self._left.values())]
        return self._surrogate.ranked(rng, left)

    def _by_parzen(self, rng: np.random.Generator) -> Floats:
        least = max(LEAST_AT_RUNG, self._encoder.size + 2)
        enough = np.flatnonzero(self._has_value.sum(axis=0) >= least)
        rung = int(enough[-1]) if len(enough) else 0
        at = np.flatnonzero(self._has_value[:, rung])
        rows, losses = self._records.rows[at], self._records.lessons[at, rung]
        return parzen.propose(self._encoder, rng, rows, losses, self._pending) if len(at) else rows

    def _take(self, proposal: Proposal) -> Proposal:
        row = self._encoder.row(proposal.params)
        self._known.add(_key(row))
        self._left.pop(_key(row), None)
        self._taken.append(proposal.params)
        self._pending = np.vstack([self._pending, row])
        if self._surrogate is not None:
            self._surrogate.expect(row[None])
        return proposal

    def _first(self, rows: Floats, attrs: dict[str, object]) -> Proposal | None:
        """Returns the first of `rows` that may be trained next."""
        for row in rows:
            point = self._encoder.point(row)
            key = _key(self._encoder.row(point))
            if key in self._left:
                return Proposal(point, {}, self._left[key])
            if key not in self._known and self._encoder.space.is_feasible(point):
                return Proposal(point, attrs)
        return None

    def _first_new(self, rows: Floats) -> Point | None:
        new = (p for p in map(self._encoder.point, rows) if _key(self._encoder.row(p)) not in self._known)
        return next((point for point in new if self._encoder.space.is_feasible(point)), None)

    def _any(self, rng: np.random.Generator) -> Point | None:
        space = self._encoder.space
        seen = {identity(canonical(space, params)) for params in (*self._params, *self._taken)}
        return UnseenPoints(space, _plain(rng), seen).draw()

    def _default(self, rng: np.random.Generator) -> Point | None:
        space = self._encoder.space
        if not (defaults := given_defaults(space)):
            return None
        random = _plain(rng)
        draws = (draw_point(space, random, defaults) for _ in range(DEFAULT_DRAWS))
        new = (point for point in draws if _key(self._encoder.row(point)) not in self._known)
        return next((point for point in new if space.is_feasible(point)), None)


def _plain(rng: np.random.Generator) -> Random:
    return Random(int(rng.integers(2**31)))


def _keys(rows: Floats) -> list[bytes]:
    # Rows within 1e-10 of a range are the same point: another process may compute a different last bit
    return [row.tobytes() for row in np.round(rows, 10) + 0.0]


def _key(row: Floats) -> bytes:
    return _keys(row[None])[0]
