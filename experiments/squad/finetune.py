"""Fine-tunes a causal language model on SQuAD-format questions: Hugging Face Trainer + DeepSpeed.

On two GPUs of one node:
    torchrun --standalone --nproc-per-node 2 scripts/finetune.py --data rajpurkar/squad \
        --train-samples 1000 --eval-samples 100

On one GPU, or on a CPU with a small model (no download):
    python scripts/finetune.py --model tiny-bloom --data experiments/data/squad-sample.json --lr 3e-3 --bs 8

Two ranks on a CPU:
    torchrun --standalone --nproc-per-node 2 scripts/finetune.py --model tiny-bloom --lr 3e-3 --bs 8 \
        --data experiments/data/squad-sample.json

After each epoch it reports to the study, or on the terminal outside a study:

- eval_loss (per answer token)
- exact_match and f1 (per cent, SQuAD's official scores; of v2 also of the questions with and without an answer)
- runtime (s, since the training began)
- samples_per_second (training, all ranks)
- peak memory (GiB)

In a study it also saves a checkpoint at the end of each epoch, and when the study requests it to exit. A later attempt
continues from the newest checkpoint.

The study's resource (search.max_resource and related keys) therefore counts epochs. With --eval-steps N it counts
optimizer steps, with an evaluation every N steps. A study that trains in stages ends this run at the last step of its
stage; warm-up and decay still span the whole training.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the ranks are the parallelism
os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))  # torchrun sets 1 for several ranks

import torch

GPU = torch.cuda.is_available()
if not GPU:
    os.environ["DS_ACCELERATOR"] = "cpu"  # must be set before DeepSpeed is imported

# The imports below may import DeepSpeed.
import squad  # noqa: E402
import transformers  # noqa: E402
from arguments import SCHEDULES, parse_arguments  # noqa: E402
from squad_trainer import Patience, SquadTrainer, collate  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainingArguments  # noqa: E402
from wording import wording  # noqa: E402

from hposlurm.integrations.transformers import HposlurmCallback  # noqa: E402

# ------------------------------------------------------------------------------------------------ model and data


def load_data(args: argparse.Namespace) -> tuple[list[squad.Example], list[squad.Example]]:
    """Returns (train, eval): the same samples for every seed."""
    if args.train_data:
        train, evaluation = squad.load(args.train_data, "train"), squad.load(args.eval_data, "validation")
    elif Path(args.data).is_file():
        train, evaluation = squad.split(squad.load(args.data, "train"))
    else:
        train, evaluation = squad.load(args.data, "train"), squad.load(args.data, "validation")
    return squad.sample(train, args.train_samples), squad.sample(evaluation, args.eval_samples)


def load_model(args: argparse.Namespace, train: Sequence[squad.Example]) -> tuple[Any, Any]:
    """Returns (model, tokenizer). Weights are fp32: DeepSpeed and autocast create the faster copies themselves."""
    if args.model == "tiny-bloom":
        from tiny_bloom import tiny_model, tiny_tokenizer

        tokenizer = tiny_tokenizer(f"{squad.prompt(e.question, e.context)} {e.answer}" for e in train)
        return tiny_model(tokenizer, args.seed), tokenizer
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    # No attn_implementation: transformers uses sdpa if a model has it; naming it is an error for BLOOM (eager only).
    return AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32), tokenizer


def positions(model: Any) -> int | None:
    """Returns how many tokens the model can read at once; None if its config sets no limit (BLOOM)."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return int(limit) if limit else None


def encode_data(
    args: argparse.Namespace,
    model: Any,
    tokenizer: Any,
    train: Sequence[squad.Example],
    evaluation: Sequence[squad.Example],
) -> tuple[list[squad.Encoded], list[squad.Encoded], tuple[int, ...]]:
    """Returns (train, eval, end tokens). Training samples are windows, evaluation samples whole contexts.

    An evaluation that took windows around the answers would give away where they are, and would be easier the shorter
    --max-length is. Raises DataError where the model has too few positions.
    """
    words, limit = wording(tokenizer, args.prompt), positions(model)
    if limit is not None and args.max_length > limit:
        raise squad.DataError(f"--max-length {args.max_length} is more than the model's {limit} positions")
    trained = [squad.encode(example, words, args.max_length) for example in train]
    evaluated = [squad.encode_whole(example, words, limit, args.max_new_tokens) for example in evaluation]
    if is_first_rank():
        note_cuts(trained, f"training contexts are cut to windows of --max-length {args.max_length} tokens")
        note_cuts(evaluated, f"evaluation contexts are cut off at the model's {limit} positions")
    return trained, evaluated, words.ends


def note_cuts(encoded: Sequence[squad.Encoded], what: str) -> None:
    if count := sum(example.is_cut for example in encoded):
        print(f"note: {count} of {len(encoded)} {what}", file=sys.stderr, flush=True)


