"""Describes the GPU memory that a study's configurations need, before its launch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hposlurm.spec.draws import draw
from hposlurm.spec.memory_probe import fit_of, needs_text

if TYPE_CHECKING:
    from hposlurm.spec import StudySpec

_PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "buckets")


def memory_lines(spec: StudySpec) -> Iterator[str]:
    """Yields what a sample of the configurations needs per GPU, of the largest one by what it is for.

    Nothing without the section `gpu_memory`.
    """
    found = fit_of(spec, draw(spec.space))
    if found is None:
        return
    model, card = found.model, found.model.card_gb
    least, most = (needs_text(params, model, estimate) for params, estimate in (found.smallest, found.largest))
    size = f"{model.shape.family} with {model.shape.parameters / 1e6:,.1f} M parameters"
    yield f"GPU memory, estimated for {size}: at least, {least}; at most, {most}"
    parts = ((name, getattr(found.largest[1], name) / 2**30) for name in _PARTS)
    yield "  of the largest: " + ", ".join(f"{name} {gb:.1f}" for name, gb in parts if gb >= 0.05)
    if card is None:
        yield "  the card is not known: set gpu_memory.card, resources.gpu_memory_gb or resources.gpu_type"
    elif found.fitting < found.drawn:
        share = 100 * (found.drawn - found.fitting) / found.drawn
        yield f"  {share:.0f} % of the configurations do not fit {card:g} GB and are never tried"
    else:
        yield f"  all fit {card:g} GB"
