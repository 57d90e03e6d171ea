"""The DeepSpeed configuration: everything that a study may search is left to the Trainer."""

from __future__ import annotations

import pytest

from hposlurm.errors import RequestError
from hposlurm.render.deepspeed import ds_config


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_every_searched_value_is_auto(stage: int) -> None:
    config = ds_config(stage)

    searched = {
        "batch": config["train_batch_size"],
        "micro batch": config["train_micro_batch_size_per_gpu"],
        "accumulation": config["gradient_accumulation_steps"],
        "clipping": config["gradient_clipping"],
        "fp16": config["fp16"]["enabled"],
        "bf16": config["bf16"]["enabled"],
    }
    assert searched == dict.fromkeys(searched, "auto")


@pytest.mark.parametrize("offload", ["none", "cpu"])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_stage_arrives_and_the_optimizer_is_the_trainers(stage: int, offload: str) -> None:
    """Not DeepSpeed's, which has one group of weights; with offload not its CPU Adam, which needs a compiler."""
    config = ds_config(stage, offload)

    assert config["zero_optimization"]["stage"] == stage
    assert not {"optimizer", "scheduler"} & set(config)
    assert config.get("zero_force_ds_cpu_optimizer", True) is (offload == "none")


def test_only_stage_3_gathers_its_weights_to_save_them() -> None:
    key = "stage3_gather_16bit_weights_on_model_save"

    assert ds_config(3)["zero_optimization"][key] is True
    assert key not in ds_config(2)["zero_optimization"]


@pytest.mark.parametrize(
    ("stage", "offloaded"), [(1, {"offload_optimizer"}), (3, {"offload_optimizer", "offload_param"})]
)
def test_offload_moves_the_optimizer_and_in_stage_3_the_weights(stage: int, offloaded: set[str]) -> None:
    zero = ds_config(stage, "cpu")["zero_optimization"]

    assert {key for key in zero if key.startswith("offload")} == offloaded
    assert {zero[key]["device"] for key in offloaded} == {"cpu"}
    assert not {key for key in ds_config(stage)["zero_optimization"] if key.startswith("offload")}


@pytest.mark.parametrize(
    ("stage", "offload", "message"),
    [(4, "none", "ZeRO stage 4"), (2, "nvme", "offload 'nvme'"), (0, "cpu", "stage of 1 or more")],
)
def test_what_does_not_exist_is_refused(stage: int, offload: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        ds_config(stage, offload)
