"""Batch scripts from templates: mistakes in a template are said with its name and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from hposlurm.errors import RequestError
from hposlurm.render.script import script, template_text


def test_a_mistake_in_a_batch_template_names_its_line():
    with pytest.raises(RequestError, match=r"my\.sbatch\.j2, line 2: "):
        script("#!/bin/bash\n{% if %}\n", "my.sbatch.j2", {})


def test_an_unknown_name_in_a_batch_template_lists_the_known_ones():
    with pytest.raises(RequestError, match=r"'jobname' is undefined; .* may use: job_name"):
        script("{{ jobname }}", "my.sbatch.j2", {"job_name": "x"})


def test_the_templates_ship_with_the_package():
    assert template_text("trial.sbatch.j2").startswith("#!/bin/bash")
    assert template_text("planner.sbatch.j2").startswith("#!/bin/bash")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#!/bin/bash\n{{ 1 / count }}\n", r"my\.sbatch\.j2, line 2: ZeroDivisionError: "),
        ("{{ study_dir + 1 }}", r"my\.sbatch\.j2, line 1: TypeError: "),
        ("{{ count | nope }}", r"my\.sbatch\.j2, line 1: No filter named 'nope'"),
        ("a\nb\n{{ count.nope.nope }}", r"my\.sbatch\.j2, line 3: .*'nope'"),
    ],
)
def test_whatever_goes_wrong_in_a_batch_template_is_one_sentence(text, message):
    with pytest.raises(RequestError, match=message):
        script(text, "my.sbatch.j2", {"count": 0, "study_dir": "x"})


def test_a_template_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "my.j2").write_bytes(b"#!/bin/bash\n# caf\xe9\n")
    with pytest.raises(RequestError, match=r"my\.j2 is not UTF-8 text \(byte 17\)"):
        template_text("trial.sbatch.j2", tmp_path / "my.j2")
