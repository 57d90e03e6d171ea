"""A new learning rate or weight decay for an optimizer that is under way.

Whoever restores an optimizer and its schedule from a checkpoint gets the values in it, whatever the run was started
with: the Trainer's schedule keeps the old learning rate to the end, DeepSpeed's for one more step, both keep the old
weight decay. A run that continues another one's checkpoint with values of its own must write them over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: A value for all of the training, or one from each step on.
Setting = float | Mapping[int, float]


def value_from(setting: Setting, step: int) -> float:
    """The value that holds behind `step`; raises ValueError if the setting has none so early."""
    if not isinstance(setting, Mapping):
        return setting
    begun = [begin for begin in setting if begin <= step]
    if not begun:
        raise ValueError(f"no value holds behind step {step}; they begin at the steps {', '.join(map(str, setting))}")
    return setting[max(begun)]


def set_learning_rate(optimizer: Any, scheduler: Any, value: float) -> None:
    """Makes `value` the learning rate that the schedule starts from or rises to, at once and from now on.

    For the schedulers of PyTorch that have base_lrs, of which the Trainer's are some, and for DeepSpeed's WarmupLR and
    its kind; `scheduler` None means that there is no schedule. Wrappers around either are seen through. Raises
    ValueError where groups of parameters have learning rates of their own, or for a scheduler of another kind.
    """
    scheduler, groups = _inner(scheduler), optimizer.param_groups
    if scheduler is None:
        _alike("learning rates", [group["lr"] for group in groups])
        _assign(groups, [value] * len(groups))
        return
    if hasattr(scheduler, "max_lrs"):  # DeepSpeed's
        _alike("learning rates", scheduler.max_lrs)
        scheduler.max_lrs = [value] * len(groups)
        scheduler.delta_lrs = [value - low for low in scheduler.min_lrs]
        rates = scheduler.get_lr() if scheduler.last_batch_iteration >= 0 else list(scheduler.min_lrs)
    elif hasattr(scheduler, "base_lrs"):
        (old, *_) = _alike("learning rates", scheduler.base_lrs)
        rates = _scaled(scheduler, groups, old, value)
        scheduler.base_lrs = [value] * len(groups)
        for group in groups:
            group["initial_lr"] = value
    else:
        raise ValueError(f"the learning rate of a {type(scheduler).__name__} cannot be set; it has no base_lrs")
    _assign(groups, rates)
    scheduler._last_lr = list(rates)


def set_weight_decay(optimizer: Any, value: float) -> None:
    """Makes `value` the weight decay from now on, where there is one.

    Groups of parameters that do not decay beside one that does stay so. Where none decays, the first one does from now
    on, which is where the Trainer puts the parameters that are meant to. Raises ValueError where groups have weight
    decays of their own.
    """
    groups = optimizer.param_groups
    decaying = [group for group in groups if group["weight_decay"]] or groups[:1]
    _alike("weight decays", [group["weight_decay"] for group in decaying])
    for group in decaying:
        group["weight_decay"] = value


def _inner(scheduler: Any) -> Any:
    while hasattr(scheduler, "scheduler"):
        scheduler = scheduler.scheduler
    return scheduler


def _scaled(scheduler: Any, groups: Sequence[Any], old: float, value: float) -> list[float]:
    """What each group's learning rate is now if the schedule had started from `value`."""
    if hasattr(scheduler, "lr_lambdas"):
        return [value * factor(scheduler.last_epoch) for factor in scheduler.lr_lambdas]
    if not old:
        raise ValueError("a schedule that started from a learning rate of 0 cannot be continued with another one")
    return [value * (float(group["lr"]) / old) for group in groups]


def _assign(groups: Sequence[Any], rates: Sequence[float]) -> None:
    for group, rate in zip(groups, rates, strict=True):
        if hasattr(group["lr"], "fill_"):  # a tensor, so that compiled steps see it
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _alike(what: str, values: Sequence[float]) -> Sequence[float]:
    if len(set(map(float, values))) > 1:
        shown = ", ".join(f"{value:g}" for value in values)
        raise ValueError(f"groups of parameters have {what} of their own ({shown}): which one is meant is not known")
    return values
