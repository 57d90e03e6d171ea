"""Which checkpoint an attempt goes on from, whatever lies in the trial's directory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from hposlurm.worker import checkpoints
from hposlurm.worker.saved import step_of
from tests.worker.study import Study, report


def torch_file() -> bytes:
    """Bytes as torch.save writes them."""
    buffer = BytesIO()
    with ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", b"data")
    return buffer.getvalue()


def trainer(directory: Path, step: int, ranks: int = 2, *, marked: bool = True) -> Path:
    """What the Trainer with DeepSpeed ZeRO-2 leaves."""
    path = directory / f"checkpoint-{step}"
    shards = path / f"global_step{step}"
    shards.mkdir(parents=True)
    for rank in range(ranks):
        (shards / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt").write_bytes(b"optimizer")
        (path / f"rng_state_{rank}.pth").write_bytes(torch_file())
    (shards / "mp_rank_00_model_states.pt").write_bytes(b"model")
    (path / "latest").write_text(f"global_step{step}")
    (path / "model.safetensors").write_bytes(b"model")
    (path / "training_args.bin").write_bytes(b"arguments")
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    if marked:
        (path / "COMPLETE").touch()
    return path


def plain_trainer(directory: Path, step: int, ranks: int = 1, *, marked: bool = True) -> Path:
    """What the Trainer leaves without DeepSpeed."""
    path = directory / f"checkpoint-{step}"
    path.mkdir(parents=True)
    states = ["rng_state.pth"] if ranks == 1 else [f"rng_state_{rank}.pth" for rank in range(ranks)]
    for name in ("model.safetensors", "training_args.bin", "optimizer.pt", "scheduler.pt", *states):
        (path / name).write_bytes(torch_file())
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    if marked:
        (path / "COMPLETE").touch()
    return path


def shard(path: Path, rank: int) -> Path:
    return next(path.glob(f"global_step*/zero_pp_rank_{rank}_*"))


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert checkpoints.resume(tmp_path / "missing", 1) is None
    assert checkpoints.resume(tmp_path, 1) is None


def test_the_newest_is_that_of_the_largest_step(tmp_path: Path) -> None:
    for step in (9, 10, 2):
        trainer(tmp_path, step)
    assert checkpoints.resume(tmp_path, 1) == tmp_path / "checkpoint-10"
    assert names(tmp_path) == {"checkpoint-2", "checkpoint-9", "checkpoint-10"}


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a torn trainer state": lambda path: (path / "trainer_state.json").write_text('{"global_st'),
    "a trainer state that is none": lambda path: (path / "trainer_state.json").write_text("[]"),
    "no trainer state": lambda path: (path / "trainer_state.json").unlink(),
    "latest names nothing": lambda path: (path / "latest").write_text("global_step999"),
    "latest is empty": lambda path: (path / "latest").write_text(""),
    "no latest": lambda path: (path / "latest").unlink(),
    "rank 0's shard is missing": lambda path: shard(path, 0).unlink(),
    "the last rank's shard is missing": lambda path: shard(path, 1).unlink(),
    "a shard is empty": lambda path: shard(path, 1).write_bytes(b""),
    "no model states": lambda path: next(path.glob("global_step*/mp_rank*")).unlink(),
    "no random state": lambda path: [file.unlink() for file in path.glob("rng_state*")],
    "a random state is missing": lambda path: (path / "rng_state_0.pth").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_one_is_moved_aside_and_the_one_before_it_wins(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    good = trainer(tmp_path, 10)
    damage(trainer(tmp_path, 20))
    assert checkpoints.resume(tmp_path, 3) == good
    assert names(tmp_path) == {"checkpoint-10", "partial-checkpoint-20-3"}
    assert checkpoints.resume(tmp_path, 4) == good


PARTS = ["optimizer.pt", "scheduler.pt", "rng_state_0.pth", "rng_state_1.pth"]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("is_empty", [True, False])
def test_a_marked_one_is_whole_only_with_optimizer_schedule_and_every_random_state(
    tmp_path: Path, part: str, is_empty: bool
) -> None:
    good, bad = plain_trainer(tmp_path, 10, ranks=2), plain_trainer(tmp_path, 20, ranks=2)
    if is_empty:
        (bad / part).write_bytes(b"")
    else:
        (bad / part).unlink()
    assert checkpoints.resume(tmp_path, 3) == good
    assert names(tmp_path) == {"checkpoint-10", "partial-checkpoint-20-3"}


def test_fsdp_names_the_optimizer_otherwise(tmp_path: Path) -> None:
    one, two = plain_trainer(tmp_path, 10, ranks=2), plain_trainer(tmp_path, 20, ranks=2)
    (one / "optimizer.pt").rename(one / "optimizer.bin")
    assert checkpoints.resume(tmp_path, 1) == two
    (two / "optimizer.pt").unlink()
    (two / "optimizer_0").mkdir()
    assert checkpoints.resume(tmp_path, 1) == two


@pytest.mark.parametrize("marked", [True, False])
def test_one_that_has_only_the_model_is_a_result_and_nothing_to_continue_from(tmp_path: Path, marked: bool) -> None:
    good = plain_trainer(tmp_path, 10)
    only = plain_trainer(tmp_path, 20, marked=marked)
    for part in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (only / part).unlink()
    assert checkpoints.resume(tmp_path, 1) == good
    assert names(tmp_path) == {"checkpoint-10", "checkpoint-20"}


def test_the_first_one_half_written_is_moved_aside_although_nothing_was_ever_marked(tmp_path: Path) -> None:
    (trainer(tmp_path, 10, marked=False) / "trainer_state.json").unlink()
    assert checkpoints.resume(tmp_path, 1) is None
    assert names(tmp_path) == {"partial-checkpoint-10-1"}


def test_what_a_trial_announced_before_is_broken_without_its_mark(tmp_path: Path) -> None:
    (tmp_path / "step-7").mkdir()
    (tmp_path / "step-7" / "weights").write_bytes(b"half")
    assert checkpoints.resume(tmp_path, 2, ["step-3"]) is None
    assert names(tmp_path) == {"partial-step-7-2"}


def test_a_training_code_that_marks_nothing_keeps_what_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "step-10").mkdir()
    (tmp_path / "epoch3.pt").write_bytes(b"weights")
    assert checkpoints.resume(tmp_path, 1) is None
    assert names(tmp_path) == {"step-10", "epoch3.pt"}


@pytest.mark.parametrize("make", [trainer, plain_trainer])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_whole_one_of_the_trainer_counts_without_a_mark(
    tmp_path: Path, make: Callable[..., Path], ranks: int
) -> None:
    path = make(tmp_path, 10, ranks, marked=False)
    if make is trainer and ranks == 1:
        (path / "rng_state_0.pth").rename(path / "rng_state.pth")
    assert checkpoints.resume(tmp_path, 1, gpus=ranks) == path


TORN: dict[str, Callable[[Path], object]] = {
    "no trainer state yet": lambda path: (path / "trainer_state.json").unlink(),
    "no model": lambda path: (path / "model.safetensors").unlink(),
    "a part of the model is missing": lambda path: (path / "model.safetensors").rename(
        path / "model-00001-of-00002.safetensors"
    ),
    "the last rank has not saved": lambda path: (path / "rng_state_1.pth").unlink(),
    "rank 0's is missing": lambda path: (path / "rng_state_0.pth").unlink(),
    "the last rank saves now": lambda path: (path / "rng_state_1.pth").write_bytes(torch_file()[:-9]),
    "an older one is written over": lambda path: os.utime(path / "model.safetensors"),
}


@pytest.mark.parametrize("damage", TORN.values(), ids=TORN)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_checkpoint_without_a_mark_counts_only_if_all_of_it_is_there(
    tmp_path: Path, damage: Callable[[Path], object], is_first: bool
) -> None:
    good = None if is_first else plain_trainer(tmp_path, 10, 2, marked=False)
    bad = plain_trainer(tmp_path, 20, 2, marked=False)
    for file in bad.iterdir():
        os.utime(file, (1e9, 1e9))
    damage(bad)
    assert checkpoints.resume(tmp_path, 1, gpus=2) == good


def test_other_files_beside_checkpoints_stay_where_they_are(tmp_path: Path) -> None:
    good = trainer(tmp_path, 10)
    (tmp_path / "log-2024.txt").touch()
    (tmp_path / "best").mkdir()
    assert checkpoints.resume(tmp_path, 1) == good
    assert names(tmp_path) == {"checkpoint-10", "log-2024.txt", "best"}


@pytest.mark.parametrize("ranks", [1, 4, 11])
def test_any_number_of_ranks_may_have_saved(tmp_path: Path, ranks: int) -> None:
    path = trainer(tmp_path, 10, ranks)
    if ranks == 1:
        (path / "rng_state_0.pth").rename(path / "rng_state.pth")
    assert checkpoints.resume(tmp_path, 1) == path


def test_any_directory_with_a_mark_counts(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "COMPLETE").touch()
    assert checkpoints.resume(tmp_path, 1) == tmp_path / "state"


def test_any_file_with_a_mark_beside_it_counts(tmp_path: Path) -> None:
    for name in ("step_7.pt", "step_7.pt.COMPLETE", "step_12.pt", "step_12.pt.COMPLETE", "step_13.pt"):
        (tmp_path / name).touch()
    assert checkpoints.resume(tmp_path, 1) == tmp_path / "step_12.pt"
    assert "partial-step_13.pt-1" in names(tmp_path)


def test_a_mark_of_nothing_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "step_7.pt.COMPLETE").touch()
    assert checkpoints.resume(tmp_path, 1) is None


# ------------------------------------------------------------------------------------------------ in the real worker

SAVE = 'mkdir -p "$HPOSLURM_CHECKPOINT_DIR/step-{0}"; touch "$HPOSLURM_CHECKPOINT_DIR/step-{0}/COMPLETE"'
DONE = report(1, eval_loss=2.5)


def test_the_next_attempt_is_told_where_to_go_on(study: Study) -> None:
    study.plan(f'echo "<$HPOSLURM_RESUME_FROM>" > seen; {SAVE.format(4)}; exit 1')
    study.run()
    assert study.file("seen") == "<>"
    study.run()
    saved = study.trial().checkpoints / "step-4"
    assert study.file("seen") == f"<{saved}>"
    assert study.record("start")["resumed_from"] is None
    assert study.record("start", attempt=1)["resumed_from"] == str(saved)


def test_the_next_attempt_runs_the_command_with_a_checkpoint(study: Study) -> None:
    command = f'echo "$HPOSLURM_RESUME_FROM" > resumed; {DONE}'
    study.plan(f"{SAVE.format(4)}; exit 1", assignment={"command_resumed": command})
    study.run()
    assert study.run()[0] == 0
    assert study.file("resumed").endswith("checkpoints/step-4")


def test_a_half_written_checkpoint_is_out_of_the_way_before_the_command_starts(study: Study) -> None:
    half = 'mkdir "$HPOSLURM_CHECKPOINT_DIR/step-5"; ls "$HPOSLURM_CHECKPOINT_DIR" > seen; exit 1'
    study.plan(f"{SAVE.format(4)}; {half}")
    study.run()
    _, error = study.run()
    assert study.file("seen").split() == ["partial-step-5-1", "step-4", "step-5"]
    assert study.record("start", attempt=1)["resumed_from"].endswith("step-4")
    assert "step-5 is not a whole checkpoint (no COMPLETE mark): moved aside to partial-step-5-1" in error


def test_a_trial_that_ran_into_its_timeout_goes_on_from_what_it_saved(study: Study) -> None:
    study.plan(
        f"{DONE}; {SAVE.format(1)}; echo '{{\"listening\": true}}' >> $HPOSLURM_METRICS_FILE; sleep 1000",
        assignment={"command_resumed": f'echo "$HPOSLURM_RESUME_FROM" > resumed; {DONE}'},
        timeout_s=0.5,
        retries=1,
    )
    assert study.run()[0] == 1
    assert study.end() == ("fail", "trial.timeout of 0.5 s exceeded")
    assert study.run()[0] == 0
    assert study.file("resumed").endswith("checkpoints/step-1")
    assert study.end(attempt=1) == ("complete", "")


def test_a_checkpoint_that_nobody_announced_is_journaled_with_the_step_of_its_report(
    study: Study, tmp_path: Path
) -> None:
    whole = plain_trainer(tmp_path / "made", 20, marked=False)
    plain_trainer(tmp_path / "made", 30).joinpath("optimizer.pt").unlink()
    (whole / "trainer_state.json").write_text('{"global_step": 20, "epoch": 2.0}')
    copy = f'cp -a {tmp_path}/made/. "$HPOSLURM_CHECKPOINT_DIR"'
    study.plan(f"{report(1, eval_loss=3)}; {report(2, eval_loss=2)}; {copy}; exit 1")
    study.run()
    record = study.record("checkpoint")
    assert (record["step"], record["path"]) == (2, str(study.trial().checkpoints / "checkpoint-20"))
    study.run()
    assert study.record("start", attempt=1)["resumed_from"] == record["path"]


@pytest.mark.parametrize(("last", "step"), [(2, 2), (5, 2), (20, 20), (25, 20), (1, 1)])
def test_the_step_of_a_checkpoint_is_in_the_unit_of_the_reports(tmp_path: Path, last: int, step: int) -> None:
    path = plain_trainer(tmp_path, 20)
    (path / "trainer_state.json").write_text('{"global_step": 20, "epoch": 1.9999999}')
    assert step_of(path, last) == step


def test_a_command_that_cannot_save_starts_from_scratch(study: Study) -> None:
    study.plan(f'echo "<$HPOSLURM_RESUME_FROM>" >> seen; {DONE}; [ $HPOSLURM_ATTEMPT = 1 ]')
    assert study.run()[0] == 1
    assert study.run()[0] == 0
    assert study.file("seen").split() == ["<>", "<>"]


@pytest.mark.parametrize("what", ["checkpoints", "the trial"])
def test_nothing_is_renamed_through_a_link(tmp_path: Path, what: str) -> None:
    """Trials that share a directory by links: another one may be writing the checkpoint right now."""
    disk = tmp_path / "disk"
    good = trainer(disk / "checkpoints", 10)
    (trainer(disk / "checkpoints", 20, marked=False) / "latest").unlink()
    trial = tmp_path / "trials" / "00000"
    if what == "the trial":
        trial.parent.mkdir()
        trial.symlink_to(disk)
    else:
        trial.mkdir(parents=True)
        (trial / "checkpoints").symlink_to(disk / "checkpoints")
    assert checkpoints.resume(trial / "checkpoints", 3) == trial / "checkpoints" / good.name
    assert names(disk / "checkpoints") == {"checkpoint-10", "checkpoint-20"}
