"""SLURM-native batch toolkit for hyperparameter optimisation of language-model fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hposlurm.study import Study

__all__ = ["Study", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> type[Study]:
    """Imports `Study` when it is first asked for: a training script imports `hposlurm.client` and nothing more."""
    if name != "Study":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hposlurm.study import Study

    return Study
