"""templates/deepspeed/zero.json.j2 → the DeepSpeed configuration as a dictionary. Pure; no DeepSpeed needed here.

Whatever a study may search (learning rate, weight decay, warm-up, batch size …) is "auto" in it, so that the Hugging
Face Trainer fills in its own arguments: a value that the JSON named, or forgot, would silently win.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from hposlurm.errors import RequestError

ZERO_STAGES = (0, 1, 2, 3)
OFFLOADS = ("none", "cpu")


def ds_config(zero_stage: int, offload: str = "none") -> dict[str, Any]:
    """The DeepSpeed configuration for a ZeRO stage, its optimizer state (stage 3: weights too) offloaded or not.

    Stage 0 is DeepSpeed without sharding. Raises RequestError for anything else than stages 0 to 3, an offload that
    does not exist, or stage 0 with offload.
    """
    if zero_stage not in ZERO_STAGES:
        raise RequestError(f"ZeRO stage {zero_stage!r} does not exist; choose one of 0, 1, 2, 3")
    if offload not in OFFLOADS:
        raise RequestError(f"offload {offload!r} is not known; choose one of {', '.join(OFFLOADS)}")
    if zero_stage == 0 and offload != "none":
        raise RequestError("offload needs a ZeRO stage of 1 or more; stage 0 keeps everything on the GPU")
    import jinja2  # here, so that a process which only reads plans does not pay for it

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = (files("hposlurm") / "templates" / "deepspeed" / "zero.json.j2").read_text("utf-8")
    text = environment.from_string(source).render(zero_stage=zero_stage, offload=offload)
    config: dict[str, Any] = json.loads(text)
    return config
