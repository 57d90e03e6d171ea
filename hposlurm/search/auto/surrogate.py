"""Models losses over points and rungs, and finds the points with the largest expected improvement at the last rung."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hposlurm.search.auto import gaussian
from hposlurm.search.auto.acquisition import (
    Indices,
    candidates,
    chosen_data,
    log_expected_improvement,
    mutations,
    standardised,
)
from hposlurm.search.auto.encoding import Encoder, Floats
from hposlurm.search.auto.gaussian import Process, Settings
from hposlurm.search.auto.records import LossTable

MOST_DATA = 150  # the time of a fit grows with its cube: 40 ms with 150. Not tuned.
PARENTS = 5  # points that mutations start from; not tuned
# The best candidates are varied in rounds: in six and more dimensions the maximum lies near them, not among random
# points. With the longer LENGTH_PRIOR the regret is .82 ± .13 times as high at 5 full trainings (60 pairs).
ROUNDS = 2
VARIED = 100  # candidates of a round
# The settings are fitted again once the study has GROWTH times the trials of the last fit, plus MORE. With a fit at
# every change the regret was 1.36 ± .27 times as high (22 pairs).
GROWTH = 1.1
MORE = 2
FAILED_LIKE = 0.75  # a failed trial counts like this quantile of the losses; not tuned


@dataclass(frozen=True, slots=True)
class Kept:
    """Settings of the process as they are kept with a trial."""

    #: how many trials there were at the fit
    trials: int
    settings: Settings
    #: the lowest rung whose values were learned from
    lowest: int = 0

    def to_json(self) -> dict[str, object]:
        return {"trials": self.trials, "settings": self.settings.vector().tolist(), "lowest": self.lowest}

    @classmethod
    def newest(cls, attrs: Sequence[Mapping[str, object]], name: str, features: int, lowest: int) -> Kept | None:
        """Returns the last settings under `name` with this many features and this lowest rung; None without any.

        Settings that were fitted to rungs without information are not a better start than none.
        """
        for kept in reversed(attrs):
            match kept.get(name):
                case {"trials": int(trials), "settings": [*numbers], **rest} if len(numbers) == features + 2:
                    is_finite = all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)
                    if is_finite and rest.get("lowest", 0) == lowest:
                        return cls(trials, Settings.from_vector(numbers), lowest)
        return None

    def is_fresh(self, trials: int) -> bool:
        return trials <= GROWTH * self.trials + MORE


class Surrogate:
    """A Gaussian process that learns all (point, rung, loss) triples, or a selection if there are many.

    Running trials count with the loss that the process expects, so that their points are not proposed again.
    """

    def __init__(
        self,
        encoder: Encoder,
        records: LossTable,
        kept: Kept | None,
        trials: int,
        rng: np.random.Generator,
        lowest: int = 0,
    ) -> None:
        trial, rung, loss = _lessons(records)
        chosen = chosen_data(loss, rung, rng, MOST_DATA)
        self._encoder = encoder
        self._top = records.top
        self._target = int(rung.max())  # above the last rung with a value predictions would be guesses
        self._seen = records.rows[np.unique(trial[chosen])]
        x = self._inputs(records.rows[trial[chosen]], rung[chosen])
        y = standardised(loss[chosen])
        if kept is None or not kept.is_fresh(trials):
            starts = [Settings.default(x.shape[1])] + ([] if kept is None else [kept.settings])
            found = gaussian.fit(x, y, starts)
            rounded = [round(number, 6) for number in found.vector().tolist()]
            kept = Kept(trials, Settings.from_vector(rounded), lowest)
        self.kept = kept
        self._process = Process(kept.settings, x, y)
        self.expect(records.rows[records.is_open & records.inside])

    @staticmethod
    def features(encoder: Encoder, top: int) -> int:
        """Returns how many features the process has, given a space and the index of the last rung."""
        return sum(axis.choices if axis.is_choice else 1 for axis in encoder.axes) + (top > 0)

    def expect(self, rows: Floats) -> None:
        """Counts the points of `rows` as running from now on."""
        self._process = self._process.believing(self._at_target(rows))

    def ranked(self, rng: np.random.Generator, extra: Floats) -> Floats:
        """Returns the rows of candidates and of `extra`, the largest expected improvement first."""
        means = self._process.mean(self._at_target(self._seen))
        best, parents = float(means.min()), self._seen[np.argsort(means, kind="stable")[:PARENTS]]
        rows = np.vstack([candidates(self._encoder, rng, parents), extra])
        gains = self._gains(rows, best)
        for _ in range(ROUNDS if self._encoder.size else 0):
            parents = rows[np.argsort(-gains, kind="stable")[:PARENTS]]
            varied = mutations(self._encoder, rng, parents, VARIED)
            rows, gains = np.vstack([rows, varied]), np.concatenate([gains, self._gains(varied, best)])
        return np.asarray(rows[np.argsort(-gains, kind="stable")])

    def _gains(self, rows: Floats, best: float) -> Floats:
        """Returns the logarithm of the expected improvement on `best` at each of `rows`."""
        return log_expected_improvement(*self._process.predict(self._at_target(rows)), best)

    def _at_target(self, rows: Floats) -> Floats:
        return self._inputs(rows, np.full(len(rows), self._target))

    def _inputs(self, rows: Floats, rungs: Indices) -> Floats:
        features = self._encoder.features(rows)
        return np.hstack([features, (rungs / self._top)[:, None]]) if self._top else features


def _lessons(records: LossTable) -> tuple[Indices, Indices, Floats]:
    """Returns all (trial, rung, loss) triples; infeasible trials are the worst, other failed ones bad."""
    losses = records.lessons
    finite = losses[np.isfinite(losses)]
    unknown = np.isnan(losses).all(axis=1)
    losses[unknown & records.is_infeasible, 0] = np.inf
    if len(finite):
        losses[unknown & records.is_failed & ~records.is_infeasible, 0] = np.quantile(finite, FAILED_LIKE)
    trial, rung = np.nonzero(~np.isnan(losses) & records.inside[:, None])
    return trial, rung, losses[trial, rung]
