"""`tiny-bloom`: a BLOOM small enough for a laptop, built from a config, with a tokenizer trained on the given data.

Downloads nothing. The same texts and seed give the same tokenizer and weights in every process.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import BloomConfig, BloomForCausalLM, PreTrainedTokenizerFast, set_seed

VOCABULARY = 2048  # maximum; enough for one token per frequent word of the data


def tiny_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Returns a byte-level BPE tokenizer (like BLOOM's own) trained on `texts`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=2,
        special_tokens=["<unk>", "<s>", "</s>", "<pad>"],  # BLOOM's, in its order
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def tiny_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> BloomForCausalLM:
    """Returns a model with two layers of width 64 and random fp32 weights.

    With many heads and a wide initializer range it learns to copy from the context in a few hundred steps
    (experiments/LOG.md).
    """
    set_seed(seed)
    return BloomForCausalLM(
        BloomConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            n_layer=2,
            n_head=16,
            initializer_range=0.1,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            use_cache=True,
        )
    )
