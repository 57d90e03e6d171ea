"""What the doctor makes of the study root: which file system, which options, how much room."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from hposlurm.doctor import mounts
from hposlurm.doctor.mounts import Mount, mount_of, parse_mounts

MOUNTS = r"""proc /proc proc rw,relatime 0 0
/dev/vda / ext4 rw,relatime 0 0
server:/home /home nfs4 rw,relatime,vers=4.2,hard,acdirmax=60,local_lock=none 0 0
mds@o2ib:/work /lustre lustre rw,flock,lazystatfs 0 0
server:/my\040data /data/my\040data nfs rw,vers=3,soft 0 0
/dev/vdb /home xfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "point", "kind"),
    [
        ("/etc/x", "/", "ext4"),
        ("/lustre", "/lustre", "lustre"),
        ("/lustre/k01/runs", "/lustre", "lustre"),
        ("/lustre2/runs", "/", "ext4"),
        ("/data/my data/runs", "/data/my data", "nfs"),
        ("/home/me", "/home", "xfs"),
    ],
)
def test_a_path_lies_on_the_deepest_and_last_mount(path, point, kind):
    found = mount_of(Path(path), parse_mounts(MOUNTS))
    assert found is not None and (found.point, found.kind) == (point, kind)


def test_no_mounts_no_answer(tmp_path):
    assert mount_of(tmp_path, []) is None
    assert mounts.file_system(tmp_path, [], is_cluster=True).verdict == "unknown"


@pytest.mark.parametrize(
    ("kind", "options", "is_cluster", "verdict", "part"),
    [
        ("nfs4", "rw,hard,vers=4.2,acdirmax=60", True, "ok", "(rw,hard,vers=4.2,acdirmax=60)"),
        ("nfs4", "rw,soft,vers=4.2", True, "warn", "hard mount"),
        ("nfs", "rw,hard,vers=2", True, "warn", "vers=4.2"),
        ("nfs4", "rw,hard,actimeo=600", True, "warn", "600 s"),
        ("lustre", "rw,localflock", True, "ok", "locks do not matter"),
        ("gpfs", "rw", True, "ok", "gpfs"),
        ("lustre", "ro,flock", True, "fail", "read-only"),
        ("ext4", "rw", True, "warn", "do the compute nodes see it"),
        ("ext4", "rw", False, "ok", "ext4"),
        ("tmpfs", "rw", False, "warn", "a reboot deletes all studies"),
        ("fuse.sshfs", "rw", True, "warn", "atomic"),
        ("something", "rw", True, "unknown", "--probe"),
    ],
)
def test_file_systems(tmp_path, kind, options, is_cluster, verdict, part):
    mount = Mount("server:/x", "/", kind, tuple(options.split(",")))
    finding = mounts.file_system(tmp_path, [mount], is_cluster=is_cluster)
    assert finding.verdict == verdict
    assert part in f"{finding.found} {finding.advice}"


def test_a_root_that_does_not_exist_yet_is_checked_by_its_parent(tmp_path):
    finding = mounts.root_directory(tmp_path / "a" / "runs")
    assert (finding.verdict, finding.found) == ("ok", f"{tmp_path}/a/runs (does not exist yet; launch creates it)")
    assert mounts.existing_part(tmp_path / "a" / "runs") == tmp_path.resolve()


def test_a_root_that_is_a_file(tmp_path):
    (tmp_path / "runs").write_text("")
    assert mounts.root_directory(tmp_path / "runs").verdict == "fail"


def test_a_root_that_may_not_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    assert mounts.root_directory(tmp_path).verdict == "fail"


@pytest.mark.parametrize(
    ("free_gb", "files", "inodes", "verdict", "part"),
    [
        (500, 10**9, 10**8, "ok", "500 GiB and 100 million inodes free"),
        (500, 0, 0, "ok", "inodes without limit"),
        (5, 10**9, 10**8, "warn", "5 GiB"),
        (500, 10**6, 50_000, "warn", "50000 inodes"),
        (0.05, 10**9, 10**8, "fail", "51.2 MiB"),
        (500, 10**6, 10, "fail", "10 inodes"),
    ],
)
def test_space(tmp_path, monkeypatch, free_gb, files, inodes, verdict, part):
    stat = SimpleNamespace(f_bavail=int(free_gb * 1024**2), f_frsize=1024, f_files=files, f_favail=inodes)
    monkeypatch.setattr(os, "statvfs", lambda _: stat)
    finding = mounts.space(tmp_path)
    assert finding.verdict == verdict and part in finding.found


def test_sizes():
    assert [mounts.size(n) for n in (12, 2048, 3 * 1024**4, 5000 * 1024**4)] == ["12 B", "2 KiB", "3 TiB", "5e+03 TiB"]
