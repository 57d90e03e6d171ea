"""Lets the Trainer of a trial write its checkpoints into the trial's directory, and continue the newest of them.

Scripts that know nothing of trials name one output directory for all runs, and never resume. The first would let trials
overwrite each other's checkpoints, the second would let each stage start from nothing.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainerState, TrainingArguments

from hposlurm import client

_log = logging.getLogger(__name__)
_OURS = "continues_trials"  # marks the wrapped Trainer.train


def send_to_trial(args: TrainingArguments, *, is_main: bool) -> None:
    """Makes `output_dir` the trial's checkpoint directory; nothing outside a study."""
    own = client.checkpoint_dir()
    if own is None or Path(args.output_dir or ".").absolute() == own:
        return
    if is_main:
        _log.warning("hposlurm: checkpoints go to %s, not to %s", own, args.output_dir)
    args.output_dir = str(own)


class Companion(TrainerCallback):  # type: ignore[misc,unused-ignore]  # Any where transformers is absent
    """A callback that knows the others of its Trainer."""

    others: tuple[TrainerCallback, ...] = ()


def restore_patience(callbacks: Iterable[TrainerCallback], state: TrainerState) -> None:
    """Gives EarlyStoppingCallback the count that the checkpoint has; without it the patience would begin again."""
    known: Any = state.stateful_callbacks if state.global_step else {}
    saved = known.get(EarlyStoppingCallback.__name__)
    counts = [each.get("attributes", {}) for each in (saved if isinstance(saved, list) else [saved or {}])]
    own = (each for each in callbacks if isinstance(each, EarlyStoppingCallback))
    for callback, found in zip(own, counts, strict=False):
        count = found.get("early_stopping_patience_counter", callback.early_stopping_patience_counter)
        callback.early_stopping_patience_counter = count


def resume_by_itself(callback: type[Companion]) -> None:
    """Makes the first `train()` of a Trainer with such a callback continue the trial's checkpoint.

    The callback gets to know the Trainer's other callbacks.

    No callback is asked before the model is loaded, so `Trainer.train` is wrapped. Nothing outside a study.
    """
    original = Trainer.train
    if hasattr(original, _OURS) or client.checkpoint_dir() is None:
        return
    is_first = True

    @functools.wraps(original)
    def train(self: Any, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        nonlocal is_first
        for own in [each for each in self.callback_handler.callbacks if isinstance(each, callback)]:
            own.others = tuple(self.callback_handler.callbacks)
            send_to_trial(self.args, is_main=self.is_world_process_zero())  # where the callback was added late
            if is_first:  # another training in the same process, such as a second fold, is not the one that was saved
                is_first, resume_from_checkpoint = False, start_of(resume_from_checkpoint)
        return original(self, resume_from_checkpoint, *args, **kwargs)

    setattr(train, _OURS, True)
    setattr(Trainer, "train", train)  # noqa: B010 - mypy refuses to assign to a method


def start_of(given: str | bool | None) -> str | bool | None:
    """Returns the checkpoint to continue from, where the script has `given` one; None for a start from nothing.

    The trial's own one counts before a checkpoint from elsewhere. A first attempt has none, and `True` then means none.
    """
    own, folder = client.resume_from(), client.checkpoint_dir()
    if own is None or folder is None:
        return None if given is True else given
    is_of_trial = isinstance(given, str) and Path(given).absolute().is_relative_to(folder)
    return given if is_of_trial else str(own)
