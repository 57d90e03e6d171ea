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
- exact_match and f1 (per cent, SQuAD's official scores)
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
import json
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
from squad_trainer import SquadTrainer, collate  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainingArguments  # noqa: E402

from hposlurm import client  # noqa: E402
from hposlurm.integrations.schedule import read_recipe  # noqa: E402
from hposlurm.integrations.transformers import HposlurmCallback  # noqa: E402
from hposlurm.render.deepspeed import ds_config  # noqa: E402

# ------------------------------------------------------------------------------------------------ arguments


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fine-tune a causal language model on SQuAD-format questions.")
    # model and data
    parser.add_argument(
        "--model", default="bigscience/bloom-560m", help="directory, hub name, or tiny-bloom (%(default)s)"
    )
    parser.add_argument("--data", help="SQuAD v1.1 JSON file (split by paragraphs) or hub data set (its own splits)")
    parser.add_argument("--train-data", help="SQuAD v1.1 JSON file or hub data set to train on")
    parser.add_argument("--eval-data", help="SQuAD v1.1 JSON file or hub data set to evaluate on")
    parser.add_argument("--train-samples", type=int, help="questions to train on (default: all)")
    parser.add_argument("--eval-samples", type=int, help="questions to evaluate on (default: all)")
    parser.add_argument(
        "--max-length", type=int, default=512, help="tokens; longer contexts are windowed (%(default)s)"
    )
    parser.add_argument("--max-new-tokens", type=int, default=32, help="tokens of a generated answer (%(default)s)")
    # hyperparameters
    parser.add_argument("--lr", type=float, default=1e-5, help="peak learning rate, linear decay to 0 (%(default)s)")
    parser.add_argument("--bs", type=int, default=1, help="samples per GPU and step (%(default)s)")
    parser.add_argument("--wd", type=float, default=0.0, help="weight decay (%(default)s)")
    parser.add_argument(
        "--warmup",
        type=float,
        default=0.0,
        help="steps, or a share of all steps if below 1 (%(default)s)",
    )
    parser.add_argument("--optimizer", default="adamw", choices=("adamw", "sgd"))
    parser.add_argument("--momentum", type=float, help="only for sgd (default: 0)")
    parser.add_argument(
        "--recipe",
        type=Path,
        help="a file of `hposlurm best --export`; its parameters and its seed replace the options of the same names, "
        "and --lr and --wd change at the same steps as in the study. Give its search.max_resource as --epochs, or as "
        "--max-steps with --eval-steps",
    )
    parser.add_argument("--epochs", type=int, help="default: the study's search.max_resource, or 5")
    parser.add_argument("--max-steps", type=int, help="last step; -1: no limit (default: -1, but see --eval-steps)")
    parser.add_argument("--seed", type=int, default=client.seed() or 0, help="default: the study's, or 0")
    # execution
    sharding = parser.add_mutually_exclusive_group()
    sharding.add_argument("--zero-stage", type=int, choices=(0, 1, 2, 3), help="0: without DeepSpeed (default: 2)")
    sharding.add_argument("--ds-config", type=Path, help="DeepSpeed JSON file instead of --zero-stage")
    parser.add_argument(
        "--eval-steps",
        type=int,
        help="evaluate, save and report every N optimizer steps instead of each epoch; the study's resource then "
        "counts steps, and --max-steps is its search.max_resource (default: each epoch)",
    )
    parser.add_argument("--eval-bs", type=int, default=16, help="samples per GPU while evaluating (%(default)s)")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="less memory, more time")
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "fp32", "bf16", "fp16"),
        help="auto: bf16 from compute capability 8.0, fp16 on older GPUs, fp32 on a CPU (%(default)s)",
    )
    # output
    parser.add_argument(
        "--save",
        default="auto",
        choices=("auto", "none", "epoch"),
        help="checkpoints; in a study auto means epoch (one before each report, the last --keep are kept), and none "
        "outside a study (%(default)s)",
    )
    parser.add_argument("--keep", type=int, help="newest checkpoints to keep (default: all; --save auto: 2)")
    parser.add_argument(
        "--output-dir", type=Path, default=client.checkpoint_dir(), help="for checkpoints (default: the study's own)"
    )
    parser.add_argument("--resume-from", type=Path, default=client.resume_from(), help="checkpoint to continue from")
    args = parser.parse_args()
    args.changes = {"lr": args.lr, "wd": args.wd}
    if args.recipe is not None:
        follow(parser, args)
    if bool(args.data) == bool(args.train_data) or bool(args.train_data) != bool(args.eval_data):
        parser.error("give --data, or both --train-data and --eval-data")
    if args.momentum is not None and args.optimizer != "sgd":
        parser.error("--momentum is for --optimizer sgd; AdamW has betas instead")
    set_horizon(parser, args)
    args.deepspeed = deepspeed_config(parser, args)
    if args.save == "auto":
        args.save, args.keep = ("epoch", args.keep or 2) if client.checkpoint_dir() else ("none", None)
    if args.keep is not None and args.keep < 1:
        parser.error("--keep must be at least 1")
    if args.save != "none" and args.output_dir is None:
        parser.error(f"--save {args.save} needs an --output-dir outside a study")
    return args


