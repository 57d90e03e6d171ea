"""The shape of a causal language model, from its config.json: every matrix and every vector, so counts are exact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from types import MappingProxyType
from typing import Any

#: The shape of a tensor.
Tensor = tuple[int, ...]


class ShapeError(ValueError):
    """A config.json describes no model that is known here. The message names what is missing or unknown."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A linear layer."""

    name: str
    inputs: int
    outputs: int
    bias: bool = False

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The shapes of its weights and its bias."""
        return ((self.outputs, self.inputs), (self.outputs,)) if self.bias else ((self.outputs, self.inputs),)


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A decoder: embeddings, equal layers, a head."""

    family: str
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    #: heads of keys and values; fewer than `heads` where queries share them
    kv_heads: int
    #: numbers per head
    head_size: int
    #: numbers between the two halves of the feed-forward part
    inner: int
    #: the longest sequence; None where positions have no end (ALiBi)
    positions: int | None
    #: the linear layers of one layer
    matrices: tuple[Matrix, ...]
    #: the sizes of the other tensors of one layer: gains and biases of norms
    vectors: tuple[int, ...]
    #: the tensors outside of the layers: embeddings, norms, and the head if it has weights of its own
    outside: tuple[Tensor, ...]
    #: the feed-forward part multiplies two projections (SwiGLU, GeGLU)
    is_gated: bool
    #: norms without mean and bias
    is_rms: bool
    #: what peft gives LoRA to by default
    lora_targets: tuple[str, ...]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The shapes of all tensors, of tied ones once."""
        layer = (*((size,) for size in self.vectors), *(tensor for m in self.matrices for tensor in m.tensors))
        return (*self.outside, *(layer * self.layers))

    @property
    def parameters(self) -> int:
        """The number of parameters; tied weights count once."""
        return sum(map(prod, self.tensors))

    def lora_tensors(self, rank: int, targets: tuple[str, ...] = ()) -> tuple[Tensor, ...]:
        """Returns the shapes of LoRA's tensors: two of this rank for each matrix that is a target.

        Raises ShapeError if no matrix has such a name.
        """
        names = targets or self.lora_targets
        found = [m for m in self.matrices if m.name in names or names == ("all-linear",)]
        if not found:
            known = ", ".join(m.name for m in self.matrices)
            raise ShapeError(f"no layer of {self.family} is called {', '.join(names)}; known: {known}, all-linear")
        return tuple(tensor for m in found for tensor in ((rank, m.inputs), (m.outputs, rank))) * self.layers


def shape_of(config: Mapping[str, Any]) -> ModelShape:
    """Returns the shape of the model with this config.json. Raises ShapeError for a family that is not known here."""
    family = config.get("model_type")
    build = FAMILIES.get(family) if isinstance(family, str) else None
    if build is None:
        raise ShapeError(f"model_type {family!r} is not known; known: {', '.join(FAMILIES)}")
    try:
        return build(_Config(config))
    except (TypeError, ZeroDivisionError) as error:
        raise ShapeError(f"the config of this {family} is damaged: {error}") from None


class _Config:
    """The values of a config.json, under the first of several names, with the defaults of transformers 5."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def number(self, *names: str, default: int | None = None) -> int:
        for name in names:
            value = self._values.get(name)
            if value is not None:
                if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
                    raise ShapeError(f"{name} must be a whole number above 0, not {value!r}")
                return value
        if default is None:
            raise ShapeError(f"the config has no {names[0]}")
        return default

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._values.get(name)
        return default if value is None else bool(value)


def _norm(hidden: int) -> tuple[int, int]:
    """Returns the sizes of a LayerNorm's gain and bias."""
    return hidden, hidden


def _outside(*matrices: Tensor, norms: tuple[int, ...]) -> tuple[Tensor, ...]:
    return (*matrices, *((size,) for size in norms))


def _bloom(config: _Config) -> ModelShape:
    hidden, heads = config.number("hidden_size", "n_embed"), config.number("n_head", "num_attention_heads")
    vocabulary, norm = config.number("vocab_size"), _norm(hidden)
    matrices = (
        Matrix("query_key_value", hidden, 3 * hidden, bias=True),
        Matrix("dense", hidden, hidden, bias=True),
        Matrix("dense_h_to_4h", hidden, 4 * hidden, bias=True),
        Matrix("dense_4h_to_h", 4 * hidden, hidden, bias=True),
    )
    return ModelShape(
        "bloom", vocabulary, hidden, config.number("n_layer", "num_hidden_layers"), heads, heads, hidden // heads,
        4 * hidden, None, matrices, (*norm, *norm), _outside((vocabulary, hidden), norms=(*norm, *norm)),
        is_gated=False, is_rms=False, lora_targets=("query_key_value",),
    )  # fmt: skip


def _gpt2(config: _Config) -> ModelShape:
    hidden, heads = config.number("n_embd", "hidden_size"), config.number("n_head", "num_attention_heads")
    vocabulary, positions = config.number("vocab_size"), config.number("n_positions", default=1024)
    inner, norm = config.number("n_inner", default=4 * hidden), _norm(hidden)
    matrices = (
        Matrix("c_attn", hidden, 3 * hidden, bias=True),
        Matrix("c_proj", hidden, hidden, bias=True),
        Matrix("c_fc", hidden, inner, bias=True),
        Matrix("c_proj", inner, hidden, bias=True),
    )
    return ModelShape(
        "gpt2", vocabulary, hidden, config.number("n_layer", "num_hidden_layers"), heads, heads, hidden // heads,
        inner, positions, matrices, (*norm, *norm), _outside((vocabulary, hidden), (positions, hidden), norms=norm),
        is_gated=False, is_rms=False, lora_targets=("c_attn",),
    )  # fmt: skip


