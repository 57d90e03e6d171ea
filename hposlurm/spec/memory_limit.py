"""Estimates the memory of a study's configurations, and makes a constraint of it: what cannot fit is never tried."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hposlurm.gpu_memory import (
    METHODS,
    OPTIMIZERS,
    PRECISIONS,
    Estimate,
    ModelShape,
    Setting,
    ShapeError,
    card_gb,
    estimate,
    shape_of,
)
from hposlurm.space.expressions import Expression, ExpressionError, UnknownName, parse
from hposlurm.space.names import variable
from hposlurm.trial import ParamValue

if TYPE_CHECKING:
    from hposlurm.spec.gpu_memory import GpuMemorySection
    from hposlurm.spec.model import StudySpec

# What parameters of these names usually mean
_USUAL: Mapping[str, tuple[str, ...]] = {
    "batch_size": (
        "per_device_train_batch_size", "per_device_batch_size", "micro_batch_size", "micro_batch", "train_batch_size",
        "batch_size", "bs",
    ),
    "max_length": (
        "max_length", "max_seq_length", "max_seq_len", "seq_length", "seq_len", "block_size", "cutoff_len",
        "context_length",
    ),
    "lora_rank": ("lora_rank", "lora_r", "r"),
    "gradient_checkpointing": ("gradient_checkpointing",),
    "optimizer": ("optimizer", "optim"),
    "method": ("method",),
    "precision": ("precision",),
    "zero_stage": ("zero_stage",),
}  # fmt: skip
_REQUIRED = ("batch_size", "max_length")
# transformers' names (TrainingArguments.optim) and usual ones for what is counted
_OPTIMIZERS: Mapping[str, str] = {
    **{name: name for name in OPTIMIZERS},
    **dict.fromkeys(("adam", "adamw_torch", "adamw_torch_fused", "adamw_hf"), "adamw"),
    **dict.fromkeys(("adamw_bnb_8bit", "paged_adamw_8bit", "adamw8bit"), "adamw_8bit"),
}
_WORDS: Mapping[str, Mapping[str, str]] = {
    "method": {name: name for name in METHODS},
    "precision": {name: name for name in PRECISIONS},
    "optimizer": _OPTIMIZERS,
}
_SIZE = 100  # as an expression of so many parts: 20 µs


class MemoryModelError(ValueError):
    """A configuration's memory cannot be estimated. `key` is the key of `gpu_memory`."""

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class MemoryModel:
    """The memory of a study's trainings: `estimate` per configuration, and what the card has."""

    shape: ModelShape
    #: the values that are the same for all configurations
    fixed: Setting
    #: the values that depend on parameters, by the names of Setting's fields
    varying: Mapping[str, Expression]
    #: for a trial, in units of 2**30 bytes; None: unknown
    card_gb: float | None
    #: the fields whose parameters were found by their names only: a value that means nothing changes nothing
    guessed: frozenset[str] = frozenset()
    #: what measured peaks say: real memory by estimated memory
    factor: float = 1.0

    def setting(self, values: Mapping[str, ParamValue]) -> Setting:
        """Returns what a configuration trains; `values` are its parameters and the facts of the resources.

        Raises MemoryModelError for a value that means nothing. An inactive parameter leaves what is fixed.
        """
        found: dict[str, Any] = {}
        for key, expression in self.varying.items():
            try:
                value = expression.evaluate(values)
            except UnknownName:
                continue
            except ExpressionError as error:
                raise MemoryModelError(key, str(error)) from None
            try:
                found[key] = _read(key, value)
            except MemoryModelError:
                if key not in self.guessed:
                    raise
        return replace(self.fixed, **found)

    def estimate(self, values: Mapping[str, ParamValue]) -> Estimate:
        """Returns the memory that a configuration needs. Raises MemoryModelError."""
        try:
            return estimate(self.shape, self.setting(values))
        except ShapeError as error:
            raise MemoryModelError("lora_targets", str(error)) from None

    def needed_gb(self, values: Mapping[str, ParamValue]) -> float:
        """Returns what the card needs for a configuration, as corrected by what was measured."""
        return self.estimate(values).gb * self.factor


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """A constraint: the estimated memory fits the card."""

    model: MemoryModel
    #: the parameters that are always active and decide the memory
    names: frozenset[str]
    size: int = _SIZE

    @property
    def text(self) -> str:
        """The condition as people read it."""
        return f"estimated GPU memory <= {self.model.card_gb:g} GB"

    def violation(self, values: Mapping[str, ParamValue]) -> float:
        """Returns how many GB are missing; 0.0 if it fits. Raises ExpressionError if there is no estimate."""
        try:
            needed = self.model.needed_gb(values)
        except MemoryModelError as error:
            raise ExpressionError(str(error)) from None
        return max(0.0, needed - (self.model.card_gb or needed))

    def __str__(self) -> str:
        return self.text


