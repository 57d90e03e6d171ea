"""Which variables reach Slurm's commands, and which a trial's command."""

from __future__ import annotations

import pytest

from hposlurm.worker.environment_leaks import empty_in, for_command, is_leak, is_of_step


@pytest.mark.parametrize("name", ["SLURM_CONF", "SLURM_JWT", "HPOSLURM_RUNS", "PATH", "SLURMD_NODENAME"])
def test_what_a_person_or_a_site_needs_reaches_everything(name: str) -> None:
    assert not is_leak(name) and not is_of_step(name)


@pytest.mark.parametrize(
    "name", ["SLURM_JOB_ID", "SLURM_TMPDIR", "MASTER_PORT", "SQUEUE_FORMAT", "SLURM_ARRAY_TASK_ID"]
)
def test_the_job_is_the_users_in_a_command_and_hidden_from_slurm(name: str) -> None:
    assert is_leak(name) and not is_of_step(name)


def test_outside_a_job_nothing_is_added() -> None:
    assert for_command({"RANK": "0", "HOME": "/h"}) == {"HOME": "/h"}
    assert for_command({"OMPI_COMM_WORLD_RANK": "1", "NODE_RANK": "1", "OMPI_MCA_btl": "tcp"}) == {
        "OMPI_MCA_btl": "tcp"
    }


def test_variables_that_are_always_empty_in_a_command_are_named() -> None:
    command = "x $SLURM_JOB_ID ${SLURM_PROCID} $SLURM_PROCID --n=$SLURM_NTASKS $RANK $HPOSLURM_SEED $MASTER_ADDR"
    assert empty_in(command) == ["SLURM_PROCID", "SLURM_NTASKS"]


def test_what_a_step_of_the_commands_own_srun_reads_is_not_empty() -> None:
    assert empty_in("srun bash -c 'echo $SLURM_STEP_ID' \\$SLURM_PROCID && echo $SLURM_NTASKS") == ["SLURM_NTASKS"]
    assert empty_in("bash -c 'echo $SLURM_STEP_ID'") == ["SLURM_STEP_ID"]
