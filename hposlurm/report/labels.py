"""Labels of trials for people: the number and the parameters that differ, shortened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hposlurm.report.numbers import shorten
from hposlurm.trial import ParamValue, Trial, param_text

_LONGEST_LABEL = 60
_LONGEST_VALUE = 12


def differing(trials: Sequence[Trial]) -> tuple[str, ...]:
    """Returns the parameters that do not have the same value in all trials, in the order of their appearance.

    A parameter that some trials do not have differs.
    """
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    return tuple(name for name in names if len({_key(trial.params, name) for trial in trials}) > 1)


def _key(params: Mapping[str, ParamValue], name: str) -> tuple[str, ParamValue] | None:
    return (type(params[name]).__name__, params[name]) if name in params else None


def labels_of(trials: Sequence[Trial]) -> dict[int, str]:
    """Returns a label for each trial's number: "17 lr=3e-5 bs=16"."""
    names = differing(trials)
    return {trial.number: label(trial, names) for trial in trials}


def label(trial: Trial, names: Iterable[str]) -> str:
    """Returns the number of a trial and its values of the parameters `names`, within 60 characters."""
    pairs = (f"{_short_name(name)}={_short(trial.params[name])}" for name in names if name in trial.params)
    return shorten(" ".join([str(trial.number), *pairs]), _LONGEST_LABEL)


def _short_name(name: str) -> str:
    """Returns the last part of a dotted name: `optimizer.lr` is lr."""
    return name.rpartition(".")[2].rpartition("/")[2] or name


def _short(value: ParamValue) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else param_text(value)
    return shorten(text, _LONGEST_VALUE)