def memory_model(spec: StudySpec) -> MemoryModel | None:
    """Returns how the memory of the study's configurations is estimated; None without the section `gpu_memory`.

    Raises MemoryModelError for a key that means nothing.
    """
    section = spec.gpu_memory
    if section is None:
        return None
    known = {*spec.parameter_names, *spec.resources.facts}
    names = spec.written_names
    has_deepspeed = spec.trial.deepspeed is not None
    given: dict[str, Any] = {key: _given(section, key, spec.parameter_names) for key in _USUAL}
    if given["zero_stage"] is None and spec.trial.deepspeed is not None:
        given["zero_stage"] = spec.trial.deepspeed.zero_stage
    if given["precision"] is None:
        given["precision"] = "fp16" if has_deepspeed else "mixed"
    offload = section.offload
    if offload is None:
        is_offloaded = spec.trial.deepspeed is not None and spec.trial.deepspeed.offload == "cpu"
        offload = "optimizer" if is_offloaded else "none"
    fixed: dict[str, Any] = {}
    varying: dict[str, Expression] = {}
    for key, value in given.items():
        if value is None:
            if key in _REQUIRED:
                usual = ", ".join(_USUAL[key])
                raise MemoryModelError(key, f"is missing, and no parameter has a usual name for it ({usual})")
            continue
        if isinstance(value, str) and value not in _WORDS.get(key, ()):
            varying[key] = _expression(key, value, names, known)
        else:
            fixed[key] = _read(key, value)
    base = Setting(
        **{"batch_size": 1, "max_length": 1, **fixed}, lora_targets=section.lora_targets, offload=offload,
        has_dropout=section.dropout, accumulates=section.accumulates,
        world_size=max(1, spec.resources.nodes * spec.resources.gpus_per_node),
    )  # fmt: skip
    try:
        shape = shape_of(section.config)
    except ShapeError as error:
        raise MemoryModelError("config", str(error)) from None
    guessed = frozenset(key for key in varying if getattr(section, key) is None and key not in _REQUIRED)
    return MemoryModel(shape, base, varying, _card(spec, section), guessed)


def memory_limit(spec: StudySpec, conditional: Collection[str], factor: float = 1.0) -> MemoryLimit | None:
    """Returns the constraint on the memory; None if the model or the card is not known.

    `conditional` are the parameters that are not always active.
    """
    try:
        model = memory_model(spec)
    except MemoryModelError:  # a problem of the study file, which has its own message
        return None
    if model is None or model.card_gb is None:
        return None
    names = {name for expression in model.varying.values() for name in expression.names}
    return MemoryLimit(replace(model, factor=factor), frozenset(names - {*conditional}))


def _given(section: GpuMemorySection, key: str, parameters: Collection[str]) -> Any:
    value = getattr(section, key)
    return next((name for name in _USUAL[key] if name in parameters), None) if value is None else value


def _expression(key: str, text: str, names: Mapping[str, str], known: Collection[str]) -> Expression:
    try:
        found = parse(variable(text) if text in known else text, names)
    except ExpressionError as error:
        raise MemoryModelError(key, f"{text!r}: {error}") from None
    if missing := sorted(found.names - {*known}):
        words = _WORDS.get(key)
        allowed = f"; allowed: {', '.join(words)}, or the name of a parameter" if words else ""
        raise MemoryModelError(key, f"{missing[0]} in {text!r} is neither a parameter nor a fact{allowed}")
    return found


def _read(key: str, value: Any) -> Any:
    """Returns a value as Setting takes it. Raises MemoryModelError."""
    if words := _WORDS.get(key):
        if value not in words:
            raise MemoryModelError(key, f"{value!r} is not known; known: {', '.join(words)}")
        return words[value]
    if key == "gradient_checkpointing":
        return bool(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise MemoryModelError(key, f"must be a whole number, not {value!r}")
    least, most = (0, 3) if key == "zero_stage" else (1, 10**9)
    if not least <= value <= most:
        raise MemoryModelError(key, f"must be from {least} to {most}, not {value:g}")
    return int(value)


def _card(spec: StudySpec, section: GpuMemorySection) -> float | None:
    """Returns what a trial may use of the card."""
    found: float | None = spec.resources.gpu_memory_gb
    if section.card is not None:
        found = card_gb(section.card)
    elif found is None and spec.resources.gpu_type is not None:
        found = card_gb(spec.resources.gpu_type)
    return None if found is None else found - section.reserved_gb
