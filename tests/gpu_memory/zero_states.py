"""Prints what DeepSpeed really keeps per rank at each ZeRO stage, a line of JSON each. Runs under torchrun."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

os.environ["DS_ACCELERATOR"] = "cpu"

import deepspeed
import torch
from transformers import AutoConfig, AutoModelForCausalLM

# sizes that two ranks cannot share out evenly
CONFIG = {"hidden_size": 36, "n_layer": 3, "n_head": 4, "vocab_size": 133}


def size_of(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def measured(precision: str, stage: int) -> dict[str, int | str]:
    """Trains one step and returns the bytes of this rank's weights and of its optimizer's states and fp32 copies."""
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("bloom", **CONFIG))
    decays = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": decays, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    settings = {
        "train_micro_batch_size_per_gpu": 1,
        "zero_optimization": {"stage": stage},
        "bf16": {"enabled": precision == "bf16"},
    }
    engine, used, _, _ = deepspeed.initialize(model=model, optimizer=torch.optim.AdamW(groups), config=settings)
    ids = torch.arange(16).reshape(1, 16)
    engine.backward(engine(input_ids=ids, labels=ids).loss)
    engine.step()
    states = getattr(used, "optimizer", used).state
    found = size_of(t for state in states.values() for t in state.values() if torch.is_tensor(t) and t.ndim)
    if stage == 3:
        found += size_of(used.fp32_partitioned_groups_flat)
    elif stage or precision == "bf16":
        found += size_of(p for group in used.optimizer.param_groups for p in group["params"])
    weights = [p.ds_tensor if stage == 3 else p for p in engine.module.parameters()]
    return {"precision": precision, "stage": stage, "weights": size_of(weights), "optimizer": found}


def main() -> None:
    # its compiled collectives need a C++ compiler; gloo does not
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed("gloo")
    for precision in ("bf16", "fp32"):
        for stage in range(4):
            found = measured(precision, stage)
            if os.environ["RANK"] == "0":
                print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
