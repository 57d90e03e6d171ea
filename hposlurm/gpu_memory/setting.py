"""Describes a training as far as it takes memory."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

Method = Literal["full", "lora"]
Precision = Literal["fp32", "fp16", "bf16", "mixed"]
Optimizer = Literal["adamw", "adamw_8bit", "sgd", "momentum", "adafactor"]
Offload = Literal["none", "optimizer", "all"]

METHODS: tuple[str, ...] = get_args(Method)
PRECISIONS: tuple[str, ...] = get_args(Precision)
OPTIMIZERS: tuple[str, ...] = get_args(Optimizer)
OFFLOADS: tuple[str, ...] = get_args(Offload)

#: Bytes of a weight in each precision; "mixed" keeps fp32 weights and computes in 16 bits (torch.autocast, as the
#: Trainer does without DeepSpeed).
WEIGHT_BYTES = MappingProxyType({"fp32": 4, "fp16": 2, "bf16": 2, "mixed": 4})
#: Bytes of an activation.
ACTIVATION_BYTES = MappingProxyType({"fp32": 4, "fp16": 2, "bf16": 2, "mixed": 2})


@dataclass(frozen=True, slots=True)
class Setting:
    """One configuration of a training."""

    #: sequences per GPU and step
    batch_size: int
    #: tokens per sequence, after padding
    max_length: int
    method: Method = "full"
    #: the rank of LoRA's matrices
    lora_rank: int = 8
    #: the last words of the names of the matrices that get LoRA's; () stands for those that peft takes by default
    lora_targets: tuple[str, ...] = ()
    precision: Precision = "fp32"
    optimizer: Optimizer = "adamw"
    #: DeepSpeed's; None: training without DeepSpeed
    zero_stage: int | None = None
    #: what DeepSpeed keeps in the host's memory: the optimizer's states, or the parameters as well (ZeRO-3)
    offload: Offload = "none"
    #: the GPUs among which ZeRO shares
    world_size: int = 1
    gradient_checkpointing: bool = False
    #: False: no dropout keeps masks
    has_dropout: bool = True
    #: gradients of several batches are added up before a step
    accumulates: bool = False
    #: how many numbers DeepSpeed reduces at once (reduce_bucket_size, whose default this is)
    bucket_size: int = 500_000_000
