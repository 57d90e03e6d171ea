"""Whatever lies in a study's checkpoint directories: nothing outside and nothing unmarked is deleted or renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hposlurm.planner import retention
from hposlurm.records.history import History, read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.spec import StudySpec
from hposlurm.spec.frozen import frozen_spec
from hposlurm.worker import checkpoints
from tests.mounts import can_mount, mounted
from tests.studies import BEGIN, SPEC, add_wave, completed, make_study, write_journal

TRIALS = 3
ANNOUNCED = "told-7"
OURS = ("partial-", ".copy-")
NAMES = ["step-1", "step-2", "notes", "data", ANNOUNCED, "partial-step-3-0", ".copy-step-4-9-0", "COMPLETE"]
#: From the directory that has everything: where links lead, and what is mounted.
TARGETS = [
    "outside", "outside/store", "outside/file", "runs/demo", "runs/demo/trials", "runs/demo/trials/00001/checkpoints",
    "runs/demo/trials/00000", "other/trials/00000/checkpoints", "other/trials/00000", ".", "nowhere",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three complete trials (trial 1 is the best), another study, and files of neither."""
    base = tmp_path_factory.mktemp("whole")
    layout = make_study(base / "runs", n_trials=TRIALS, spec=SPEC.rstrip() + "\n  keep_checkpoints: 1\n")
    add_wave(layout, range(TRIALS))
    for number, loss in enumerate((3.0, 1.0, 2.0)):
        start, *rest = completed(number, loss)
        announced = {"kind": "checkpoint", "t": BEGIN, "step": 7, "path": f"/node/{number}/checkpoints/{ANNOUNCED}"}
        write_journal(layout, number, [start, announced, *rest])
        layout.trial(number).record.write_text("{}")
        layout.trial(number).checkpoints.mkdir()
    for place in (
        "outside/store/step-1",
        "mountable/step-6",
        "outside/deep/deeper",
        "other/trials/00000/checkpoints/step-9",
    ):
        (base / place).mkdir(parents=True)
        (base / place / "COMPLETE").touch()
        (base / place / "weights").write_text(place)
    (base / "other" / "trials" / "00000" / "trial.json").write_text("{}")
    (base / "outside" / "file").write_text("thesis")
    return base


@pytest.fixture(scope="module")
def known(whole: Path) -> tuple[StudySpec, History]:
    layout = StudyLayout(whole / "runs" / "demo")
    return frozen_spec(layout), read_history(layout)


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attacked")


links = st.sampled_from(TARGETS)
entries = st.recursive(
    st.one_of(st.just("file"), links.map(lambda target: ("link", target))),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=4).map(lambda found: ("folder", found)),
    max_leaves=12,
)
#: What stands at trials/N/checkpoints, or at trials/N, for each trial.
homes = st.one_of(
    st.dictionaries(st.sampled_from([*NAMES, "step-1.COMPLETE", "notes.COMPLETE"]), entries, max_size=6).map(
        lambda found: ("folder", found)
    ),
    links.map(lambda target: ("link", target)),
    links.map(lambda target: ("trial link", target)),
)


def build(base: Path, path: Path, what: object) -> None:
    match what:
        case "file":
            path.write_text(str(path))
        case ("link", str(target)):
            if path.is_dir():
                path.rmdir()
            path.symlink_to(base / target)
        case ("trial link", str(target)):
            shutil.rmtree(path.parent)
            path.parent.symlink_to(base / target)
        case ("folder", dict(found)):
            path.mkdir(exist_ok=True)
            for name, inner in found.items():
                build(base, path / name, inner)


def everything(base: Path) -> dict[str, str]:
    """Each path below `base`, links and mounts included, with what is there; links are not followed."""
    found = {}
    for folder, folders, files in os.walk(base):
        for name in (*folders, *files):
            path = Path(folder, name)
            is_other = path.is_symlink() or not path.is_file()
            found[str(path)] = str(path.readlink()) if path.is_symlink() else "" if is_other else path.read_text()
    return found


