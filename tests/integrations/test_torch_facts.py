"""What this Python's torch can do on this machine."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hposlurm.doctor.arrival import covers
from hposlurm.integrations.torch_facts import torch_facts


def test_a_python_without_torch_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "torch" in torch_facts()["error"]


@pytest.mark.train
def test_the_last_line_that_it_prints_is_json():
    command = [sys.executable, "-P", "-m", "hposlurm.integrations.torch_facts"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["version"][0].isdigit()
    assert (facts["card"] is None) == ("capability" not in facts)


@pytest.mark.gpu
def test_a_kernel_runs_on_a_card_that_the_build_covers():
    facts = torch_facts()
    assert facts["kernel_error"] == ""
    assert covers(facts["arch_list"], tuple(facts["capability"]))
