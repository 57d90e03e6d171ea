"""A callback for the Hugging Face Trainer: reports evaluations and checkpoints, and stops the training on request.

    trainer = Trainer(…, callbacks=[HposlurmCallback(learning_rate=args.lr, weight_decay=args.wd)])
    trainer.train()

In a study, checkpoints go into the trial's own directory whatever `output_dir` is, and `train()` continues the newest
one. The same script runs outside a study; a report is then a line on the terminal.
"""

# ruff: noqa: ARG002 - the signatures are the Trainer's
from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from hposlurm import client
from hposlurm.integrations.optimizer import Setting, set_learning_rate, set_weight_decay, value_from
from hposlurm.integrations.transformers_start import Companion, restore_patience, resume_by_itself, send_to_trial
from hposlurm.records.checkpoint_files import problem_of
from hposlurm.records.files import create_once, make_durable
from hposlurm.records.layout import COMPLETE
from hposlurm.records.trees import remove_tree

_log = logging.getLogger(__name__)


class HposlurmCallback(Companion):
    """Communicates with the worker on rank 0, and lets all ranks agree before any of them stops.

    Ends the training at the last step of the assignment, after a checkpoint and an evaluation. The learning-rate
    schedule stays that of the training arguments. A run that saves by epoch saves before the evaluation, because the
    evaluation may take long; with metric_for_best_model it saves after it, because the checkpoint says which one is the
    best. A run that continues where an evaluation is missing evaluates first. EarlyStoppingCallback keeps its patience.

    keep: how many complete checkpoints to keep, the newest ones and the Trainer's best one; None keeps all.
    unit: the unit of reports, in which the study counts its resource: "epoch" (completed epochs) or "step".
    learning_rate, weight_decay: values that replace those of a checkpoint, one value or {0: …, 3: …} by the step from
        which each applies; None keeps the checkpoint's.
    is_leaving: true as soon as the study has requested this run to save and exit.
    """

    def __init__(
        self,
        keep: int | None = None,
        *,
        unit: Literal["epoch", "step"] = "epoch",
        learning_rate: Setting | None = None,
        weight_decay: Setting | None = None,
    ) -> None:
        self._keep, self._unit = keep, unit
        self._learning_rate, self._weight_decay = learning_rate, weight_decay
        self._began_at = self._saved_step = -1
        self.is_leaving = False
        self._was_over = False
        resume_by_itself(HposlurmCallback)

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Sends checkpoints to the trial's own directory."""
        send_to_trial(args, is_main=state.is_world_process_zero)
        return control

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Removes the marks of checkpoints that this run will overwrite: half written, they must not look complete.

        Raises ValueError if the run cannot continue from its checkpoint.
        """
        self._began_at, self._saved_step, self.is_leaving = state.global_step, -1, False
        self._was_over = state.global_step > 0 and self.is_over(state)
        if state.is_world_process_zero and args.save_strategy != "no":
            for checkpoint in _checkpoints(args):
                if _step(checkpoint) > state.global_step:
                    (checkpoint / COMPLETE).unlink(missing_ok=True)
        if state.global_step > 0:
            _check_batch_size(args, state)
            self._set(state, kwargs)
            restore_patience(self.others, state)
            args.eval_on_start = self._is_unevaluated(args, state)  # the Trainer reads it right after this
        return control

    def _is_unevaluated(self, args: TrainingArguments, state: TrainerState) -> bool:
        """True if a run that continues here must first make up for a missing evaluation, as far as it can know."""
        if any(entry.get("step") == state.global_step and "eval_runtime" in entry for entry in state.log_history):
            return False  # the checkpoint was saved after its evaluation, as the Trainer does by itself
        if args.eval_strategy == "no" or self._was_over:
            return self._was_over and args.eval_strategy != "no"
        if args.eval_strategy == "steps":
            is_due = state.global_step % int(args.eval_steps or 1) == 0
        else:
            is_due = _is_at_epoch_end(state)
        return is_due and self.position(state) > client.from_step()

    def position(self, state: TrainerState) -> int:
        """Returns the step of a report made now: completed epochs or optimizer steps."""
        return completed_epochs(state) if self._unit == "epoch" else state.global_step

    def is_over(self, state: TrainerState) -> bool:
        """True if all steps are done, or all assigned ones."""
        last = client.max_step()
        return state.global_step >= state.max_steps > 0 or (last is not None and self.position(state) >= last)

    def _set(self, state: TrainerState, trainer: dict[str, Any]) -> None:
        """Sets the learning rate and weight decay that apply here in the optimizer and the schedule."""
        optimizer, here = trainer.get("optimizer"), self.position(state)
        if optimizer is None:
            return
        if self._learning_rate is not None:
            set_learning_rate(optimizer, trainer.get("lr_scheduler"), value_from(self._learning_rate, here))
        if self._weight_decay is not None:
            set_weight_decay(optimizer, value_from(self._weight_decay, here))

    def _changes_here(self, state: TrainerState) -> bool:
        """True if a new learning rate or weight decay applies from here on."""
        if self._unit == "epoch" and not _is_at_epoch_end(state):
            return False
        settings = (self._learning_rate, self._weight_decay)
        return any(self.position(state) in setting for setting in settings if isinstance(setting, Mapping))

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Reports the metrics that are numbers, except `epoch`, which is the step; then exits if requested."""
        metrics: dict[str, Any] = kwargs.get("metrics") or {}
        numbers = {name: value for name, value in metrics.items() if isinstance(value, Real) and name != "epoch"}
        if numbers:
            client.report(self.position(state), **{**_peak_gpu_gb(), **numbers})
        if self.may_break_off(args, state):
            control.should_training_stop = True
            control.should_save = args.save_strategy != "no" and self._saved_step != state.global_step
        return control

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Marks the checkpoint as complete, after every rank's part is on disk, and reports it.

        One that has only the model (`save_only_model`) is not marked: a run that continued it would begin with a new
        optimizer and schedule.
        """
        self._saved_step = state.global_step
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        if state.is_world_process_zero:
            checkpoint = Path(args.output_dir or ".") / f"checkpoint-{state.global_step}"
            if problem := problem_of(checkpoint, args.world_size):
                _log.warning("hposlurm: no run can continue from %s: %s", checkpoint, problem)
                return control
            make_durable(checkpoint)
            create_once(checkpoint / COMPLETE, b"")
            client.report_checkpoint(self.position(state), checkpoint)
            for older in self._surplus(args, state):
                _remove(older)
        return control

    def _surplus(self, args: TrainingArguments, state: TrainerState) -> list[Path]:
        """Returns the complete checkpoints to remove: all but the newest `keep` and the best one by the Trainer."""
        whole = sorted((c for c in _checkpoints(args) if (c / COMPLETE).exists()), key=_step)
        best = Path(state.best_model_checkpoint or "").name, f"checkpoint-{state.best_global_step}"
        return [] if self._keep is None else [each for each in whole[: -self._keep] if each.name not in best]

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Saves at the end of an epoch. Saves and stops all ranks at the same step after a request to any rank."""
        if self._was_over:
            control.should_training_stop = True  # the Trainer always makes one step
            return control
        if self._changes_here(state):
            self._set(state, kwargs)
        if args.save_strategy == "epoch" and _is_at_epoch_end(state) and not args.metric_for_best_model:
            control.should_save = True
        if self._unit == "step" and self.is_over(state):
            control.should_training_stop = True
            control.should_save, control.should_evaluate = args.save_strategy != "no", args.eval_strategy != "no"
        if self.must_leave(args, state):
            control.should_training_stop = True
            control.should_save = args.save_strategy != "no"
        _make_room(args, state, control)
        return control

    def must_leave(self, args: TrainingArguments, state: TrainerState) -> bool:
        """True on all ranks if the run should save and exit now. Collective: every rank must call it.

        False when all training is done, because only the result is missing then.
        """
        if client.in_study() and not self.is_over(state) and _any_rank(client.should_stop, args.device):
            self.is_leaving = True
        return self.is_leaving

    def may_break_off(self, args: TrainingArguments, state: TrainerState) -> bool:
        """True on all ranks if an evaluation should end without a result: it is repeated when the run continues.

        Like `must_leave`, but False in an evaluation that is itself the repetition.
        """
        return state.global_step > self._began_at and self.must_leave(args, state)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ends the training after the assignment's last epoch; the schedule stays that of all epochs."""
        if self.is_leaving or self._was_over:
            control.should_evaluate = control.should_save = False
        elif self._saved_step == state.global_step:
            control.should_save = False
        if self.is_over(state):
            control.should_training_stop = True
        _make_room(args, state, control)
        return control


