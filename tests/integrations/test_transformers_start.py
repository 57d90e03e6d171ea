"""A script whose only change is `callbacks=[HposlurmCallback()]`: where its checkpoints go, and that it continues."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]


class Trial:
    """The variables of a trial, and a script that knows nothing of it but the callback."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        from transformers import Trainer

        self.metrics, self.checkpoints = directory / "metrics.jsonl", directory / "checkpoints"
        self.results = directory / "results"
        self._patch, self._unwrapped = patch, Trainer.train
        patch.setenv("HPOSLURM_METRICS_FILE", str(self.metrics))
        patch.setenv("HPOSLURM_CHECKPOINT_DIR", str(self.checkpoints))

    def train(
        self,
        max_step: int,
        resume_from: Path | None = None,
        *,
        is_late: bool = False,
        keep: int | None = None,
        patience: int | None = None,
        greater_is_better: bool | None = None,
        **given: Any,
    ) -> Any:
        """Returns the Trainer after one attempt of three epochs with 2 steps each."""
        import torch
        from transformers import EarlyStoppingCallback, GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

        from hposlurm.integrations.transformers import HposlurmCallback

        self._patch.setattr(Trainer, "train", self._unwrapped)  # each attempt is a process of its own
        self._patch.setattr("hposlurm.client._reported", {})
        self._patch.setenv("HPOSLURM_MAX_STEP", str(max_step))
        self._patch.setenv("HPOSLURM_RESUME_FROM", str(resume_from or ""))
        self._patch.setenv("HPOSLURM_FROM_STEP", "1" if resume_from else "0")
        data = [{"input_ids": torch.arange(4), "labels": torch.arange(4)}] * 4
        trainer = Trainer(
            model=GPT2LMHeadModel(GPT2Config(vocab_size=8, n_positions=4, n_embd=4, n_layer=1, n_head=1)),
            args=TrainingArguments(
                output_dir=str(self.results),
                per_device_train_batch_size=2,
                num_train_epochs=3,
                eval_strategy="epoch",
                save_strategy="epoch",
                report_to="none",
                use_cpu=True,
                disable_tqdm=True,
                learning_rate=1e-2,
                greater_is_better=greater_is_better,
                metric_for_best_model=patience and "eval_loss",
                load_best_model_at_end=bool(patience),
            ),
            train_dataset=data,
            eval_dataset=data,
            callbacks=[] if is_late else [HposlurmCallback(keep=keep)],
        )
        if is_late:
            trainer.add_callback(HposlurmCallback())
        if patience:
            trainer.add_callback(EarlyStoppingCallback(patience))
        trainer.train(**given)
        return trainer

    def steps(self) -> list[int]:
        lines = map(json.loads, self.metrics.read_text().splitlines())
        return [line["step"] for line in lines if "metrics" in line]


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trial:
    return Trial(tmp_path, monkeypatch)


@pytest.mark.parametrize("is_late", [False, True])
def test_checkpoints_go_to_the_trial_and_the_next_stage_continues_them(trial: Trial, is_late: bool) -> None:
    first = trial.train(1, is_late=is_late)
    assert first.state.global_step == 2 and trial.steps() == [1]
    (checkpoint,) = trial.checkpoints.iterdir()
    assert checkpoint.name == "checkpoint-2" and (checkpoint / "COMPLETE").exists()
    assert not list(trial.results.iterdir())  # the directory that all trials share

    trial.train(3, checkpoint, is_late=is_late)
    assert trial.steps() == [1, 2, 3]


@pytest.mark.parametrize("given", ["elsewhere", True, False])
def test_the_trial_s_own_checkpoint_counts_before_one_that_the_script_found(trial: Trial, given: Any) -> None:
    trial.train(1, resume_from_checkpoint=given if given is not True and given != "elsewhere" else None)
    (checkpoint,) = trial.checkpoints.iterdir()
    if given == "elsewhere":
        given = str(shutil.copytree(checkpoint, trial.results / "checkpoint-9"))
    trial.train(2, checkpoint, resume_from_checkpoint=given)
    assert trial.steps() == [1, 2]


@pytest.mark.usefixtures("trial")
def test_a_first_attempt_starts_where_the_script_says() -> None:
    from hposlurm.integrations.transformers_start import start_of

    assert start_of("old/checkpoint-9") == "old/checkpoint-9"
    assert start_of(True) is None and start_of(None) is None


def test_a_checkpoint_of_the_trial_that_the_script_chose_is_kept(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    from hposlurm.integrations.transformers_start import start_of

    monkeypatch.setenv("HPOSLURM_RESUME_FROM", str(trial.checkpoints / "checkpoint-4"))
    chosen = str(trial.checkpoints / "checkpoint-2")
    assert start_of(chosen) == chosen


def test_a_second_training_of_the_same_process_does_not_continue_the_first(trial: Trial) -> None:
    trial.train(1)
    (checkpoint,) = trial.checkpoints.iterdir()
    trainer = trial.train(3, checkpoint)
    assert trial.steps() == [1, 2, 3]
    shutil.rmtree(trial.checkpoints)
    trainer.train()
    assert trial.steps() == [1, 2, 3, 1, 2, 3]


def test_outside_a_study_the_output_directory_is_the_script_s(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HPOSLURM_METRICS_FILE", "HPOSLURM_CHECKPOINT_DIR"):
        monkeypatch.delenv(name)
    trainer = trial.train(3)
    assert trainer.state.global_step == 6 and len(list(trial.results.iterdir())) == 3


def test_the_best_checkpoint_is_kept_beside_the_newest(trial: Trial) -> None:
    """The largest loss counts as the best: that after the first epoch."""
    trainer = trial.train(3, keep=1, patience=9, greater_is_better=True)
    assert trial.steps() == [1, 2, 3]
    names = sorted(path.name for path in trial.checkpoints.iterdir())
    assert names == ["checkpoint-2", "checkpoint-6"]
    assert Path(trainer.state.best_model_checkpoint).name == "checkpoint-2"  # which was loaded at the end


def test_a_best_checkpoint_at_the_last_step_is_known(trial: Trial) -> None:
    trainer = trial.train(3, keep=1, patience=9)
    assert Path(trainer.state.best_model_checkpoint).name == "checkpoint-6"


def test_the_patience_of_early_stopping_goes_on_after_an_interruption(trial: Trial) -> None:
    """Two evaluations in a row without improvement end the training: of steps 2 and 3, in two attempts."""
    trial.train(2, patience=2, greater_is_better=True)
    newest = trial.checkpoints / "checkpoint-4"
    trainer = trial.train(3, newest, patience=2, greater_is_better=True)
    assert trial.steps() == [1, 2, 3]  # and none twice: the checkpoint was saved after its evaluation
    stopper = next(c for c in trainer.callback_handler.callbacks if type(c).__name__ == "EarlyStoppingCallback")
    assert stopper.early_stopping_patience_counter == 2
