"""One minute of scripts/chaos; `scripts/test --chaos` runs ten with several seeds."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slurm


@pytest.mark.long(150)
def test_a_minute_of_faults_loses_nothing_and_doubles_nothing(tmp_path):
    command = [sys.executable, str(REPOSITORY / "scripts" / "chaos"), "--minutes", "1", "--seed", "1"]
    root = Path(f"/var/tmp/hposlurm-{tmp_path.parent.name}-chaos")  # the path of a socket in it must be short
    done = subprocess.run([*command, "--root", str(root)], capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.fullmatch(
        r"faults (\d+), trials (\d+), lost 0, double 0, resumed \d+, gpu-hours ledger/sacct [\d.]+\n", done.stdout
    )
    assert found and int(found[1]) > 0 and int(found[2]) >= 40, done.stdout
    shutil.rmtree(root)  # otherwise it stays, with the daemons' logs
