"""The memory of a step, by what it is for; the tests against PyTorch and DeepSpeed are in test_against_torch.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hposlurm.gpu_memory import FAMILIES, METHODS, OPTIMIZERS, PRECISIONS, Setting, estimate, shape_of
from tests.gpu_memory.test_shape import BLOOM_560M, GPT2, LLAMA_1B

BLOOM = shape_of(BLOOM_560M)
SETTING = Setting(batch_size=4, max_length=512)
GB = 2**30

settings = st.builds(
    Setting,
    batch_size=st.integers(1, 64),
    max_length=st.integers(1, 4096),
    method=st.sampled_from(METHODS),
    lora_rank=st.integers(1, 64),
    lora_targets=st.sampled_from([(), ("all-linear",)]),
    precision=st.sampled_from(PRECISIONS),
    optimizer=st.sampled_from(OPTIMIZERS),
    zero_stage=st.sampled_from([None, 0, 1, 2, 3]),
    offload=st.sampled_from(["none", "optimizer", "all"]),
    world_size=st.integers(1, 16),
    gradient_checkpointing=st.booleans(),
    has_dropout=st.booleans(),
    accumulates=st.booleans(),
)
shapes = st.sampled_from([BLOOM, shape_of(LLAMA_1B), shape_of(GPT2)])


def test_the_parts_of_a_plain_training_are_those_of_the_textbook():
    found = estimate(BLOOM, SETTING)
    assert (found.weights, found.gradients, found.optimizer) == (4 * BLOOM.parameters,) * 2 + (8 * BLOOM.parameters,)
    mixed = estimate(BLOOM, replace(SETTING, precision="fp16", zero_stage=0))
    assert mixed.weights + mixed.gradients + mixed.optimizer == 16 * BLOOM.parameters  # Rajbhandari et al. 2020


def test_the_logits_of_a_large_vocabulary_are_the_largest_part_of_a_small_model():
    found = estimate(BLOOM, replace(SETTING, precision="fp16", zero_stage=2, batch_size=16))
    assert (
        found.logits
        == 16 * 512 * 250880 * (2 + 8)
        == max(found.weights, found.gradients, found.optimizer, found.logits)
    )
    assert estimate(shape_of(LLAMA_1B), SETTING).largest == "optimizer"


def test_zero_shares_out_what_its_stage_says_and_offload_takes_it_away():
    def parts(stage, **changes):
        found = estimate(BLOOM, replace(SETTING, precision="fp16", zero_stage=stage, world_size=8, **changes))
        return found.weights, found.gradients, found.optimizer

    whole, one, two, three = (parts(stage) for stage in range(4))
    assert one[:2] == whole[:2] and one[2] == pytest.approx(whole[2] / 8, rel=1e-5)
    assert two[0] == whole[0] and two[1] == pytest.approx(whole[1] / 8, rel=1e-5)
    assert three[0] == pytest.approx(whole[0] / 8, rel=1e-5)
    assert parts(2, offload="optimizer")[1:] == (0, 0) and parts(3, offload="all") == (0, 0, 0)


def test_lora_trains_little_and_keeps_the_weights():
    full, lora = (estimate(BLOOM, replace(SETTING, precision="bf16", method=m)) for m in METHODS)
    trained = 8 * (1024 + 3 * 1024) * 24
    assert lora.weights == full.weights + 4 * trained
    assert (lora.gradients, lora.optimizer) == (4 * trained, 8 * trained)


@given(shapes, settings)
def test_more_tokens_never_need_less_and_less_work_never_more(shape, setting):
    needed = estimate(shape, setting).gb
    assert needed > 0
    for key in ("batch_size", "max_length"):
        assert estimate(shape, replace(setting, **{key: getattr(setting, key) + 1})).gb >= needed
    if setting.method == "lora":
        assert estimate(shape, replace(setting, lora_rank=setting.lora_rank + 1)).gb >= needed
    less, more = (estimate(shape, replace(setting, has_dropout=has)).gb for has in (False, True))
    assert less <= more
    if setting.zero_stage is not None:
        less, more = (estimate(shape, replace(setting, offload=where)).gb for where in ("all", "none"))
        assert less <= more


@pytest.mark.parametrize("family", FAMILIES)
def test_checkpointing_saves_memory_in_every_family(family):
    shape = shape_of(
        dict.fromkeys(("hidden_size", "n_embd", "intermediate_size", "ffn_dim"), 256)
        | dict.fromkeys(("n_layer", "num_hidden_layers", "n_head", "num_attention_heads"), 8)
        | {"model_type": family, "vocab_size": 1000, "max_position_embeddings": 512, "head_dim": 32}
    )
    for precision in ("fp32", "bf16"):
        setting = replace(SETTING, precision=precision)
        assert (
            estimate(shape, replace(setting, gradient_checkpointing=True)).activations
            < estimate(shape, setting).activations / 2
        )
