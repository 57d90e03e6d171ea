"""The Hugging Face Trainer's bridge: evaluations are reported, checkpoints announced, a wish to stop is obeyed.

    trainer = Trainer(…, callbacks=[HposlurmCallback()])

The same script runs outside a study, where a report is a line on the terminal.
"""

# ruff: noqa: ARG002 - the signatures are the Trainer's
from __future__ import annotations

import math
import os
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hposlurm import client
from hposlurm.files import create_once

COMPLETE = "COMPLETE"  # the file that is written last into a checkpoint: without it a checkpoint is not to be trusted


class HposlurmCallback(TrainerCallback):  # type: ignore[misc,unused-ignore]  # Any where transformers is absent
    """Speaks to the worker on rank 0, and lets all ranks agree before any of them stops.

    The step of a report is the number of completed epochs, the unit in which a study counts its resource.
    """

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Takes the mark off checkpoints that this run will write again: half written, they must not look whole."""
        if state.is_world_process_zero and args.save_strategy != "no":
            for marker in Path(args.output_dir or ".").glob(f"checkpoint-*/{COMPLETE}"):
                if int(marker.parent.name.removeprefix("checkpoint-")) > state.global_step:
                    marker.unlink()
        return control

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Reports every number among the metrics (`epoch` aside, which is the step)."""
        metrics: dict[str, Any] = kwargs.get("metrics") or {}
        numbers = {name: value for name, value in metrics.items() if isinstance(value, Real) and name != "epoch"}
        client.report(completed_epochs(state), **numbers)
        return control

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Marks the checkpoint complete once every rank has written its part and all is on disk; reports it."""
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        if state.is_world_process_zero:
            checkpoint = Path(args.output_dir or ".") / f"checkpoint-{state.global_step}"
            _make_durable(checkpoint)
            client.report_checkpoint(completed_epochs(state), checkpoint)
        return control

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Stops all ranks at the same step once one of them was asked to; saves first if the run saves at all."""
        if client.in_study() and _any_rank(client.should_stop(), args.device):
            control.should_save = args.save_strategy != "no"
            control.should_training_stop = True
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ends the training after the assignment's last epoch; the schedule stays that of all epochs."""
        last = client.max_step()
        if last is not None and completed_epochs(state) >= last:
            control.should_training_stop = True
        return control


def completed_epochs(state: TrainerState) -> int:
    """How many epochs are over; the Trainer counts them as a float that may fall short by a rounding error."""
    return math.floor((state.epoch or 0.0) + 1e-6)


def _any_rank(flag: bool, device: torch.device) -> bool:
    """True on every rank if it is true on one: ranks that stopped a step apart would wait for each other for ever."""
    if not torch.distributed.is_initialized():
        return flag
    flags = torch.tensor(int(flag), device=device)
    torch.distributed.all_reduce(flags, op=torch.distributed.ReduceOp.MAX)
    return bool(flags.item())


def _make_durable(checkpoint: Path) -> None:
    for path in (*checkpoint.rglob("*"), checkpoint):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    create_once(checkpoint / COMPLETE, b"")
