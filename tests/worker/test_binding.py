"""Which assignment an element runs, where its plan comes late or has less to do than there are elements."""

from __future__ import annotations

import json
import time

import pytest

from hposlurm.errors import StudyError
from hposlurm.worker import binding
from hposlurm.worker.run import run
from tests.worker.study import Study


def lay(study: Study, wave: int = 0) -> None:
    """Records the wave's arrays as a chain does, before there is a plan."""
    root = study.layout.wave(wave).root
    root.mkdir(parents=True, exist_ok=True)
    jobs = {"arrays": [{"job_id": "7", "offset": 0, "count": 3}], "backend": "slurm", "submitted_at": 0.0, "late": True}
    (root / "jobs.json").write_text(json.dumps(jobs))


def test_a_plan_that_the_file_system_does_not_show_yet_is_waited_for(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: study.plan("true"))
    found = binding.find_assignment(study.layout, 0, 0)
    assert found is not None
    assert (found[0].study, found[1].command) == ("demo", "true")


def test_a_plan_that_never_comes_is_an_error(study: Study) -> None:
    with pytest.raises(StudyError, match="was never planned"):
        binding.find_assignment(study.layout, 0, 0, patience_s=0.01)


def test_an_element_that_the_plan_does_not_have_is_an_error(study: Study) -> None:
    study.plan("true")
    with pytest.raises(StudyError, match="there is no 2"):
        binding.find_assignment(study.layout, 0, 2)


def test_a_surplus_element_of_a_chain_ends_at_once_with_status_0(study: Study) -> None:
    study.plan("true")
    lay(study)
    assert run(study.root, 0, 2) == 0
    assert not (study.root / "trials").exists()


def test_an_element_of_a_chain_whose_plan_never_comes_has_nothing_to_run(study: Study) -> None:
    lay(study)
    assert binding.find_assignment(study.layout, 0, 0, patience_s=0.01) is None


@pytest.mark.parametrize("end", ["finished", "stopped"])
def test_an_element_behind_the_end_of_its_study_does_not_wait(
    study: Study, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("waited"))
    study.plan("true")
    if end == "stopped":
        study.layout.stop.touch()
    else:
        plan = json.loads(study.layout.wave(0).plan.read_bytes())
        study.layout.wave(1).root.mkdir()
        study.layout.wave(1).plan.write_text(json.dumps({**plan, "wave": 1, "assignments": [], "finished": "done"}))
    lay(study, 2)
    assert run(study.root, 2, 0) == 0
