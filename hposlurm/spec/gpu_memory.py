"""The section `gpu_memory`: what a trial's training is, so that its memory can be estimated before it runs.

The model's config.json is read once, before the launch, and frozen with the study.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hposlurm.errors import Problem
from hposlurm.gpu_memory import CARDS_GB, ShapeError, card_gb, shape_of
from hposlurm.records.reading import read_whole
from hposlurm.spec.fields import Number, Section, Text, complaint

_PATH = "gpu_memory.model"
_MOST_BYTES = 2**20  # real ones have a few kilobytes
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
#: The keys of a config.json that decide sizes; the others are not frozen.
_SIZES = frozenset(
    {
        *("model_type", "vocab_size", "tie_word_embeddings", "attention_bias", "mlp_bias"),
        *("hidden_size", "n_embed", "n_embd", "word_embed_proj_dim"),
        *("n_layer", "num_hidden_layers", "n_head", "num_attention_heads", "num_key_value_heads", "head_dim"),
        *("intermediate_size", "n_inner", "ffn_dim", "n_positions", "max_position_embeddings"),
    }
)

#: A number, or an expression over parameters and facts of the resources: `bs`, `batch * 2`.
Quantity = int | Text


class GpuMemorySection(Section):
    """The training, as far as it takes memory. A key without a value takes the parameter of a usual name."""

    #: In the file: a directory with config.json, such a file, or a model of the Hub that is in its cache. Relative
    #: paths are relative to the study file.
    model: Text | None = None
    #: What of config.json decides sizes; a file may have it instead of `model`.
    config: dict[str, int | bool | str | None] = Field(default={})
    #: None: resources.gpu_memory_gb, else by resources.gpu_type.
    card: Text | None = None
    #: Sequences per GPU and step.
    batch_size: Quantity | None = None
    #: Tokens per sequence.
    max_length: Quantity | None = None
    #: full or lora; or the name of a parameter with these choices.
    method: Text | None = None
    lora_rank: Quantity | None = None
    #: Names of matrices, or all-linear; (): what peft takes by default.
    lora_targets: tuple[Text, ...] = ()
    #: fp32, fp16, bf16, or mixed: fp32 weights under autocast; or the name of a parameter. None: fp16 with DeepSpeed,
    #: else mixed.
    precision: Text | None = None
    optimizer: Text | None = None
    #: None: trial.deepspeed.zero_stage.
    zero_stage: Quantity | None = None
    #: What DeepSpeed keeps in the host's memory.
    offload: Literal["none", "optimizer", "all"] | None = None
    gradient_checkpointing: bool | Text | None = None
    dropout: bool = True
    #: Gradients of several batches are added up before a step.
    accumulates: bool = False
    #: What of the card's memory others use.
    reserved_gb: Annotated[Number, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _is_known(self) -> GpuMemorySection:
        if self.card is not None and card_gb(self.card) is None:
            known = ", ".join(CARDS_GB)
            raise complaint(f"card {self.card!r} is not known: {known}; or set resources.gpu_memory_gb")
        if not self.config:
            if self.model is None:
                raise complaint("needs model (a directory with config.json), or config")
            return self  # the file has its own message
        try:
            shape_of(self.config)
        except ShapeError as error:
            raise complaint(f"config: {error}") from None
        return self


def with_model_config(data: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Returns the study file's data with the sizes of its model in `gpu_memory.config`, and the problems."""
    section = data.get("gpu_memory")
    if not isinstance(section, dict) or section.get("config") or not isinstance(section.get("model"), str):
        return data, []
    name = section["model"]
    file = _config_file(name)
    if file is None:
        hint = "name a directory with config.json, or write its sizes into gpu_memory.config"
        return data, [Problem(_PATH, f"{name} has no config.json, and is not in the Hub's cache", hint)]
    try:
        found = json.loads(read_whole(file, _MOST_BYTES))
        if not isinstance(found, dict):
            raise ValueError("it is not a mapping")
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return data, [Problem(_PATH, f"{file} cannot be read: {reason}")]
    sizes = {key: value for key, value in found.items() if key in _SIZES and isinstance(value, int | str)}
    return {**data, "gpu_memory": {**section, "config": sizes}}, []


def _config_file(name: str) -> Path | None:
    path = Path(name)
    for file in (path / "config.json", path):
        if file.is_file():
            return file
    hub_name = "/".join(path.parts[-2:])  # a relative path was made absolute
    if not _HUB_NAME.fullmatch(hub_name):
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    cached = try_to_load_from_cache(hub_name, "config.json")
    return Path(cached) if isinstance(cached, str) else None
