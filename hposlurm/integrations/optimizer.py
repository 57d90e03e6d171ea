"""Sets a new learning rate or weight decay in a running optimizer.

An optimizer and a schedule that are restored from a checkpoint have the values of the checkpoint, not those of the
run's arguments. The Trainer's schedule keeps the old learning rate to the end, DeepSpeed's for one more step; both keep
the old weight decay. A run that continues the checkpoint of another run must therefore overwrite them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: One value for the whole training, or values by the step from which each applies.
Setting = float | Mapping[int, float]


def value_from(setting: Setting, step: int) -> float:
    """Returns the value that applies after `step`. Raises ValueError if the setting begins later."""
    if not isinstance(setting, Mapping):
        return setting
    begun = [begin for begin in setting if begin <= step]
    if not begun:
        raise ValueError(f"no value applies after step {step}; they begin at the steps {', '.join(map(str, setting))}")
    return setting[max(begun)]


def set_learning_rate(optimizer: Any, scheduler: Any, value: float) -> None:
    """Sets `value` as the base (or peak) learning rate of the schedule, effective immediately.

    Supports PyTorch schedulers with base_lrs, which include the Trainer's, and DeepSpeed's WarmupLR family, also
    inside wrappers. `scheduler` is None if there is no schedule. Raises ValueError if parameter groups have different
    learning rates, or for another kind of scheduler.
    """
    scheduler, groups = _inner(scheduler), optimizer.param_groups
    if scheduler is None:
        _check_equal("learning rates", [group["lr"] for group in groups])
        _assign(groups, [value] * len(groups))
        return
    if hasattr(scheduler, "max_lrs"):  # DeepSpeed's
        _check_equal("learning rates", scheduler.max_lrs)
        scheduler.max_lrs = [value] * len(groups)
        scheduler.delta_lrs = [value - low for low in scheduler.min_lrs]
        rates = scheduler.get_lr() if scheduler.last_batch_iteration >= 0 else list(scheduler.min_lrs)
    elif hasattr(scheduler, "base_lrs"):
        (old, *_) = _check_equal("learning rates", scheduler.base_lrs)
        rates = _scaled(scheduler, groups, old, value)
        scheduler.base_lrs = [value] * len(groups)
        for group in groups:
            group["initial_lr"] = value
    else:
        raise ValueError(f"the learning rate of a {type(scheduler).__name__} cannot be set; it has no base_lrs")
    _assign(groups, rates)
    scheduler._last_lr = list(rates)


def set_weight_decay(optimizer: Any, value: float) -> None:
    """Sets `value` as the weight decay of all parameter groups that have one.

    Groups without weight decay keep none. If no group has one, the first group gets it: the Trainer puts the
    parameters that should decay there. Raises ValueError if groups have different weight decays.
    """
    groups = optimizer.param_groups
    decaying = [group for group in groups if group["weight_decay"]] or groups[:1]
    _check_equal("weight decays", [group["weight_decay"] for group in decaying])
    for group in decaying:
        group["weight_decay"] = value


def _inner(scheduler: Any) -> Any:
    while hasattr(scheduler, "scheduler"):
        scheduler = scheduler.scheduler
    return scheduler


def _scaled(scheduler: Any, groups: Sequence[Any], old: float, value: float) -> list[float]:
    """Returns each group's current learning rate as if the schedule had started from `value`."""
    if hasattr(scheduler, "lr_lambdas"):
        return [value * factor(scheduler.last_epoch) for factor in scheduler.lr_lambdas]
    if not old:
        raise ValueError("a schedule that started from a learning rate of 0 cannot continue with another one")
    return [value * (float(group["lr"]) / old) for group in groups]


def _assign(groups: Sequence[Any], rates: Sequence[float]) -> None:
    for group, rate in zip(groups, rates, strict=True):
        if hasattr(group["lr"], "fill_"):  # a tensor: in place, so that compiled steps see the change
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _check_equal(what: str, values: Sequence[float]) -> Sequence[float]:
    if len(set(map(float, values))) > 1:
        shown = ", ".join(f"{value:g}" for value in values)
        raise ValueError(f"parameter groups have different {what} ({shown}): it is not clear which one to replace")
    return values
