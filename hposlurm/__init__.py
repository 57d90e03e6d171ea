"""SLURM-native batch toolkit for hyperparameter optimisation of language-model fine-tuning."""

__version__ = "0.1.0"
