"""templates/deepspeed/zero.json.j2 → the DeepSpeed configuration as a dictionary. Pure; does not need DeepSpeed.

Batch size, accumulation, clipping and precision are "auto" in it, so that the Hugging Face Trainer fills in its own
arguments. It names no optimizer and no scheduler: the Trainer then creates both, the same ones as without DeepSpeed.
DeepSpeed's own optimizer has one group of weights, so that biases and LayerNorm decay too; its schedules begin with two
steps at learning rate 0 (DeepSpeed 0.19.8).
"""

from __future__ import annotations

import json
from typing import Any

from hposlurm.errors import RequestError

ZERO_STAGES = (0, 1, 2, 3)
OFFLOADS = ("none", "cpu")


def ds_config(zero_stage: int, offload: str = "none") -> dict[str, Any]:
    """Returns the DeepSpeed configuration for a ZeRO stage.

    `offload` moves the optimizer state, and in stage 3 the weights, to the CPU. Stage 0 is DeepSpeed without sharding.
    Raises RequestError for a stage or an offload that does not exist, and for stage 0 with offload.
    """
    if zero_stage not in ZERO_STAGES:
        raise RequestError(f"ZeRO stage {zero_stage!r} does not exist; choose one of 0, 1, 2, 3")
    if offload not in OFFLOADS:
        raise RequestError(f"offload {offload!r} is not known; choose one of {', '.join(OFFLOADS)}")
    if zero_stage == 0 and offload != "none":
        raise RequestError("offload needs a ZeRO stage of 1 or more; stage 0 keeps everything on the GPU")
    from hposlurm.render.environment import filled, shipped  # Jinja2, which a reader of plans does not need

    source, values = "deepspeed/zero.json.j2", {"zero_stage": zero_stage, "offload": offload}
    text = filled(shipped(source), source, values, what="a DeepSpeed configuration")
    config: dict[str, Any] = json.loads(text)
    return config
