"""The noun of the package: a study as one object, whose methods are the verbs of the command line.

May import everything below it, where a method needs it: opening a study imports none of the other rooms' libraries.
"""

from hposlurm.study.study import Study

__all__ = ["Study"]
