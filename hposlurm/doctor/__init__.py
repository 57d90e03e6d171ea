"""What this cluster can do for hposlurm, tried out and not assumed: `examination.examine` → findings, one per line.

May import backend and all below it; only the command line uses it. Nothing is written without a probe.
Everything that waits for somebody else (Slurm, a file system) has a deadline.
This module stays light: the small programs of the room (`rival`, `node`) start through it on compute nodes.
"""
