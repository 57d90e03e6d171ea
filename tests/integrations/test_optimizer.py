"""New learning rates and weight decays in optimizers that were restored."""

from __future__ import annotations

from typing import Any

import pytest

from hposlurm.integrations.optimizer import set_learning_rate, set_weight_decay, value_from

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]


def optimizer(rate: float, *decays: float) -> Any:
    import torch

    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "weight_decay": decay} for decay in decays or (0.1,)]
    return torch.optim.AdamW(groups, lr=rate)


def schedules(kind: str, optimizer: Any) -> Any:
    """Ten steps: two up, eight down."""
    from torch.optim.lr_scheduler import LambdaLR, LinearLR

    if kind == "the Trainer's":
        return LambdaLR(optimizer, lambda step: step / 2 if step < 2 else (10 - step) / 8)
    if kind == "chained":
        return LinearLR(optimizer, start_factor=1.0, end_factor=0.1, total_iters=10)
    from deepspeed.runtime.lr_schedules import WarmupDecayLR

    (rate,) = {group["lr"] for group in optimizer.param_groups}
    return WarmupDecayLR(optimizer, 10, warmup_max_lr=rate, warmup_num_steps=2, warmup_type="linear")


def rates(optimizer: Any, scheduler: Any, steps: int) -> list[float]:
    """The learning rates that so many steps take."""
    found = []
    for _ in range(steps):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("kind", ["the Trainer's", "chained", "DeepSpeed's"])
def test_a_restored_schedule_goes_on_as_if_it_had_begun_with_the_new_learning_rate(kind: str) -> None:
    parent, whole, child = optimizer(0.5), optimizer(0.2), optimizer(0.2)
    of_parent, of_whole, of_child = (schedules(kind, each) for each in (parent, whole, child))
    rates(parent, of_parent, 4)
    child.load_state_dict(parent.state_dict())
    of_child.load_state_dict(of_parent.state_dict())
    assert child.param_groups[0]["lr"] != pytest.approx(rates(whole, of_whole, 5)[4])  # this is the trap

    set_learning_rate(child, of_child, 0.2)

    expected = optimizer(0.2)
    schedule = schedules(kind, expected)
    assert rates(child, of_child, 5) == pytest.approx(rates(expected, schedule, 9)[4:])
    assert of_child.get_last_lr() == pytest.approx(schedule.get_last_lr())


def test_the_schedule_is_found_behind_wrappers_and_may_be_none() -> None:
    class Wrapper:
        def __init__(self, scheduler: Any) -> None:
            self.scheduler = scheduler

    one = optimizer(0.5)
    schedule = schedules("chained", one)
    set_learning_rate(one, Wrapper(Wrapper(schedule)), 0.2)
    assert schedule.base_lrs == [0.2]
    set_learning_rate(one, None, 0.3)
    assert one.param_groups[0]["lr"] == 0.3


def test_what_a_learning_rate_means_for_several_groups_is_not_guessed() -> None:
    for kind in (None, "the Trainer's"):
        one = optimizer(0.5, 0.1, 0.0)
        one.param_groups[1]["lr"] = 0.25
        schedule = kind and schedules(kind, one)
        with pytest.raises(ValueError, match="different learning rates"):
            set_learning_rate(one, schedule, 0.2)


@pytest.mark.parametrize(
    ("before", "after"),
    [((0.1,), (0.3,)), ((0.1, 0.0), (0.3, 0.0)), ((0.0, 0.0), (0.3, 0.0)), ((0.1, 0.1), (0.3, 0.3))],
)
def test_the_groups_that_decay_get_the_new_weight_decay(before: tuple[float, ...], after: tuple[float, ...]) -> None:
    one = optimizer(0.5, *before)
    set_weight_decay(one, 0.3)
    assert tuple(group["weight_decay"] for group in one.param_groups) == after


def test_weight_decays_that_differ_are_not_made_one() -> None:
    with pytest.raises(ValueError, match=r"different weight decays \(0.1, 0.2\)"):
        set_weight_decay(optimizer(0.5, 0.1, 0.2), 0.3)


def test_a_setting_holds_from_its_step_on() -> None:
    assert [value_from({0: 1.0, 3: 2.0}, step) for step in (0, 2, 3, 9)] == [1.0, 1.0, 2.0, 2.0]
    assert value_from(0.5, 7) == 0.5
    with pytest.raises(ValueError, match="begin at the steps 3"):
        value_from({3: 2.0}, 1)