def completed_epochs(state: TrainerState) -> int:
    """Returns the number of completed epochs. The Trainer's float may be too small by a rounding error."""
    return math.floor((state.epoch or 0.0) + 1e-6)


def _check_batch_size(args: TrainingArguments, state: TrainerState) -> None:
    """Raises ValueError for a changed batch size: the Trainer would compute a wrong epoch and skip the wrong data."""
    before = state.train_batch_size
    if before not in (None, args.train_batch_size):
        raise ValueError(
            f"the checkpoint was trained with batches of {before}, this run has {args.train_batch_size}: "
            "a run cannot change its batch size"
        )


def _is_at_epoch_end(state: TrainerState) -> bool:
    return abs((state.epoch or 0.0) - round(state.epoch or 0.0)) < 1e-6


def _checkpoints(args: TrainingArguments) -> list[Path]:
    found = Path(args.output_dir or ".").glob("checkpoint-*")
    return [path for path in found if path.is_dir() and path.name.removeprefix("checkpoint-").isdecimal()]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _make_room(args: TrainingArguments, state: TrainerState, control: TrainerControl) -> None:
    """Removes an earlier run's checkpoint where a new one is due, so that old files do not mix with new ones."""
    if not control.should_save:
        return
    if state.is_world_process_zero:
        _remove(Path(args.output_dir or ".") / f"checkpoint-{state.global_step}")
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def _remove(checkpoint: Path) -> None:
    """Removes a checkpoint, its mark first: half removed, it must not look complete."""
    (checkpoint / COMPLETE).unlink(missing_ok=True)
    if not checkpoint.is_symlink():  # a link to a larger disk is written through
        remove_tree(checkpoint)


def _peak_gpu_gb() -> dict[str, float]:
    """Returns the peak of reserved memory on this rank's GPU in GiB; {} without a GPU or before its first use."""
    peak = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0
    return {"peak_gpu_gb": peak / 2**30} if peak else {}


def _any_rank(ask: Callable[[], bool], device: torch.device) -> bool:
    """True on every rank if it is true on one: ranks that stopped at different steps would wait forever."""
    flag = ask()
    if not torch.distributed.is_initialized():
        return flag
    flags = torch.tensor(int(flag), device=device)
    torch.distributed.all_reduce(flags, op=torch.distributed.ReduceOp.MAX)
    return bool(flags.item())
