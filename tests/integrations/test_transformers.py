"""The Trainer's callback: what it reports, when it stops, and that ranks stop together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# transformers warns of its own renamings at import, which is not ours to fail
pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

RANK_1_IS_ASKED = """
import os, pathlib, sys, torch
from transformers import TrainerControl, TrainerState, TrainingArguments
from hposlurm.integrations.transformers import HposlurmCallback

if os.environ["RANK"] == "1":
    os.environ["HPOSLURM_REQUEST_FILE"] = sys.argv[1]
args = TrainingArguments(output_dir=sys.argv[2], use_cpu=True, save_strategy="epoch", report_to="none")
args.device  # starts the process group
control = HposlurmCallback().on_step_end(args, TrainerState(), TrainerControl())
answer = pathlib.Path(sys.argv[2], "rank" + os.environ["RANK"])  # not stdout, where ranks write into each other's lines
answer.write_text(f"stop={control.should_training_stop} save={control.should_save}")
torch.distributed.destroy_process_group()
"""


class Study:
    """What a worker would give a training process, and what it would read from it."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.output, self.request, self.metrics = directory / "out", directory / "request", directory / "metrics.jsonl"
        patch.setenv("HPOSLURM_METRICS_FILE", str(self.metrics))
        patch.setenv("HPOSLURM_REQUEST_FILE", str(self.request))
        patch.setenv("RANK", "0")

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.metrics.read_text().splitlines()]

    def call(
        self,
        event: str,
        *,
        epoch: float = 0.5,
        step: int = 10,
        save: str = "epoch",
        steps: int = 1000,
        every: int | None = None,
        callback: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The control object after one event of a training run."""
        from transformers import TrainerControl, TrainerState, TrainingArguments

        from hposlurm.integrations.transformers import HposlurmCallback

        self.args = TrainingArguments(
            output_dir=str(self.output),
            use_cpu=True,
            save_strategy=save,
            eval_strategy="steps" if every else "epoch",
            eval_steps=every,
            report_to="none",
        )
        state = TrainerState(epoch=epoch, global_step=step, max_steps=steps)
        return getattr(callback or HposlurmCallback(), event)(self.args, state, TrainerControl(), **kwargs)

    def checkpoint(self, step: int) -> Path:
        directory = self.output / f"checkpoint-{step}"
        (directory / "parts").mkdir(parents=True)
        (directory / "parts" / "shard.pt").write_bytes(b"weights")
        return directory


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    return Study(tmp_path, monkeypatch)


def test_an_evaluation_is_reported_at_the_completed_epoch(study: Study) -> None:
    study.call("on_evaluate", epoch=1.9999999999, metrics={"eval_loss": 2.5, "f1": 30, "epoch": 2.0, "note": "text"})

    assert study.lines()[0] == {"step": 2, "metrics": {"eval_loss": 2.5, "f1": 30}}


def test_an_evaluation_carries_the_gpu_s_peak_unless_the_script_measures_it(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 3 * 2**30)
    study.call("on_evaluate", epoch=1.0, metrics={"eval_loss": 2.5})
    study.call("on_evaluate", epoch=2.0, metrics={"eval_loss": 2.5, "peak_gpu_gb": 7.0})
    reports = [line["metrics"] for line in study.lines() if "metrics" in line]
    assert reports == [{"peak_gpu_gb": 3.0, "eval_loss": 2.5}, {"peak_gpu_gb": 7.0, "eval_loss": 2.5}]


def test_an_epoch_under_way_is_not_counted(study: Study) -> None:
    study.call("on_evaluate", epoch=1.9, metrics={"eval_loss": 2.5})

    assert study.lines()[0]["step"] == 1


def test_a_saved_checkpoint_is_marked_complete_and_reported(study: Study) -> None:
    checkpoint = study.checkpoint(10)

    study.call("on_save", epoch=1.0, step=10)

    assert (checkpoint / "COMPLETE").exists()
    assert study.lines() == [{"checkpoint": str(checkpoint), "step": 1}]


def test_a_checkpoint_that_has_only_the_model_is_not_one(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = study.checkpoint(10)
    (checkpoint / "parts" / "shard.pt").unlink()
    (checkpoint / "parts").rmdir()
    (checkpoint / "trainer_state.json").write_text("{}")  # save_only_model=True

    study.call("on_save", epoch=1.0, step=10)

    assert not (checkpoint / "COMPLETE").exists() and not study.metrics.exists()
    assert "no run can continue from" in caplog.text and "only the model" in caplog.text


def test_checkpoints_that_will_be_written_again_lose_their_mark(study: Study) -> None:
    for step in (10, 20):
        (study.checkpoint(step) / "COMPLETE").touch()

    study.call("on_train_begin", step=10)

    assert [mark.parent.name for mark in study.output.glob("*/COMPLETE")] == ["checkpoint-10"]


def test_without_a_request_the_training_goes_on(study: Study) -> None:
    control = study.call("on_step_end")

    assert not control.should_training_stop
    assert not control.should_save


@pytest.mark.parametrize(("save", "saved"), [("epoch", True), ("no", False)])
def test_a_request_stops_and_saves_if_the_run_saves_at_all(study: Study, save: str, saved: bool) -> None:
    study.request.touch()

    control = study.call("on_step_end", save=save)

    assert control.should_training_stop
    assert control.should_save is saved


def test_the_end_of_an_epoch_is_saved_before_it_is_evaluated(study: Study) -> None:
    from hposlurm.integrations.transformers import HposlurmCallback

    callback = HposlurmCallback()
    study.checkpoint(10)
    control = study.call("on_step_end", epoch=1.0, callback=callback)
    assert control.should_save and not control.should_training_stop
    assert not (study.output / "checkpoint-10").exists()  # an earlier run's: old files would mix with new ones

    study.checkpoint(10)
    study.call("on_save", epoch=1.0, callback=callback)
    control = study.call("on_epoch_end", epoch=1.0, callback=callback)
    assert not control.should_save
    assert (study.output / "checkpoint-10" / "COMPLETE").exists()


def test_a_run_that_goes_on_from_the_end_of_an_epoch_evaluates_first(study: Study) -> None:
    for epoch, step, evaluates in ((0.0, 0, False), (0.5, 10, False), (1.0, 10, True)):
        study.call("on_train_begin", epoch=epoch, step=step)
        assert study.args.eval_on_start is evaluates


def test_a_run_that_leaves_in_an_epoch_evaluates_nothing_more(study: Study) -> None:
    from transformers import TrainerControl, TrainerState

    from hposlurm.integrations.transformers import HposlurmCallback

    callback = HposlurmCallback()
    study.request.touch()
    assert study.call("on_step_end", callback=callback).should_training_stop
    wanted = TrainerControl(should_evaluate=True, should_save=True)
    control = callback.on_epoch_end(study.args, TrainerState(epoch=0.5, global_step=10, max_steps=1000), wanted)
    assert not control.should_evaluate and not control.should_save


def test_a_request_after_the_last_step_stops_nothing(study: Study) -> None:
    study.request.touch()
    control = study.call("on_step_end", epoch=1.0, step=20, steps=20)
    assert not control.should_training_stop
    assert not study.metrics.exists()  # it never says that it leaves because it was asked


def test_only_the_newest_whole_checkpoints_are_kept(study: Study) -> None:
    from hposlurm.integrations.transformers import HposlurmCallback

    for step in (10, 20, 30, 40):
        study.checkpoint(step)
    for step in (10, 20):
        (study.output / f"checkpoint-{step}" / "COMPLETE").touch()
    study.call("on_save", step=40, callback=HposlurmCallback(keep=2))
    left = sorted(path.name for path in study.output.iterdir())
    assert left == ["checkpoint-20", "checkpoint-30", "checkpoint-40"]  # 30 never became whole: not ours to judge


@pytest.mark.parametrize(("epoch", "stops"), [(1.0, False), (2.0, True), (3.0, True)])
def test_the_training_ends_after_the_assignments_last_epoch(
    study: Study, monkeypatch: pytest.MonkeyPatch, epoch: float, stops: bool
) -> None:
    monkeypatch.setenv("HPOSLURM_MAX_STEP", "2")

    assert study.call("on_epoch_end", epoch=epoch).should_training_stop is stops


def test_a_stage_begins_without_the_evaluation_that_ended_the_one_before(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPOSLURM_FROM_STEP", "2")
    monkeypatch.setenv("HPOSLURM_MAX_STEP", "4")
    for epoch, evaluates in ((2.0, False), (3.0, True), (4.0, True)):
        study.call("on_train_begin", epoch=epoch)
        assert study.args.eval_on_start is evaluates


def test_optimizer_steps_can_be_what_is_counted(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    from hposlurm.integrations.transformers import HposlurmCallback

    monkeypatch.setenv("HPOSLURM_FROM_STEP", "10")
    monkeypatch.setenv("HPOSLURM_MAX_STEP", "20")

    def call(event: str, step: int, **kwargs: Any) -> Any:
        return study.call(event, step=step, save="steps", every=5, callback=HposlurmCallback(unit="step"), **kwargs)

    study.checkpoint(15)
    call("on_save", 15)
    call("on_evaluate", 15, metrics={"eval_loss": 2.5})
    reported, saved = [next(line for line in study.lines() if key in line) for key in ("metrics", "checkpoint")]
    assert (reported["step"], saved["step"]) == (15, 15)
    for step, ends in ((19, False), (20, True)):
        control = call("on_step_end", step)
        assert [control.should_training_stop, control.should_save, control.should_evaluate] == [ends] * 3
    for step, evaluates in ((10, False), (12, False), (15, True)):
        call("on_train_begin", step)
        assert study.args.eval_on_start is evaluates


def test_a_checkpoint_of_another_batch_size_is_refused(study: Study) -> None:
    from transformers import TrainerControl, TrainerState

    from hposlurm.integrations.transformers import HposlurmCallback

    study.call("on_step_end")  # makes the arguments
    state = TrainerState(epoch=1.0, global_step=10, max_steps=1000, train_batch_size=4)
    with pytest.raises(ValueError, match="batches of 4, this run has 8"):
        HposlurmCallback().on_train_begin(study.args, state, TrainerControl())


def test_without_a_last_epoch_the_training_ends_by_itself(study: Study) -> None:
    assert not study.call("on_epoch_end", epoch=100.0).should_training_stop


def test_all_ranks_stop_when_one_of_them_was_asked(tmp_path: Path) -> None:
    """The request file shows up on one node before it does on another."""
    script, request = tmp_path / "ranks.py", tmp_path / "request"
    script.write_text(RANK_1_IS_ASKED)
    request.touch()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HPOSLURM_")} | {
        "HPOSLURM_METRICS_FILE": str(tmp_path / "metrics.jsonl"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]

    done = subprocess.run(
        [*command, str(request), str(tmp_path)], env=environment, capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert [(tmp_path / f"rank{rank}").read_text() for rank in (0, 1)] == ["stop=True save=True"] * 2
