"""Tiny random models of the families that people fine-tune, as directories for --model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parents[2] / "experiments" / "data" / "squad-sample.json"
LLAMA = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA |= {"num_key_value_heads": 2, "max_position_embeddings": 512}
FAMILIES: dict[str, dict[str, Any]] = {
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512},
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "gemma": LLAMA | {"head_dim": 8},
}
BEGIN_WITH_BOS = ("llama", "mistral", "gemma")  # as the tokenizers of these families do


def tokenizer_of(family: str) -> Any:
    """Returns a tokenizer that begins a text as the family's does."""
    import squad
    from tiny_bloom import tiny_tokenizer
    from tokenizers.processors import TemplateProcessing

    examples = squad.read_examples(SAMPLE)[::4]
    tokenizer = tiny_tokenizer(f"{squad.prompt(e.question, e.context)} {e.answers[0]}" for e in examples)
    if family in BEGIN_WITH_BOS:
        begin = [("<s>", tokenizer.bos_token_id)]
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=begin)
    return tokenizer


def save_tiny(directory: Path, family: str, **config: Any) -> Path:
    """Writes a model of `family` with random weights and its tokenizer; `config` replaces values of its config."""
    from transformers import AutoConfig, AutoModelForCausalLM, set_seed

    tokenizer = tokenizer_of(family)
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    set_seed(0)
    shape = {**FAMILIES[family], **config}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, vocab_size=len(tokenizer), **ids, **shape))
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
