"""The names of parameters and metrics, and how they are written where only letters, digits and _ are allowed."""

from __future__ import annotations

import keyword
from collections.abc import Iterable


def variable(name: str) -> str:
    """Returns the name of a parameter or metric where only letters, digits and _ are allowed.

    Any other character becomes two underscores (optimizer.lr: optimizer__lr), and a Python keyword gets one at its end
    (lambda: lambda_).
    """
    text = "".join(c if c == "_" or (c.isascii() and c.isalnum()) else "__" for c in name)
    return f"{text}_" if keyword.iskeyword(text) else text


def group_metrics(groups: Iterable[str], metrics: Iterable[str]) -> dict[str, str]:
    """Returns the metric that each group of `trial.metric_pattern` reports.

    It is the one of `metrics` that the group stands for (val__loss: val/loss), else the group's own name.
    """
    known = set(metrics)
    stands_for = {variable(metric): metric for metric in known}
    return {group: group if group in known else stands_for.get(group, group) for group in groups}
