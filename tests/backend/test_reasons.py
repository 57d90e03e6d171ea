"""What helps a job that waits, by Slurm's word for why it waits."""

from __future__ import annotations

import pytest

from hposlurm.backend.reasons import DEPENDENCY, asks_too_much, release_advice


@pytest.mark.parametrize("reason", ["launch failed requeued held", "launch_failed_requeued_held"])
def test_a_held_job_is_released_by_its_id_however_the_release_spells_the_reason(reason: str) -> None:
    assert release_advice(reason, "812_3") == "its node could not start it: scontrol release 812_3"


@pytest.mark.parametrize("reason", ["", "None", "Priority", "Resources", DEPENDENCY])
def test_what_ends_by_waiting_needs_no_advice(reason: str) -> None:
    assert release_advice(reason, "812") is None and asks_too_much(reason) is None


def test_a_limit_of_the_partition_names_the_key_that_asks_for_too_much() -> None:
    assert asks_too_much("PartitionTimeLimit") == "resources.time"
