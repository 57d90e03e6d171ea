"""The Trainer with SQuAD's evaluation: loss per answer token, generated answers, exact match, F1, speed and memory."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import squad
import torch
from squad import IGNORED, Encoded
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import is_deepspeed_zero3_enabled
from transformers.trainer_callback import ExportableState

from hposlurm.integrations.transformers import HposlurmCallback

GIB = 1024**3


def pad(rows: Sequence[list[int]], filler: int, left: bool = False) -> torch.Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([[filler] * (width - len(r)) + r if left else r + [filler] * (width - len(r)) for r in rows])


def collate(batch: Sequence[Encoded], pad_token: int) -> dict[str, torch.Tensor]:
    """Returns a training batch: padded on the right, labels only on the answers."""
    return {
        "input_ids": pad([example.input_ids for example in batch], pad_token),
        "attention_mask": pad([[1] * len(example.input_ids) for example in batch], 0),
        "labels": pad([example.labels for example in batch], IGNORED),
    }


class SquadTrainer(Trainer):
    """A Trainer with its own evaluation: loss per answer token, generated answers, SQuAD's scores."""

    def __init__(
        self,
        *args: Any,
        eval_bs: int,
        max_new_tokens: int,
        ends: Sequence[int],
        decay: float = 0.2,
        bridge: HposlurmCallback | None = None,
        **kwargs: Any,
    ) -> None:
        """Creates the trainer; `ends` are the tokens that end an answer, `bridge` ends an evaluation early.

        decay: steps of the decay of a warmup_stable_decay schedule, or a share of all steps if below 1.
        """
        super().__init__(*args, **kwargs)
        self.bridge = bridge
        if bridge is not None:
            self.add_callback(bridge)
        self.eval_bs, self.decay = eval_bs, decay
        self.generation = greedy(self.processing_class, ends, max_new_tokens)
        self.is_v2 = any(not example.references for example in self.eval_dataset)
        self.last_metrics: dict[str, float] = {}
        self.clock = Clock()
        self.add_callback(self.clock)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.args.lr_scheduler_type == "warmup_stable_decay":
            steps = math.ceil(self.decay * num_training_steps) if self.decay < 1 else int(self.decay)
            after_warmup = num_training_steps - self.args.get_warmup_steps(num_training_steps)
            self.args.lr_scheduler_kwargs = {"num_decay_steps": min(steps, after_warmup), "decay_type": "linear"}
        return super().create_scheduler(num_training_steps, optimizer)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        speed = self.clock.speed(self.state, len(self.train_dataset))  # first: the evaluation must not slow it down
        scores = self.scores()
        if scores is None:
            self.control.should_evaluate, self.control.should_training_stop = False, True
            return {}
        metrics = {**scores, **peak_memory(self.args.device)}
        metrics |= {"runtime": self.clock.seconds(), "samples_per_second": speed}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.clock.resume(self.state)
        self.last_metrics = metrics
        return metrics

    @torch.no_grad()
    def scores(self) -> dict[str, float] | None:
        """Returns eval_loss (over the answer tokens of all ranks), exact_match and f1 (per cent of all questions).

        With unanswerable questions also exact_match and f1 of those with an answer and of those without one. None if
        the study requests the run to exit meanwhile.
        """
        model = self.accelerator.unwrap_model(self.model)
        model.eval()
        loss = torch.zeros(2, dtype=torch.float64, device=self.args.device)  # sum, tokens
        sums = torch.zeros(2, 3, dtype=torch.float64)  # without and with an answer: exact matches, F1, questions
        for batch, real in self.my_batches():
            found = self.answer_loss(model, batch[:real] or batch)
            predictions = self.generate(model, batch)
            if real:
                loss += torch.tensor(found, dtype=torch.float64, device=loss.device)
            for text, example in zip(predictions[:real], batch[:real], strict=True):
                match, f1 = squad.scores(text, example.references, self.is_v2)
                sums[int(bool(example.references))] += torch.tensor([match, f1, 1], dtype=torch.float64)
            if self.bridge is not None and self.bridge.may_break_off(self.args, self.state):
                model.train()
                return None
        sums = sums.to(loss.device)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(loss)
            torch.distributed.all_reduce(sums)
        model.train()
        parts = {"": sums.sum(0)} | ({"no_answer_": sums[0], "has_answer_": sums[1]} if self.is_v2 else {})
        metrics = {"eval_loss": (loss[0] / loss[1]).item()}
        for prefix, (match, f1, questions) in ((prefix, part.tolist()) for prefix, part in parts.items()):
            if questions:
                metrics |= {f"{prefix}exact_match": 100 * match / questions, f"{prefix}f1": 100 * f1 / questions}
        return metrics

    def my_batches(self) -> Iterator[tuple[list[Encoded], int]]:
        """Yields this rank's batches and how many of each batch count.

        The rest is padding: with ZeRO-3 all ranks must call the model equally often.
        """
        rank, world = self.args.process_index, self.args.world_size
        mine = self.eval_dataset[rank::world]
        padded = mine + self.eval_dataset[: -(-len(self.eval_dataset) // world) - len(mine)]
        for first in range(0, len(padded), self.eval_bs):
            batch = padded[first : first + self.eval_bs]
            yield batch, len(mine[first : first + self.eval_bs])

    def answer_loss(self, model: Any, batch: Sequence[Encoded]) -> tuple[float, int]:
        """Returns the summed cross entropy of the batch's answer tokens, and their number."""
        inputs = self._prepare_inputs(collate(batch, self.processing_class.pad_token_id))
        labels = inputs.pop("labels")[:, 1:]
        places = (labels != IGNORED).any(0).nonzero().squeeze(1)  # of all places the logits would be the largest tensor
        logits, labels = model(**inputs, logits_to_keep=places).logits, labels[:, places]
        logits, labels = logits[labels != IGNORED], labels[labels != IGNORED]
        return cross_entropy(logits.float(), labels, reduction="sum").item(), len(labels)

    def generate(self, model: Any, batch: Sequence[Encoded]) -> list[str]:
        """Returns greedy answers. Prompts are padded on the left, so that each answer directly follows its prompt."""
        tokenizer = self.processing_class
        inputs = {
            "input_ids": pad([example.prompt for example in batch], tokenizer.pad_token_id, left=True),
            "attention_mask": pad([[1] * len(example.prompt) for example in batch], 0, left=True),
        }
        network = model.get_base_model() if hasattr(model, "get_base_model") else model  # peft's wrapper has its own
        saved, network.generation_config = network.generation_config, self.generation
        try:
            tokens = network.generate(
                **self._prepare_inputs(inputs),
                generation_config=self.generation,
                synced_gpus=is_deepspeed_zero3_enabled(),
            )
        finally:
            network.generation_config = saved
        return tokenizer.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def greedy(tokenizer: Any, ends: Sequence[int], max_new_tokens: int) -> GenerationConfig:
    """Returns settings for greedy answers, which stand for the model's own too.

    `generate` fills what is not set from the model's generation_config.json (transformers 5.23): a repetition penalty
    there, forced or suppressed tokens would change the answers of the same weights.
    """
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=list(ends),
        pad_token_id=tokenizer.pad_token_id,
    )


class Clock(TrainerCallback, ExportableState):
    """Measures the seconds of the training, and its speed without evaluations.

    Both are part of the checkpoint: a run that resumes continues them, as the last evaluation may be all that is left.
    """

    def __init__(self) -> None:
        self.began = self.resumed = time.monotonic()
        self.epoch = self.here = 0.0
        self.before = 0.0  # seconds of earlier runs, up to the checkpoint
        self.pace = 0.0  # epochs per second when the checkpoint was saved

    def on_train_begin(self, _: TrainingArguments, state: TrainerState, *__: Any, **___: Any) -> None:
        self.began = self.resumed = time.monotonic()
        self.epoch = self.here = state.epoch or 0.0
        saved = state.stateful_callbacks.get(type(self).__name__) if state.global_step else None
        for name, value in (saved["attributes"] if saved else {}).items():
            setattr(self, name, value)

    def on_step_end(self, _: TrainingArguments, state: TrainerState, *__: Any, **___: Any) -> None:
        self.here = state.epoch or 0.0

    def state(self) -> dict[str, Any]:
        """Returns what the checkpoint keeps."""
        return {"args": {}, "attributes": {"before": self.seconds(), "pace": self._pace(self.here)}}

    def seconds(self) -> float:
        return self.before + time.monotonic() - self.began

    def speed(self, state: TrainerState, samples: int) -> float:
        """Returns samples per second of all ranks since the last evaluation; `samples` is the size of an epoch."""
        return samples * self._pace(state.epoch or 0.0)

    def _pace(self, epoch: float) -> float:
        """Returns epochs per second since the last evaluation; before the first step the checkpoint's."""
        trained = epoch - self.epoch
        return trained / max(time.monotonic() - self.resumed, 1e-9) if trained > 0 else self.pace

    def resume(self, state: TrainerState) -> None:
        """Restarts the measurement of speed after an evaluation."""
        self.pace = self._pace(state.epoch or 0.0)
        self.resumed, self.epoch = time.monotonic(), state.epoch or 0.0


class Patience(TrainerCallback, ExportableState):
    """Ends the training after `patience` evaluations in a row without a better eval_loss.

    The count is part of the checkpoint, so that a run that resumes goes on counting.
    """

    def __init__(self, patience: int) -> None:
        self.patience, self.worse = patience, 0
        self.best: float | None = None

    def on_train_begin(self, _: TrainingArguments, state: TrainerState, *__: Any, **___: Any) -> None:
        saved = state.stateful_callbacks.get(type(self).__name__) if state.global_step else None
        for name, value in (saved["attributes"] if saved else {}).items():
            setattr(self, name, value)

    def on_evaluate(self, _: Any, __: Any, control: TrainerControl, metrics: dict[str, float], **___: Any) -> None:
        loss = metrics["eval_loss"]
        is_better = self.best is None or loss < self.best
        self.best, self.worse = (loss, 0) if is_better else (self.best, self.worse + 1)
        if self.worse >= self.patience:
            control.should_training_stop = True

    def state(self) -> dict[str, Any]:
        """Returns what the checkpoint keeps."""
        return {"args": {"patience": self.patience}, "attributes": {"best": self.best, "worse": self.worse}}


def peak_memory(device: torch.device) -> dict[str, float]:
    """Returns peak_gpu_gb (reserved, of the fullest GPU) or, without GPUs, peak_host_gb (sum of all ranks), in GiB."""
    if device.type == "cuda":
        return {"peak_gpu_gb": _over_ranks(torch.cuda.max_memory_reserved(device) / GIB, device, "MAX")}
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss counts KiB on Linux, bytes on macOS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"peak_host_gb": _over_ranks(peak / GIB, device, "SUM")}


def _over_ranks(value: float, device: torch.device, operation: str) -> float:
    total = torch.tensor(value, dtype=torch.float64, device=device)
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(total, op=getattr(torch.distributed.ReduceOp, operation))
    return total.item()
