"""`share: group`: a colleague reads a study, whatever its owner's umask, and changes nothing; nobody else reads it."""

from __future__ import annotations

import importlib
import json
import os
import stat
from pathlib import Path

import pytest

from hposlurm import Study, backend
from hposlurm.trial import JobState
from hposlurm.worker.__main__ import main as worker
from tests.cli.attack import everything, hposlurm
from tests.cli.test_second_user import ACTING, FILE, LATE, Cluster
from tests.users import ALICE, MALLORY, as_user, needs_users, shared

__all__ = ["shared"]

pytestmark = needs_users
LAB, STRANGER = 54_330, 54_323
READING = [
    *(("status", "thesis"), ("collect", "thesis"), ("best", "thesis"), ("explain", "thesis"), ("logs", "thesis", "0")),
    *(("status", "thesis", "--format", "json"), ("list",)),
]
COMMAND = r"""echo trained; echo '{"step": 1, "metrics": {"eval_loss": 0.5}}' >> "$HPOSLURM_METRICS_FILE"
mkdir "$HPOSLURM_CHECKPOINT_DIR/step-1"
touch "$HPOSLURM_CHECKPOINT_DIR/step-1/weights" "$HPOSLURM_CHECKPOINT_DIR/step-1/COMPLETE"
true {{ lr }}"""


@pytest.fixture
def runs(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lab's directory of studies; what is made there gets its group."""
    home = shared / "alice"
    home.mkdir(mode=0o755)
    os.chown(home, ALICE, ALICE)
    found = shared / "runs"
    found.mkdir()
    os.chown(found, ALICE, LAB)
    found.chmod(0o2755)
    monkeypatch.setenv("HPOSLURM_RUNS", str(found))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(home)
    for name in (*LATE, "hposlurm.worker.refill"):
        importlib.import_module(name)
    return found


def run_study(monkeypatch: pytest.MonkeyPatch, share: str, umask: int) -> None:
    """Launches and runs a study of one trial as Alice, and publishes it."""
    file = FILE.replace('"true {{ lr }}"', json.dumps(COMMAND)) + f"share: {share}\n"
    cluster = Cluster()
    for place in (backend, backend.base):
        monkeypatch.setattr(place, "choose", lambda *_, **__: cluster)

    def run() -> int:
        Path("thesis.yaml").write_text(file)
        Path("thesis.yaml").chmod(0o644)
        study = Study.create("thesis.yaml")
        study.launch()
        status = worker([str(study.layout.root), "0", "0"])
        os.umask(umask)  # the planner is another process
        cluster.arrays["100"]["state"] = JobState.COMPLETED
        study.advance()
        return status

    assert as_user(ALICE, run, umask, [LAB]) == 0


def modes(root: Path) -> dict[str, set[int]]:
    """The permissions of all directories and of all files, without setgid."""
    found: dict[str, set[int]] = {"directories": set(), "files": set()}
    for path in (root, *root.rglob("*")):
        found["directories" if path.is_dir() else "files"].add(stat.S_IMODE(path.lstat().st_mode) & 0o777)
    return found


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002])
def test_everything_of_a_shared_study_can_be_read_by_its_group_and_written_by_its_owner_only(
    runs: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    run_study(monkeypatch, "group", umask)
    assert modes(runs / "thesis") == {"directories": {0o750}, "files": {0o640, 0o440}}
    assert {path.stat().st_gid for path in (runs / "thesis").rglob("*")} == {LAB}
    assert (runs / "thesis" / "trials" / "00000" / "checkpoints" / "step-1" / "weights").exists()


def test_a_colleague_reads_a_shared_study_and_changes_nothing(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_study(monkeypatch, "group", 0o077)
    before = everything(runs)
    for words in READING:
        status, out, err = as_user(MALLORY, lambda words=words: hposlurm(*words), groups=[LAB])  # type: ignore[misc]
        assert status == 0 and out and "denied" not in err, (words, err)
    assert "trained" in as_user(MALLORY, lambda: hposlurm("logs", "thesis", "0"), groups=[LAB])[1]
    for words in ACTING:
        status, _, err = as_user(MALLORY, lambda words=words: hposlurm(*words), groups=[LAB])  # type: ignore[misc]
        assert status == 2 and f"belongs to user {ALICE}" in err, (words, err)

    def writable() -> list[str]:
        paths = [runs / "thesis", *(runs / "thesis").rglob("*")]
        return [str(path) for path in paths if os.access(path, os.W_OK)]

    assert as_user(MALLORY, writable, groups=[LAB]) == []
    assert everything(runs) == before
    assert not as_user(STRANGER, lambda: os.access(runs / "thesis", os.R_OK | os.X_OK))


@pytest.mark.parametrize("umask", [0o077, 0o022])
def test_a_study_that_is_not_shared_is_its_owner_s(runs: Path, monkeypatch: pytest.MonkeyPatch, umask: int) -> None:
    run_study(monkeypatch, "private", umask)
    assert stat.S_IMODE((runs / "thesis").stat().st_mode) & 0o777 == 0o700
    assert not as_user(MALLORY, lambda: os.access(runs / "thesis", os.R_OK), groups=[LAB])
    if umask == 0o077:
        found = modes(runs / "thesis")
        assert found == {"directories": {0o700}, "files": {0o600, 0o400}}


def test_what_keeps_the_group_out_is_noted_before_the_launch(runs: Path) -> None:
    Path("thesis.yaml").write_text(FILE + "share: group\n")
    runs.parent.chmod(0o1770)
    _, out, _ = as_user(0, lambda: hposlurm("check", "thesis.yaml", "--backend", "local"))
    cure = f"chmod o+x {runs.parent}"
    assert f"the group {LAB} cannot enter {runs.parent}: {cure}" in " ".join(out.split()), out
    runs.parent.chmod(0o1777)
    runs.chmod(0o755)
    _, out, _ = as_user(0, lambda: hposlurm("check", "thesis.yaml", "--backend", "local"))
    assert f"`chmod g+s {runs}`" in " ".join(out.split()), out
    runs.chmod(0o2755)
    _, out, _ = as_user(0, lambda: hposlurm("check", "thesis.yaml", "--backend", "local"))
    assert "share" not in out


@pytest.mark.usefixtures("runs")
def test_a_launched_study_is_shared_by_chmod(monkeypatch: pytest.MonkeyPatch) -> None:
    run_study(monkeypatch, "private", 0o077)
    status, _, err = as_user(ALICE, lambda: hposlurm("resume", "thesis", "--set", "share=group"), groups=[LAB])
    assert status == 2 and "chmod -R g+rX" in err
