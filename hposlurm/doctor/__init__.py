"""Tests what this cluster offers hposlurm: `examination.examine` returns findings, one per check.

May import backend and all below it; only the command line uses it. Writes nothing without a probe.
Each wait for another system (Slurm, a file system) has a deadline.
This module imports nothing: the small programs of this package (`race`, `node`) start through it on compute nodes.
"""
