"""The estimate against what transformers, peft and torch's optimizers really make, on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from math import prod
from pathlib import Path
from typing import Any

import pytest

from hposlurm.gpu_memory import FAMILIES, Setting, estimate, shape_of

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

ZERO_STATES = Path(__file__).with_name("zero_states.py")

_SMALL = {
    "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 131, "intermediate_size": 80,
    "max_position_embeddings": 64, "num_key_value_heads": 2,
}  # fmt: skip
_OWN: dict[str, dict[str, Any]] = {
    "bloom": {"hidden_size": 48, "n_layer": 2, "n_head": 4, "vocab_size": 131},
    "gpt2": {"n_embd": 48, "n_layer": 2, "n_head": 4, "vocab_size": 131, "n_positions": 64},
    "opt": {**_SMALL, "ffn_dim": 80, "word_embed_proj_dim": 48},
    **{name: {**_SMALL, "head_dim": 16} for name in ("qwen3", "gemma", "gemma2", "gemma3_text")},
}


def made(family: str, dtype: str = "float32", **changes: Any) -> tuple[Any, dict[str, Any]]:
    """A small random model of the family, and its config.json."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    values = {**_OWN.get(family, _SMALL), "bos_token_id": 1, "eos_token_id": 2, **changes}
    config = AutoConfig.for_model(family, **values)
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    return model, {**config.to_dict(), "model_type": family}


def size_of(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def step(model: Any, optimizer: Any) -> None:
    """Trains one step."""
    import torch

    ids = torch.arange(24).reshape(2, 12)
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()


def states(optimizer: Any) -> int:
    """The bytes of an optimizer's states, without its single numbers: steps, and Adafactor's RMS."""
    import torch

    return size_of(
        value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value) and value.ndim
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_every_tensor_of_every_family_is_known(family):
    model, config = made(family)
    shape = shape_of(config)
    assert sorted(p.numel() for p in model.parameters()) == sorted(map(prod, shape.tensors))
    untied, config = made(family, tie_word_embeddings=False)
    if family not in ("bloom", "gpt2", "opt"):  # these have no head of their own in any published model
        assert sum(p.numel() for p in untied.parameters()) == shape_of(config).parameters


@pytest.mark.parametrize("optimizer", ["adamw", "momentum", "sgd", "adafactor"])
def test_weights_gradients_and_optimizer_states_are_exact(optimizer):
    import torch
    from transformers.optimization import Adafactor

    model, config = made("llama")
    build = {
        "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3),
        "momentum": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9),
        "sgd": lambda p: torch.optim.SGD(p, lr=1e-3),
        "adafactor": lambda p: Adafactor(p, lr=1e-3, relative_step=False),
    }[optimizer]
    used = build(model.parameters())
    step(model, used)
    found = estimate(shape_of(config), Setting(2, 12, optimizer=optimizer))
    assert found.weights == size_of(model.parameters())
    assert found.gradients == size_of(p.grad for p in model.parameters())
    assert found.optimizer == states(used)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("targets", [(), ("all-linear",)])
def test_lora_is_exact_in_every_family(family, targets):
    peft = pytest.importorskip("peft")
    import torch

    model, config = made(family, "bfloat16")
    lora = peft.LoraConfig(r=3, task_type="CAUSAL_LM", target_modules=targets[0] if targets else None)
    model = peft.get_peft_model(model, lora)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    step(model, optimizer)
    setting = Setting(2, 12, method="lora", lora_rank=3, lora_targets=targets, precision="bf16")
    found = estimate(shape_of(config), setting)
    assert found.weights == size_of(model.parameters())
    assert found.gradients == size_of(p.grad for p in trained)
    assert found.optimizer == states(optimizer)


@pytest.mark.parametrize(
    ("family", "dtype", "changes"),
    [
        ("bloom", "bfloat16", {"hidden_dropout": 0.0, "attention_dropout": 0.0}),
        ("bloom", "float32", {"hidden_dropout": 0.1, "attention_dropout": 0.1}),
        ("llama", "bfloat16", {}),
        ("qwen2", "float32", {}),
        ("gpt2", "bfloat16", {"resid_pdrop": 0.0, "attn_pdrop": 0.0, "embd_pdrop": 0.0}),
    ],
)
def test_the_peak_of_a_step_is_within_15_percent_of_pytorchs_own_tracker(family, dtype, changes):
    """torch's MemTracker counts the live storages of all kinds, as the allocator of a GPU would have them."""
    import torch
    from torch.distributed._tools.mem_tracker import MemTracker

    sizes = {
        "hidden_size": 128, "n_embd": 128, "intermediate_size": 352, "n_layer": 4, "num_hidden_layers": 4,
        "vocab_size": 3000, "max_position_embeddings": 256, "n_positions": 256,
    }  # fmt: skip
    known = {**_OWN.get(family, _SMALL)}
    model, config = made(family, dtype, **{k: v for k, v in sizes.items() if k in known}, **changes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=False)
    ids = torch.randint(0, 3000, (4, 128))
    tracker = MemTracker()
    tracker.track_external(model, optimizer, ids)
    with tracker:
        for number in range(2):  # the states exist from the second step on
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if not number:
                tracker.reset_mod_stats()
    peak = max(kinds["Total"] for kinds in tracker.get_tracker_snapshot("peak").values())
    has_dropout = any(value for key, value in changes.items() if "drop" in key)
    precision = "fp32" if dtype == "float32" else "bf16"
    found = estimate(shape_of(config), Setting(4, 128, precision=precision, has_dropout=has_dropout))
    assert found.allocated == pytest.approx(peak, rel=0.15)


def test_what_two_ranks_of_deepspeed_keep_is_exact():
    """Up to padding: DeepSpeed shares out each group, and with ZeRO-3 each tensor, in equal parts."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(ZERO_STATES)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(found) == 8
    shape = shape_of({"model_type": "bloom", "hidden_size": 36, "n_layer": 3, "n_head": 4, "vocab_size": 133})
    for each in found:
        setting = Setting(1, 16, precision=each["precision"], zero_stage=each["stage"], world_size=2)
        expected = estimate(shape, setting)
        assert (each["weights"], each["optimizer"]) == (expected.weights, expected.optimizer), each