def deletable(layout: StudyLayout, number: int, is_needed: bool) -> list[str]:
    """The paths of a trial's checkpoints that may go, with all below them. Written without the code under test."""
    home = layout.trial(number).checkpoints
    if layout.trial(number).root.is_symlink() or not home.is_dir():
        return []
    found = []
    for entry in sorted(home.iterdir()):
        beside = home / f"{entry.name}.COMPLETE"
        mark = entry / "COMPLETE" if entry.is_dir() and not entry.is_symlink() else beside
        is_marked = mark.is_file() and not mark.is_symlink()
        is_ours = not home.is_symlink() and (entry.name.startswith(OURS) or entry.name == ANNOUNCED)
        if (not is_needed and (is_marked or is_ours)) or (is_ours and entry.name.startswith("partial-")):
            found += [str(entry), str(beside)]
            if home.is_symlink():
                found += [os.path.realpath(home) + f"/{entry.name}", os.path.realpath(home) + f"/{beside.name}"]
    return found


def is_below(path: str, allowed: list[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in allowed)


@contextlib.contextmanager
def some_mounts(base: Path, places: list[tuple[int, str | None]]) -> Iterator[list[str]]:
    """Mounts on folders of the checkpoint directories, counted through, and yields where."""
    roots = (base / "runs" / "demo" / "trials" / f"{number:05d}" for number in range(TRIALS))
    inside = (path for root in roots if not root.is_symlink() for path in root.glob("**/*"))  # glob follows no link
    folders = sorted(path for path in inside if path.is_dir() and not path.is_symlink())
    with contextlib.ExitStack() as stack:
        used = []
        for index, source in places if folders and can_mount() else ():
            place = folders[index % len(folders)]
            if not any(str(place).startswith(other) for other in used):
                stack.enter_context(mounted(place, None if source is None else base / source))
                used.append(str(place))
                if source is None:
                    (place / "step-5").mkdir()
                    (place / "step-5" / "COMPLETE").touch()
        yield used


mounts = st.lists(st.tuples(st.integers(0, 30), st.sampled_from([None, "mountable"])), max_size=2)


@settings(max_examples=200, report_multiple_bugs=False, suppress_health_check=list(HealthCheck))
@given(st.tuples(*[homes] * TRIALS), mounts, st.integers(0, 2), st.sampled_from(["gc", "tidy", "resume"]))
def test_nothing_outside_and_nothing_unmarked_goes(
    whole: Path, known: tuple, where: Path, trials: tuple, places: list, keep: int, verb: str
) -> None:
    base = where / "base"
    shutil.rmtree(base, ignore_errors=True)
    shutil.copytree(whole, base, symlinks=True)
    layout = StudyLayout(base / "runs" / "demo")
    for number, what in enumerate(trials):
        build(base, layout.trial(number).checkpoints, what)
    # a directory with a mount below it may be renamed, and the mount moves with it
    with some_mounts(base, [] if verb == "resume" else places) as used:
        before = everything(base)
        needed = sorted((1, 2, 0)[: keep if verb == "gc" else 1])
        allowed = [place for n in range(TRIALS) for place in deletable(layout, n, n in needed)]
        if verb == "gc":
            retention.clear(layout, *known, keep)
        elif verb == "tidy":
            retention.tidy(layout, *known)
        else:
            checkpoints.resume(layout.trial(0).checkpoints, 5, [ANNOUNCED])
            allowed = [str(layout.trial(0).checkpoints)]
        after = everything(base)
    gone = [path for path in before if path not in after]
    assert [path for path in gone if not is_below(path, allowed)] == []
    assert [path for path in gone if any(path.startswith(f"{place}/") for place in used)] == [], "crossed a mount"
    assert {path for path in after if path in before and after[path] != before[path]} == set()
    homes = [layout.trial(n).checkpoints for n in needed if not layout.trial(n).root.is_symlink()]
    kept = [str(base / "other"), *(str(home) for home in homes if not home.is_symlink())]
    if verb != "resume":
        assert [path for path in gone if is_below(path, kept) and "/partial-" not in path] == []
    else:
        if layout.trial(0).checkpoints.is_symlink() or layout.trial(0).root.is_symlink():
            assert after == before
