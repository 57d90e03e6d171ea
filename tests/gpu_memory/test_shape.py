"""Models by their config.json: published sizes, and what is refused."""

from __future__ import annotations

import pytest

from hposlurm.gpu_memory import FAMILIES, ShapeError, shape_of

BLOOM_560M = {"model_type": "bloom", "n_embed": 1024, "n_layer": 24, "num_attention_heads": 16, "vocab_size": 250880}
LLAMA_1B = {
    "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128256,
    "tie_word_embeddings": True,
}  # fmt: skip
GPT2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257, "n_positions": 1024}
QWEN_05B = {
    "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
    "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True,
}  # fmt: skip


# the counts that the models' cards and papers give: BLOOM-560m, Llama 3.2 1B, GPT-2, Qwen2.5 0.5B
@pytest.mark.parametrize(
    ("config", "count"),
    [(BLOOM_560M, 559_214_592), (LLAMA_1B, 1_235_814_400), (GPT2, 124_439_808), (QWEN_05B, 494_032_768)],
)
def test_the_number_of_parameters_is_the_published_one(config, count):
    assert shape_of(config).parameters == count


def test_lora_adds_two_thin_matrices_to_each_target():
    shape = shape_of(GPT2)
    assert shape.lora_tensors(8) == ((8, 768), (3 * 768, 8)) * 12
    assert len(shape.lora_tensors(8, ("all-linear",))) == 2 * 4 * 12
    with pytest.raises(ShapeError, match=r"no layer of gpt2 is called q_proj; known: c_attn, .*, all-linear"):
        shape.lora_tensors(8, ("q_proj",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mamba"}, r"model_type 'mamba' is not known; known: bloom, "),
        ({"model_type": ["bloom"]}, r"is not known"),
        ({"n_layer": 0}, r"n_layer must be a whole number above 0, not 0"),
        ({"n_layer": True}, r"n_layer must be"),
        ({"vocab_size": "many"}, r"vocab_size must be"),
        ({"vocab_size": None}, r"the config has no vocab_size"),
    ],
)
def test_a_config_that_describes_no_known_model_is_refused_by_a_sentence(change, message):
    with pytest.raises(ShapeError, match=message):
        shape_of({**BLOOM_560M, **change})


def test_every_family_has_counts_of_its_activations():
    from hposlurm.gpu_memory.activations import SAVED

    assert SAVED.keys() == FAMILIES.keys()
