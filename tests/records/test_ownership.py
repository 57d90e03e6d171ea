"""Which study directories a user may act upon, and what is said about the directories above them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from hposlurm.errors import RequestError
from hposlurm.records import ownership
from hposlurm.records.ownership import check_own
from tests.users import ALICE, MALLORY, as_user, needs_users, shared

__all__ = ["shared"]


def make(path: Path, mode: int = 0o700, owner: int = ALICE, group: int | None = None) -> Path:
    path.mkdir()
    os.chown(path, owner, owner if group is None else group)
    path.chmod(mode)
    return path


def notes(path: Path, user: int = ALICE) -> tuple[str, ...]:
    return as_user(user, lambda: check_own(path))


def refusal(path: Path, user: int = ALICE) -> str:
    def refused() -> str:
        with pytest.raises(RequestError) as raised:
            check_own(path)
        return str(raised.value)

    return as_user(user, refused)


def test_an_own_private_directory_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir(mode=0o700)
    assert check_own(tmp_path / "study") == ()


def test_a_directory_that_does_not_exist_yet_is_a_question_of_those_above(tmp_path: Path) -> None:
    assert check_own(tmp_path / "runs" / "study") == ()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o722])
def test_a_study_that_every_user_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    study = tmp_path / "study"
    study.mkdir()
    study.chmod(mode)
    with pytest.raises(RequestError, match=f"every user may write to {study}, .*: chmod go-w {study}"):
        check_own(study)


@pytest.mark.parametrize("inner", ["waves", "trials"])
def test_the_places_of_records_in_a_study_count_too(tmp_path: Path, inner: str) -> None:
    (tmp_path / "study" / inner).mkdir(parents=True)
    (tmp_path / "study" / inner).chmod(0o777)
    with pytest.raises(RequestError, match=f"every user may write to .*/{inner}"):
        check_own(tmp_path / "study")


@pytest.mark.parametrize("name", ["study", "absent/study"])
def test_an_open_directory_above_is_refused_unless_it_is_sticky(tmp_path: Path, name: str) -> None:
    runs = tmp_path / "runs"
    (runs / "study").mkdir(parents=True, mode=0o700)
    runs.chmod(0o777)
    with pytest.raises(RequestError, match=f"every user may rename what is in {runs}.* chmod o-w {runs} "):
        check_own(runs / name)
    runs.chmod(0o1777)
    assert check_own(runs / name) == ()


@needs_users
def test_a_study_of_another_user_is_refused(shared: Path) -> None:
    study = make(shared / "thesis", 0o755, MALLORY)
    assert f"{study} belongs to user {MALLORY}, and you are user {ALICE}" in refusal(study)
    assert notes(study, MALLORY) == ()


@needs_users
def test_root_is_no_exception(shared: Path) -> None:
    """His would run the other's commands as root."""
    study = make(shared / "thesis", 0o755, MALLORY)
    with pytest.raises(RequestError, match=f"belongs to user {MALLORY}"):
        check_own(study)


@needs_users
def test_a_directory_that_another_user_made_in_an_open_place_is_refused(shared: Path) -> None:
    make(shared / "runs", 0o1777, MALLORY)
    make(shared / "runs" / "thesis")
    for name in ("thesis", "new"):
        text = refusal(shared / "runs" / name)
        assert f"{shared / 'runs'} belongs to user {MALLORY}, and every user may create such a directory" in text


@needs_users
def test_a_link_that_another_user_made_in_an_open_place_is_refused(shared: Path) -> None:
    make(shared / "home", 0o700)
    make(shared / "home" / "study")
    (shared / "runs").symlink_to(shared / "home")
    os.lchown(shared / "runs", MALLORY, MALLORY)
    assert f"{shared / 'runs'} belongs to user {MALLORY}" in refusal(shared / "runs" / "study")
    os.lchown(shared / "runs", ALICE, ALICE)
    assert notes(shared / "runs" / "study") == ()


@needs_users
def test_a_project_directory_of_a_group_is_accepted_with_what_to_do(shared: Path) -> None:
    shared.chmod(0o755)
    project = make(shared / "project", 0o2770, MALLORY, ALICE)  # as on many clusters
    runs = make(project / "runs", 0o2770, ALICE, ALICE)
    make(runs / "study")
    found = notes(runs / "study")
    assert found[0] == f"{project} belongs to user {MALLORY}, who can rename or replace what is in it"
    assert found[1].startswith(
        f"every member of the group {ALICE} can rename or replace what is in {runs}; chmod g-w {runs}"
    )
    runs.chmod(0o3770)
    assert len(notes(runs / "study")) == 1


@needs_users
def test_a_study_that_a_group_may_write_is_refused(shared: Path) -> None:
    study = make(shared / "study", 0o770, ALICE, MALLORY)
    assert f"every member of the group {MALLORY} may write to {study}" in refusal(study)
    study.chmod(0o750)  # colleagues read it
    assert notes(study) == ()


@needs_users
def test_a_study_behind_an_own_link_is_accepted(shared: Path) -> None:
    make(shared / "scratch")
    make(shared / "scratch" / "study")
    make(shared / "home")
    (shared / "home" / "runs").symlink_to("../scratch")
    os.lchown(shared / "home" / "runs", ALICE, ALICE)
    assert notes(shared / "home" / "runs" / "study") == ()


def test_links_that_lead_in_a_circle_are_followed_only_so_far(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(RequestError, match="too many links"):
        check_own(tmp_path / "a" / "study")


@pytest.mark.parametrize(("answer", "is_root"), [("0 0 4294967295", False), ("0 1000 1\n1 100000 65536", True)])
def test_in_a_user_namespace_root_has_the_overflow_id(
    monkeypatch: pytest.MonkeyPatch, answer: str, is_root: bool
) -> None:
    read = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda self, *a, **k: answer if str(self) == "/proc/self/uid_map" else read(self, *a, **k)
    )
    assert ownership._roots() == ({65534} if is_root else set())


@pytest.mark.parametrize(
    ("name", "members", "is_private"),
    [("alice", [], True), ("alice", ["alice"], True), ("alice", ["alice", "bob"], False), ("project", [], False)],
)
def test_a_group_of_the_users_own_name_without_others_is_private(
    monkeypatch: pytest.MonkeyPatch, name: str, members: list[str], is_private: bool
) -> None:
    """With umask 002 every directory is writable by such a group, as on many systems."""
    monkeypatch.setattr(ownership.pwd, "getpwuid", lambda _: SimpleNamespace(pw_name="alice"))
    monkeypatch.setattr(ownership.grp, "getgrgid", lambda _: SimpleNamespace(gr_name=name, gr_mem=members))
    assert ownership._is_private(1000) is is_private
