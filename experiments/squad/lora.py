"""LoRA and DoRA by peft: small trained matrices beside the frozen ones of a model."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from squad import DataError
from transformers import set_seed


def with_adapters(model: Any, args: Namespace) -> Any:
    """Returns the model with adapters beside the layers that --lora-targets names; nothing else is trained.

    Raises DataError without the package peft, or if the model has no such layers.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise DataError(f"--method {args.method} needs the package peft (pip install peft)") from error
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=args.lora_r,
        lora_alpha=args.lora_alpha,
        lora_dropout=args.lora_dropout,
        target_modules=_targets(args.lora_targets),
        use_rslora=args.lora_scaling == "rslora",
        use_dora=args.method == "dora",
        fan_in_fan_out=getattr(model.config, "model_type", "") == "gpt2",  # its layers are transposed
    )
    set_seed(args.seed)  # of the new matrices, the same on every rank
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise DataError(f"--lora-targets {args.lora_targets}: {str(error).splitlines()[0]}") from error


def _targets(named: str) -> str | list[str] | None:
    """Returns peft's target_modules: all linear layers but the last, the attention of the architecture, or names."""
    if named == "all-linear":
        return named
    return None if named == "attention" else [name.strip() for name in named.split(",")]


def save_merged(model: Any, tokenizer: Any, directory: Path) -> None:
    """Writes a model of its own into `directory`: the frozen weights with the adapters added to them."""
    merged = model.merge_and_unload()
    merged.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
