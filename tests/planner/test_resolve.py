"""What a study file leaves open stays as it was decided at the launch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hposlurm.planner.resolve import read_study
from hposlurm.spec import load
from hposlurm.trial import CountedReport
from tests.studies import SPEC


@pytest.mark.parametrize("launched", CountedReport)
@pytest.mark.parametrize("given", [None, *CountedReport])
def test_an_edited_file_changes_which_report_counts_only_if_it_says_so(
    tmp_path: Path, launched: CountedReport, given: CountedReport | None
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(SPEC.format(name="demo", n_trials=4).replace("minimize", f"minimize, report: {launched}"))
    known = load(file)
    says = "" if given is None else f", report: {given}"
    file.write_text(SPEC.format(name="demo", n_trials=8).replace("minimize", f"minimize{says}"))
    found = read_study(file, launched=known).spec
    assert found.objectives[0].report is (launched if given is None else given)
    assert found.budget.n_trials == 8


@pytest.mark.parametrize(("backend", "is_named"), [("auto", True), ("slurm", False)])
def test_an_sbatch_without_a_controller_names_the_local_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, is_named: bool
) -> None:
    for name in ("sbatch", "sinfo", "squeue", "srun", "scontrol", "sacct"):
        command = tmp_path / name
        command.write_text("#!/bin/sh\necho 'Unable to contact slurm controller (connect failure)' >&2\nexit 1\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    file = tmp_path / "study.yaml"
    file.write_text(SPEC.format(name="demo", n_trials=4).replace("backend: local", f"backend: {backend}"))
    (note,) = read_study(file).notes
    assert "Unable to contact slurm controller" in note
    assert ("--backend local runs the study on this machine" in note) is is_named
