"""Estimates the memory that a fine-tune needs on each GPU, before one is asked for. Pure.

It knows models by their config.json and trainings by plain values, and nothing of studies. May import nothing of
hposlurm, and of other packages only the standard library.
"""

from hposlurm.gpu_memory.cards import CARDS_GB, card_gb
from hposlurm.gpu_memory.estimate import Estimate, estimate
from hposlurm.gpu_memory.setting import METHODS, OFFLOADS, OPTIMIZERS, PRECISIONS, Setting
from hposlurm.gpu_memory.shape import FAMILIES, Matrix, ModelShape, ShapeError, shape_of

__all__ = [
    "CARDS_GB",
    "FAMILIES",
    "METHODS",
    "OFFLOADS",
    "OPTIMIZERS",
    "PRECISIONS",
    "Estimate",
    "Matrix",
    "ModelShape",
    "Setting",
    "ShapeError",
    "card_gb",
    "estimate",
    "shape_of",
]
