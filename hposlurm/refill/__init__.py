"""The process beside a worker of a refill wave: keeps proposals ready and the published files up to date.

May import everything that the planner imports, and the planner's cleanup of checkpoints; nothing imports it. Workers
start it as `python -m hposlurm.refill`.
"""
