"""`python -m hposlurm` is `hposlurm`: planner jobs call it so, with the interpreter that launched the study."""

from hposlurm.cli.main import main

main()