def _gpt_neox(config: _Config) -> ModelShape:
    hidden, heads = config.number("hidden_size"), config.number("num_attention_heads")
    vocabulary, inner, norm = config.number("vocab_size"), config.number("intermediate_size"), _norm(hidden)
    attention_bias = config.flag("attention_bias", default=True)
    matrices = (
        Matrix("query_key_value", hidden, 3 * hidden, bias=attention_bias),
        Matrix("dense", hidden, hidden, bias=attention_bias),
        Matrix("dense_h_to_4h", hidden, inner, bias=True),
        Matrix("dense_4h_to_h", inner, hidden, bias=True),
    )
    head = () if config.flag("tie_word_embeddings", default=False) else ((vocabulary, hidden),)
    return ModelShape(
        "gpt_neox", vocabulary, hidden, config.number("num_hidden_layers"), heads, heads, hidden // heads,
        inner, config.number("max_position_embeddings", default=2048), matrices, (*norm, *norm),
        _outside((vocabulary, hidden), *head, norms=norm), is_gated=False, is_rms=False,
        lora_targets=("query_key_value",),
    )  # fmt: skip


def _opt(config: _Config) -> ModelShape:
    hidden, heads = config.number("hidden_size"), config.number("num_attention_heads")
    vocabulary, inner, norm = config.number("vocab_size"), config.number("ffn_dim"), _norm(hidden)
    if config.number("word_embed_proj_dim", default=hidden) != hidden:
        raise ShapeError("an OPT whose word_embed_proj_dim differs from its hidden_size is not known")
    positions = config.number("max_position_embeddings")
    projections = (Matrix(f"{name}_proj", hidden, hidden, bias=True) for name in ("k", "v", "q", "out"))
    matrices = (*projections, Matrix("fc1", hidden, inner, bias=True), Matrix("fc2", inner, hidden, bias=True))
    outside = _outside((vocabulary, hidden), (positions + 2, hidden), norms=norm)  # its positions begin at 2
    return ModelShape(
        "opt", vocabulary, hidden, config.number("num_hidden_layers"), heads, heads, hidden // heads, inner, positions,
        matrices, (*norm, *norm), outside, is_gated=False, is_rms=False, lora_targets=("q_proj", "v_proj"),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Kin:
    """How a relative of Llama differs from it."""

    qkv_bias: bool = False
    is_tied: bool = False
    norms_per_layer: int = 2
    #: queries and keys have norms of their own
    has_head_norms: bool = False
    #: transformers' default where the config says nothing; None: hidden / heads
    head_size: int | None = None


def _llama_like(family: str, kin: _Kin) -> Callable[[_Config], ModelShape]:
    def build(config: _Config) -> ModelShape:
        hidden, heads = config.number("hidden_size"), config.number("num_attention_heads")
        kv_heads = config.number("num_key_value_heads", default=heads)
        head_size = config.number("head_dim", default=kin.head_size or hidden // heads)
        vocabulary, inner = config.number("vocab_size"), config.number("intermediate_size")
        qkv_bias = config.flag("attention_bias", default=kin.qkv_bias)
        output_bias = config.flag("attention_bias", default=False)
        mlp_bias = config.flag("mlp_bias", default=False)
        matrices = (
            Matrix("q_proj", hidden, heads * head_size, bias=qkv_bias),
            Matrix("k_proj", hidden, kv_heads * head_size, bias=qkv_bias),
            Matrix("v_proj", hidden, kv_heads * head_size, bias=qkv_bias),
            Matrix("o_proj", heads * head_size, hidden, bias=output_bias),
            Matrix("gate_proj", hidden, inner, bias=mlp_bias),
            Matrix("up_proj", hidden, inner, bias=mlp_bias),
            Matrix("down_proj", inner, hidden, bias=mlp_bias),
        )
        head_norms = (head_size, head_size) if kin.has_head_norms else ()
        head = () if config.flag("tie_word_embeddings", default=kin.is_tied) else ((vocabulary, hidden),)
        return ModelShape(
            family, vocabulary, hidden, config.number("num_hidden_layers"), heads, kv_heads, head_size, inner,
            config.number("max_position_embeddings", default=2048), matrices,
            (*(hidden,) * kin.norms_per_layer, *head_norms), _outside((vocabulary, hidden), *head, norms=(hidden,)),
            is_gated=True, is_rms=True, lora_targets=("q_proj", "v_proj"),
        )  # fmt: skip

    return build


_GEMMA = _Kin(is_tied=True, head_size=256)
_GEMMA_2 = replace(_GEMMA, norms_per_layer=4)

#: How each `model_type` is built. Their tensors are compared with transformers' own in the tests.
FAMILIES: Mapping[str, Callable[[_Config], ModelShape]] = MappingProxyType(
    {
        "bloom": _bloom,
        "gpt2": _gpt2,
        "gpt_neox": _gpt_neox,
        "opt": _opt,
        "llama": _llama_like("llama", _Kin()),
        "mistral": _llama_like("mistral", _Kin()),
        "qwen2": _llama_like("qwen2", _Kin(qkv_bias=True)),
        "qwen3": _llama_like("qwen3", _Kin(has_head_norms=True)),
        "gemma": _llama_like("gemma", _GEMMA),
        "gemma2": _llama_like("gemma2", _GEMMA_2),
        "gemma3_text": _llama_like(
            "gemma3_text", _Kin(is_tied=True, head_size=256, norms_per_layer=4, has_head_norms=True)
        ),
    }
)
