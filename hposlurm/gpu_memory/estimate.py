"""Adds up the memory of a training step on one GPU.

Weights, gradients and optimizer states are counted exactly, per tensor and as DeepSpeed shares them out. Activations
are the bytes that autograd saves, per token and layer, as counts that were measured (activations.py). See Korthikanti
et al. 2022 (arXiv:2205.05198) and Rajbhandari et al. 2020 (ZeRO, arXiv:1910.02054) for the kinds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, prod

from hposlurm.gpu_memory.activations import SAVED
from hposlurm.gpu_memory.setting import ACTIVATION_BYTES, WEIGHT_BYTES, Setting
from hposlurm.gpu_memory.shape import ModelShape, Tensor

_GB = 2**30  # as Slurm, nvidia-smi and vendors of cards count
# CUDA's context with cuBLAS and NCCL: 0.3 to 0.6 GB on V100 and A100, not part of torch.cuda.max_memory_allocated
_CONTEXT = 0.5 * _GB
# What the caching allocator cannot use, a share of what is in use; its own documentation names no figure, people report
# 2 to 10 % with equal lengths
_FRAGMENTS = 0.05
# DeepSpeed aligns flat buffers to this many numbers per rank (nccl_start_alignment_factor, ZeRO 1 and 2)
_ALIGNMENT = 2
_MASTER = 4  # DeepSpeed's optimizers work on fp32 copies


@dataclass(frozen=True, slots=True)
class Estimate:
    """The bytes of one GPU at the worst moment of a step, by what they are for."""

    weights: int
    gradients: int
    optimizer: int
    #: what the backward pass needs again, of all layers
    activations: int
    #: the head's output, its loss and their gradients
    logits: int
    #: DeepSpeed's buckets
    buckets: int
    #: the largest sum of gradients, activations and logits that exist at the same time
    at_once: int

    @property
    def allocated(self) -> int:
        """The bytes that torch.cuda.max_memory_allocated would show."""
        return self.weights + self.optimizer + self.buckets + self.at_once

    @property
    def gb(self) -> float:
        """The memory that the card needs, in units of 2**30 bytes: with CUDA's own, and with the cost of fragments."""
        return (self.allocated * (1 + _FRAGMENTS) + _CONTEXT) / _GB

    @property
    def largest(self) -> str:
        """The name of the largest part."""
        parts = ("weights", "gradients", "optimizer", "activations", "logits", "buckets")
        return max(parts, key=lambda name: getattr(self, name))


def estimate(shape: ModelShape, setting: Setting) -> Estimate:
    """Returns what `setting` needs for a model of `shape`. Raises ShapeError if LoRA's targets are not in it."""
    base = shape.tensors
    adapters: tuple[Tensor, ...] = ()
    if setting.method == "lora":
        adapters = shape.lora_tensors(setting.lora_rank, setting.lora_targets)
    trained = adapters or base
    frozen = base if adapters else ()
    activations = _activations(shape, setting)
    logits, head_gradient = _logits(shape, setting)
    gradients = _gradients(trained, setting)
    weights = _weights(frozen, trained, setting)
    # the backward pass begins with all activations, and ends with all gradients
    begin = activations + logits + (0 if adapters else head_gradient)
    if setting.accumulates:
        begin = activations + logits + gradients
    return Estimate(
        weights, gradients, _optimizer(trained, setting), activations, logits, _buckets(trained, setting),
        max(begin, gradients),
    )  # fmt: skip


def count(tensors: Iterable[Tensor]) -> int:
    """Returns how many numbers the tensors have."""
    return sum(map(prod, tensors))


def _weights(frozen: Sequence[Tensor], trained: Sequence[Tensor], setting: Setting) -> int:
    if setting.zero_stage == 3 and setting.offload == "all":
        return 0
    size = (lambda tensor: _shard(tensor, setting)) if setting.zero_stage == 3 else prod
    width = WEIGHT_BYTES[setting.precision]
    return width * sum(map(size, frozen)) + _trained_width(setting) * sum(map(size, trained))


