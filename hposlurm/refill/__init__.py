"""The process beside a worker of a refill wave: it keeps proposals ready and the published files up to date.

May import everything that the planner imports, and the planner's tidy-up; nothing imports it. Workers start it as
`python -m hposlurm.refill`.
"""
