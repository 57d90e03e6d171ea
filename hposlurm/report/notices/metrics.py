"""Notices on metrics: an objective that is constant, or has a value that it cannot have."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from hposlurm.report.notices.notice import Evidence, Notice
from hposlurm.report.numbers import shown
from hposlurm.trial import is_finite, latest_metrics

_LEAST_TRIALS = 3
_LOOKED_AT = 10  # trials for the size of the vocabulary, which all of them have
# The largest vocabularies in use have about 262,000 entries (Gemma 3, 2025); guessing costs the logarithm of that.
_LARGEST_VOCABULARY = 2**18
_VOCABULARY = ("vocab_size", "vocabulary_size", "n_vocab")
# Names that people give a mean cross-entropy per token; a sum, or the loss of a regression, has another one
_CROSS_ENTROPY = re.compile(r"(?:^|[/_.-])(?:loss|cross_entropy|ce_loss|nll|nll_loss)$")
_SHARE = re.compile(r"(?:^|[/_.-])(?:acc|accuracy|f1|exact_match|em|bleu|rouge\w*|precision|recall|auc|auroc)$")
_PERPLEXITY = re.compile(r"(?:^|[/_.-])(?:ppl|perplexity)$")
_NO_CROSS_ENTROPY = re.compile(r"mse|mae|l1|l2|huber|kl|reward|value|policy")


def metric_notices(found: Evidence) -> Iterator[Notice]:
    """Yields the notices on each objective."""
    if len(found.complete) < _LEAST_TRIALS:
        return
    for position, objective in enumerate(found.spec.objectives):
        values = [(trial.values or ())[position] for trial in found.complete]
        numbers = tuple(trial.number for trial in found.complete)
        if len(set(values)) == 1 and len({trial.signature for trial in found.complete}) > 1:
            yield Notice(
                "constant_metric",
                f"{objective.metric} is {shown(values[0])} in all {len(values)} completed trials, whatever their "
                "parameters",
                "look whether the metric is computed from the trained model, and whether the parameters reach the "
                "training",
                numbers,
            )
        elif why := _impossible(found, objective.metric, values):
            beyond = tuple(n for n, value in zip(numbers, values, strict=True) if _is_beyond(why[0], value))
            yield Notice("impossible_metric", f"{objective.metric} {why[1]}", why[2], beyond)


Beyond = tuple[tuple[float, float], str, str]  # the bounds, what is the case, what to do


def _is_beyond(bounds: tuple[float, float], value: float) -> bool:
    return not bounds[0] <= value <= bounds[1]


def _impossible(found: Evidence, metric: str, values: list[float]) -> Beyond | None:
    """Returns why the metric cannot have its values; None if it can."""
    name = metric.lower()
    if _SHARE.search(name) and (min(values) < 0 or max(values) > 100):
        return (0.0, 100.0), "is below 0 or above 100", "look at how it is computed"
    if _PERPLEXITY.search(name) and min(values) < 1:
        return (1.0, math.inf), "is below 1, which no perplexity is", "look at how it is computed"
    if not _CROSS_ENTROPY.search(name) or _NO_CROSS_ENTROPY.search(name):
        return None
    if min(values) < 0:
        return (0.0, math.inf), "is below 0, which no cross-entropy is", "look at how it is computed"
    vocabulary, source = _vocabulary(found)
    most = math.log(vocabulary)
    if min(values) > most:  # of single trials that have diverged it is no news
        what = f"is above ln({vocabulary:,}) = {most:.2f} even in the best trial: worse than guessing among {source}"
        return (0.0, most), what, "look whether it is a sum instead of a mean, and whether the labels fit the model"
    return None


def _vocabulary(found: Evidence) -> tuple[int, str]:
    """Returns the size of the vocabulary, and what it is that of."""
    for trial in found.complete[:_LOOKED_AT]:
        known = {**latest_metrics(trial.attempts), **trial.params}
        for name in _VOCABULARY:
            value = known.get(name)
            if is_finite(value) and value >= 2:
                return int(value), f"the {int(value):,} tokens of its vocabulary"
    return _LARGEST_VOCABULARY, "as many tokens as the largest vocabularies have"