def _trained_width(setting: Setting) -> int:
    """Returns the bytes of a trained weight, and of its gradient.

    peft keeps adapters in fp32 beside weights of 16 bits (autocast_adapter_dtype); DeepSpeed casts all alike.
    """
    return 4 if setting.method == "lora" and setting.zero_stage is None else WEIGHT_BYTES[setting.precision]


def _gradients(trained: Sequence[Tensor], setting: Setting) -> int:
    width = _trained_width(setting)
    if setting.zero_stage is None or setting.zero_stage < 2:
        return width * count(trained)
    if setting.offload != "none":
        return 0
    return width * (_flat(trained, setting) if setting.zero_stage == 2 else sum(_shard(t, setting) for t in trained))


def _optimizer(trained: Sequence[Tensor], setting: Setting) -> int:
    if setting.zero_stage is None:
        return sum(_states(tensor, setting, _trained_width(setting)) for tensor in trained)
    if setting.offload != "none":
        return 0
    if setting.zero_stage == 0 and setting.precision == "fp32":
        return sum(_states(tensor, setting, 4) for tensor in trained)
    if setting.zero_stage == 3:
        numbers = sum(_shard(tensor, setting) for tensor in trained)
    else:
        numbers = count(trained) if setting.zero_stage == 0 else _flat(trained, setting)
    return _MASTER * numbers + _states((numbers,), setting, _MASTER)


def _states(tensor: Tensor, setting: Setting, width: int) -> int:
    """Returns the bytes of an optimizer's states for one tensor, without its counters of steps."""
    numbers = prod(tensor)
    match setting.optimizer:
        case "adamw":
            return 2 * width * numbers
        case "adamw_8bit":  # tensors below 4096 numbers stay fp32; one fp32 scale per block of 256
            return 8 * numbers if numbers < 4096 else 2 * (numbers + 4 * ceil(numbers / 256))
        case "momentum":
            return width * numbers
        case "adafactor":  # rows and columns instead of a whole matrix, in fp32
            return 4 * (tensor[0] + tensor[1] if len(tensor) > 1 else numbers)
    return 0


def _shard(tensor: Tensor, setting: Setting) -> int:
    """Returns how many numbers of a tensor a rank has with ZeRO-3."""
    return ceil(prod(tensor) / setting.world_size)


def _flat(trained: Sequence[Tensor], setting: Setting) -> int:
    """Returns how many numbers a rank has of the flat buffers of ZeRO-1 and ZeRO-2: one per group of parameters.

    Weights decay, biases and norms do not: two groups.
    """
    groups = ([t for t in trained if len(t) > 1], [t for t in trained if len(t) == 1])
    unit = setting.world_size * _ALIGNMENT
    return sum(ceil(count(group) / unit) * _ALIGNMENT for group in groups)


def _buckets(trained: Sequence[Tensor], setting: Setting) -> int:
    """Returns the bytes of the bucket that collects gradients before they are reduced."""
    if setting.zero_stage is None or setting.world_size == 1:
        return 0
    return WEIGHT_BYTES[setting.precision] * min(setting.bucket_size, count(trained))


def _activations(shape: ModelShape, setting: Setting) -> int:
    tokens, width = setting.batch_size * setting.max_length, ACTIVATION_BYTES[setting.precision]
    layer = tokens * SAVED[shape.family].saved(setting).per_token(shape, setting)
    norm = tokens * shape.hidden * (2 * width if width == 4 else 4 + 2 * width)  # the one before the head
    if setting.gradient_checkpointing:  # the input of each layer, and one layer anew
        return shape.layers * tokens * shape.hidden * width + layer + norm
    casts = 0
    if setting.precision == "mixed":  # autocast keeps a copy of each matrix for the backward pass
        casts = width * shape.layers * sum(m.inputs * m.outputs for m in shape.matrices)
    return shape.layers * layer + norm + casts


def _logits(shape: ModelShape, setting: Setting) -> tuple[int, int]:
    """Returns the bytes of the logits and of what becomes of them, and of the gradient of the head's weights.

    The loss computes in fp32: it keeps its softmax and makes a gradient of that size.
    """
    numbers = setting.batch_size * setting.max_length * shape.vocabulary
    head = shape.vocabulary * shape.hidden * _trained_width(setting)
    return numbers * (ACTIVATION_BYTES[setting.precision] + 8), head
