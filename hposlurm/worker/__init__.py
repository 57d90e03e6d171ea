"""Runs on the node: starts one trial's command, watches it, journals what happens. Standard library only.

May import the client's neighbours only: records, space, pruning, trial and errors.

`python -m hposlurm.worker STUDY_DIR WAVE INDEX` runs one element of a wave. Its exit status is 0 for a complete trial,
1 for a failed attempt, 3 for an interrupted one, 4 for one that does not fit into the GPUs' memory, and 2 if nothing
could be run at all (no attempt is recorded).

Optional settings from the process that starts it: HPOSLURM_LOG (absolute path of the element's log, else the trial's
`attempt-K.log`), HPOSLURM_JOB_ID, HPOSLURM_GPUS and HPOSLURM_GPU_IDS (what was really allocated), and HPOSLURM_GRACE_S
(how long a command may take to save and leave after SIGTERM or SIGINT, 25 s; Slurm kills 30 s after its SIGTERM).
"""
