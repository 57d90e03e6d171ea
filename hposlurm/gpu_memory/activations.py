"""How many bytes autograd saves per token in one layer of each family.

The counts were measured with PyTorch 2.13 and transformers 5.23 on the CPU: the storages that
torch.autograd.graph.saved_tensors_hooks sees in models with three layers, less those with two, by changing one size of
the model at a time. They are sums of whole tensors, so they are exact for these versions. Attention that a fused kernel
computes keeps no matrix of scores; BLOOM (ALiBi) and Gemma 2 (capped scores) compute it in parts and keep it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hposlurm.gpu_memory.setting import Setting
from hposlurm.gpu_memory.shape import ModelShape


@dataclass(frozen=True, slots=True)
class Saved:
    """Bytes per token and layer, for each number of a part of the model."""

    #: of the hidden state
    hidden: float
    #: of the feed-forward part; 0 where it is part of `hidden`
    inner: float = 0
    #: of all heads' queries
    queries: float = 0
    #: of the keys, and as much of the values
    keys: float = 0
    #: of the scores of one query and one key, per head
    scores: float = 0
    #: in addition with dropout, of the hidden state and of scores
    hidden_dropout: float = 0
    scores_dropout: float = 0

    def per_token(self, shape: ModelShape, setting: Setting) -> int:
        """Returns the bytes of one token in one layer."""
        has_dropout = setting.has_dropout
        hidden = self.hidden + (self.hidden_dropout if has_dropout else 0)
        scores = self.scores + (self.scores_dropout if has_dropout else 0)
        found = hidden * shape.hidden + self.inner * shape.inner
        found += self.queries * shape.heads * shape.head_size + 2 * self.keys * shape.kv_heads * shape.head_size
        return round(found + scores * shape.heads * setting.max_length)


@dataclass(frozen=True, slots=True)
class Family:
    """The counts of a family of models: each in fp32 and in half precision."""

    full: tuple[Saved, Saved]
    #: LoRA on the matrices that peft takes by default
    lora: tuple[Saved, Saved]
    #: LoRA on all linear layers
    lora_all: tuple[Saved, Saved]

    def saved(self, setting: Setting) -> Saved:
        """Returns the counts for this training; targets of LoRA that are named count as all of them."""
        adapted = self.lora_all if setting.lora_targets else self.lora
        pair = self.full if setting.method == "full" else adapted
        return pair[setting.precision != "fp32"]


_LLAMA = Family(
    full=(Saved(24, 16, 8, 8), Saved(16, 8, 4, 4)),
    lora=(Saved(12, 12, 8, 8), Saved(16, 6, 4, 4)),
    lora_all=(Saved(16, 16, 8, 8), Saved(28, 10, 8, 4)),
)
_GEMMA_3 = (Saved(40.25, 16, 16.5, 16.25), Saved(36.25, 8, 12.5, 12.25))

SAVED: Mapping[str, Family] = MappingProxyType(
    {
        "bloom": Family(
            full=(
                Saved(64, scores=4, hidden_dropout=8, scores_dropout=8),
                Saved(32, scores=6, hidden_dropout=4, scores_dropout=2),
            ),
            lora=(
                Saved(40, scores=4, hidden_dropout=8, scores_dropout=8),
                Saved(22, scores=6, hidden_dropout=4, scores_dropout=2),
            ),
            lora_all=(
                Saved(64, scores=4, hidden_dropout=8, scores_dropout=8),
                Saved(46, scores=6, hidden_dropout=4, scores_dropout=2),
            ),
        ),
        "gpt2": Family(
            full=(Saved(40, 20), Saved(20, 10, hidden_dropout=6)),
            lora=(Saved(36, 16), Saved(20, 8, hidden_dropout=4)),
            lora_all=(Saved(40, 20), Saved(28, 12, hidden_dropout=4)),
        ),
        "gpt_neox": Family(
            full=(Saved(32, 8, hidden_dropout=4), Saved(16, 4, hidden_dropout=8)),
            lora=(Saved(24, 4, hidden_dropout=4), Saved(14, 2, hidden_dropout=8)),
            lora_all=(Saved(32, 8, hidden_dropout=4), Saved(22, 6, hidden_dropout=8)),
        ),
        "opt": Family(
            full=(Saved(32, 4, hidden_dropout=8), Saved(16, 2, hidden_dropout=10)),
            lora=(Saved(28, 4, hidden_dropout=4), Saved(20, 2, hidden_dropout=10)),
            lora_all=(Saved(32, 4, hidden_dropout=8), Saved(32, 6, hidden_dropout=8)),
        ),
        "llama": _LLAMA,
        "mistral": _LLAMA,
        "qwen2": _LLAMA,
        "qwen3": Family(
            full=(Saved(24, 16, 16.25, 16.25), Saved(16, 8, 10.25, 10.25)),
            lora=(Saved(12, 12, 12.25, 12.25), Saved(16, 6, 8.25, 8.25)),
            lora_all=(Saved(16, 16, 12.25, 12.25), Saved(28, 10, 12.25, 8.25)),
        ),
        "gemma": Family(
            full=(Saved(24.125, 16, 8, 8), Saved(20.125, 8, 4, 4)),
            lora=(Saved(12.125, 12, 8, 8), Saved(16.125, 6, 4, 4)),
            lora_all=(Saved(16.125, 16, 8, 8), Saved(28.125, 10, 8, 4)),
        ),
        "gemma2": Family(
            full=(Saved(40.25, 16, 16, scores=8), Saved(36.25, 8, 8, scores=8)),
            lora=(Saved(20.25, 12, 12, scores=8), Saved(24.25, 6, 6, scores=8)),
            lora_all=(Saved(24.25, 16, 16, scores=8), Saved(36.25, 10, 10, scores=8)),
        ),
        # not measured with LoRA, which keeps no more
        "gemma3_text": Family(_GEMMA_3, _GEMMA_3, _GEMMA_3),
    }
)
