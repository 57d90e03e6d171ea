"""Commands in a wave's plan that continue from a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from hposlurm.planner import advance, create
from hposlurm.records.plan import read_plan
from tests.planner.fake import FakeCluster, new_layout, spec

PLAIN = "train --x {{ x }}"
EITHER = "train --x {{ x }}{% if resume_from %} --from {{ resume_from }}{% endif %}"
ALWAYS = "train --x {{ x }} --from {{ resume_from }}"


@pytest.mark.parametrize(
    ("template", "command", "resumed"),
    [
        (PLAIN, "train --x 0.5", None),
        (EITHER, "train --x 0.5", 'train --x 0.5 --from "$HPOSLURM_RESUME_FROM"'),
        (ALWAYS, "train --x 0.5 --from ''", 'train --x 0.5 --from "$HPOSLURM_RESUME_FROM"'),
    ],
)
def test_there_is_a_second_command_if_the_study_distinguishes_the_two(
    tmp_path: Path, template: str, command: str, resumed: str | None
) -> None:
    layout, cluster = new_layout(tmp_path), FakeCluster()
    study = spec(
        trial={"command": template, "workdir": "/"}, waves={"size": 1, "mode": "barrier"}, budget={"n_trials": 2}
    )
    create(layout, study)
    advance(layout, study, cluster)
    cluster.run(loss=lambda _: "SIGTERM (cancelled or preempted)")  # the first trial comes again
    advance(layout, study, cluster)
    for wave in (0, 1):
        (again,) = read_plan(layout.wave(wave)).assignments
        assert (again.trial, again.command, again.command_resumed) == (0, command, resumed)