def follow(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Sets the recipe's parameters and seed in `args`, and the values of lr and wd by step in `args.changes`."""
    searched = ("lr", "bs", "wd", "warmup", "optimizer", "momentum")
    try:
        recipe = read_recipe(args.recipe)
        args.seed = recipe.seed
        for name in recipe.values:
            if name not in searched:
                raise ValueError(f"it has {name!r}; allowed are {', '.join(searched)}")
            if name in args.changes:
                args.changes[name] = recipe.values[name]
            setattr(args, name, recipe.first(name) if name in args.changes else recipe.constant(name))
    except (ValueError, OSError) as error:
        parser.error(f"--recipe {args.recipe}: {error}")


def set_horizon(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Sets the length of the whole training, for the learning-rate schedule; a study may run it in stages."""
    if args.eval_steps is not None and args.eval_steps < 1:
        parser.error("--eval-steps must be at least 1")
    name, given = ("--epochs", args.epochs) if args.eval_steps is None else ("--max-steps", args.max_steps)
    resource = client.max_resource()
    if resource is not None and given is not None and 0 <= given < resource:
        parser.error(f"{name} {given} ends before the study's search.max_resource of {resource}; leave it out")
    if args.eval_steps is None:
        args.epochs = args.epochs or resource or 5
        args.max_steps = args.max_steps or -1
    else:
        args.epochs, args.max_steps = args.epochs or 5, args.max_steps or resource or -1


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

        tokenizer = tiny_tokenizer(f"{squad.prompt(e.question, e.context)} {e.answers[0]}" for e in train)
        return tiny_model(tokenizer, args.seed), tokenizer
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    # No attn_implementation: transformers uses sdpa if a model has it; naming it is an error for BLOOM (eager only).
    return AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32), tokenizer


def encode_all(examples: Sequence[squad.Example], tokenizer: Any, max_length: int) -> list[squad.Encoded]:
    def tokenize(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    return [squad.encode(example, tokenize, tokenizer.eos_token_id, max_length) for example in examples]


def precision() -> str:
    """Returns fp16 on a V100 and older, bf16 from compute capability 8.0, fp32 on a CPU.

    Does not use torch.cuda.is_bf16_supported(), which is true on a V100, where bf16 is emulated and slow.
    """
    if not GPU:
        return "fp32"
    return "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"


def deepspeed_config(parser: argparse.ArgumentParser, args: argparse.Namespace) -> dict[str, Any] | None:
    """Returns the config of --zero-stage or --ds-config; None for the plain Trainer.

    A file that names an optimizer or a scheduler is refused. DeepSpeed puts all weights into one group of its own
    optimizer, so that biases and LayerNorm decay too, and its schedules begin with two steps at learning rate 0.
    """
    if args.zero_stage == 0:
        return None
    if args.ds_config is None:
        return ds_config(args.zero_stage or 2)
    try:
        config: dict[str, Any] = json.loads(args.ds_config.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        parser.error(f"--ds-config {args.ds_config}: {error}")
    if named := [key for key in ("optimizer", "scheduler") if key in config]:
        parser.error(
            f"--ds-config {args.ds_config} has {' and '.join(map(repr, named))}; remove them. --optimizer, --lr, --wd "
            "and --warmup set both, in the same way at every ZeRO stage"
        )
    return config


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
        weight_decay=args.wd,
        optim="sgd" if args.optimizer == "sgd" else "adamw_torch",
        optim_args=f"momentum={args.momentum or 0.0}" if args.optimizer == "sgd" else None,
        warmup_steps=args.warmup,
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
        train_dataset=encode_all(train, tokenizer, args.max_length),
        eval_dataset=encode_all(evaluation, tokenizer, args.max_length),
        data_collator=partial(collate, pad_token=tokenizer.pad_token_id),
        bridge=bridge,
        eval_bs=args.eval_bs,
        max_new_tokens=args.max_new_tokens,
    )
    trainer.remove_callback(PrinterCallback)

    # training, with an evaluation after each epoch
    trainer.train(resume_from_checkpoint=str(args.resume_from) if args.resume_from else None)
    if trainer.is_world_process_zero() and bridge.is_leaving:
        print(f"exited at step {trainer.state.global_step} at the request of the study", flush=True)
    elif trainer.is_world_process_zero():
        print("final:", " ".join(f"{name}={value:.4g}" for name, value in trainer.last_metrics.items()), flush=True)
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