def is_first_rank() -> bool:
    return os.environ.get("RANK", "0") == "0"


def precision() -> str:
    """Returns fp16 on a V100 and older, bf16 from compute capability 8.0, fp32 on a CPU.

    Does not use torch.cuda.is_bf16_supported(), which is true on a V100, where bf16 is emulated and slow.
    """
    if not GPU:
        return "fp32"
    return "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"


def prepare_deepspeed() -> None:
    """Sets up one rank without torchrun, as DeepSpeed requires. On a CPU also does what the Trainer does on a GPU."""
    if "RANK" not in os.environ:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    if not GPU:
        import deepspeed

        # DeepSpeed compiles its shared-memory collectives at the first start; gloo is available without that.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        # Without its own process group ZeRO-3 takes a model that it loads for that of a single rank. The Trainer
        # creates only torch's on a CPU (transformers 5.23).
        deepspeed.init_distributed("gloo", auto_mpi_discovery=False, verbose=False)


def quiet() -> None:
    """Shows errors only. The hidden warnings are about old torch names in DeepSpeed's code."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="`torch.distributed", category=FutureWarning)


# ------------------------------------------------------------------------------------------------ the run


def main() -> None:
    args = parse_arguments()
    quiet()
    train, evaluation = load_data(args)
    if args.deepspeed:
        prepare_deepspeed()
    fast = precision() if args.precision == "auto" else args.precision

    # creating the arguments starts the process group
    training_args = TrainingArguments(
        output_dir=str(args.output_dir) if args.output_dir else None,
        learning_rate=args.lr,
        per_device_train_batch_size=args.bs,
        gradient_accumulation_steps=args.accumulation,
        max_grad_norm=args.clip,
        weight_decay=args.wd,
        optim="adamw_torch" if args.optimizer == "adamw" else args.optimizer,
        optim_args=f"momentum={args.momentum or 0.0}" if args.optimizer == "sgd" else None,
        warmup_steps=args.warmup,
        lr_scheduler_type=SCHEDULES[args.schedule],
        label_smoothing_factor=args.label_smoothing,
        neftune_noise_alpha=args.neftune or None,
        num_train_epochs=args.epochs,
        max_steps=args.max_steps,
        seed=args.seed,
        bf16=fast == "bf16",
        fp16=fast == "fp16",
        use_cpu=not GPU,
        deepspeed=args.deepspeed,
        activation_checkpointing=args.gradient_checkpointing,
        eval_strategy="steps" if args.eval_steps else "epoch",
        eval_steps=args.eval_steps,
        logging_strategy="no",
        save_strategy="no" if args.save == "none" else "steps" if args.eval_steps else "epoch",
        save_steps=args.eval_steps or 500,  # the Trainer's default; unused without --eval-steps
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        disable_tqdm=True,
        log_level="error",
        log_level_replica="error",
        report_to="none",
    )

    # the model, and the tokenized data
    model, tokenizer = load_model(args, train)
    trained, evaluated, ends = encode_data(args, model, tokenizer, train, evaluation)
    if args.method != "full":
        from lora import save_merged, with_adapters

        model = with_adapters(model, args)
    bridge = HposlurmCallback(
        keep=args.keep,
        unit="step" if args.eval_steps else "epoch",
        learning_rate=args.changes["lr"],
        weight_decay=args.changes["wd"],
    )
    trainer = SquadTrainer(
        model=model,
        args=training_args,
        processing_class=tokenizer,
        train_dataset=trained,
        eval_dataset=evaluated,
        data_collator=partial(collate, pad_token=tokenizer.pad_token_id),
        bridge=bridge,
        eval_bs=args.eval_bs,
        max_new_tokens=args.max_new_tokens,
        ends=ends,
        decay=args.decay or 0.2,
    )
    if args.patience:
        trainer.add_callback(Patience(args.patience))
    trainer.remove_callback(PrinterCallback)

    # training, with an evaluation after each epoch
    trainer.train(resume_from_checkpoint=str(args.resume_from) if args.resume_from else None)
    if trainer.is_world_process_zero() and bridge.is_leaving:
        print(f"exited at step {trainer.state.global_step} at the request of the study", flush=True)
    elif trainer.is_world_process_zero():
        print("final:", " ".join(f"{name}={value:.4g}" for name, value in trainer.last_metrics.items()), flush=True)
    if args.merge and not bridge.is_leaving and trainer.is_world_process_zero():
        save_merged(model, tokenizer, args.output_dir / "merged")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # NCCL warns otherwise


def run() -> None:
    """Runs `main`. For unusable data prints one line on stderr and exits with status 2."""
    try:
        main()
    except squad.DataError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    run()
