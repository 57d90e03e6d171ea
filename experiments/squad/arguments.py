"""The arguments of the fine-tuning: what they are, what they default to in a study, and which are refused."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hposlurm import client
from hposlurm.integrations.schedule import read_recipe
from hposlurm.render.deepspeed import OFFLOADS, ds_config

SCHEDULES = {
    "linear": "linear",
    "cosine": "cosine",
    "constant": "constant_with_warmup",
    "wsd": "warmup_stable_decay",
}  # and transformers' names
SEARCHED = (
    "lr",
    "bs",
    "accumulation",
    "clip",
    "wd",
    "warmup",
    "schedule",
    "decay",
    "optimizer",
    "momentum",
    "label_smoothing",
    "neftune",
)
SEARCHED += ("method", "lora_r", "lora_alpha", "lora_dropout", "lora_scaling", "lora_targets")


def whole(least: int, *, other: int | None = None) -> Callable[[str], int]:
    """Returns a reader of whole numbers from `least` on, or `other`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least and (other is None or value != other):
            allowed = f"a whole number of at least {least}" + ("" if other is None else f", or {other}")
            raise argparse.ArgumentTypeError(f"{text!r} is not {allowed}")
        return value

    return read


def number(least: float = 0.0, below: float = math.inf) -> Callable[[str], float]:
    """Returns a reader of numbers from `least` to below `below`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value < below:
            allowed = f"a number of at least {least:g}" + ("" if below == math.inf else f" and below {below:g}")
            raise argparse.ArgumentTypeError(f"{text!r} is not {allowed}")
        return value

    return read


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fine-tune a causal language model on SQuAD-format questions.")
    # model and data
    parser.add_argument(
        "--model", default="bigscience/bloom-560m", help="directory, hub name, or tiny-bloom (%(default)s)"
    )
    parser.add_argument("--data", help="SQuAD JSON file (split by paragraphs) or hub data set (its own splits)")
    parser.add_argument("--train-data", help="SQuAD JSON file or hub data set to train on")
    parser.add_argument("--eval-data", help="SQuAD JSON file or hub data set to evaluate on")
    parser.add_argument("--train-samples", type=whole(1), help="questions to train on (default: all)")
    parser.add_argument("--eval-samples", type=whole(1), help="questions to evaluate on (default: all)")
    parser.add_argument(
        "--max-length",
        type=whole(1),
        default=512,
        help="tokens of a training sample: of a longer context a window around the answer is taken (%(default)s)",
    )
    parser.add_argument(
        "--prompt",
        default="auto",
        choices=("auto", "plain", "chat"),
        help="auto: the tokenizer's chat template if it has one, else plain text (%(default)s)",
    )
    parser.add_argument(
        "--max-new-tokens", type=whole(1), default=32, help="tokens of a generated answer (%(default)s)"
    )
    # hyperparameters
    parser.add_argument("--lr", type=number(), default=1e-5, help="peak learning rate (%(default)s)")
    parser.add_argument("--bs", type=whole(1), default=1, help="samples per GPU and step (%(default)s)")
    parser.add_argument("--accumulation", type=whole(1), default=1, help="batches per optimizer step (%(default)s)")
    parser.add_argument("--clip", type=number(), default=1.0, help="largest norm of the gradient, 0: any (%(default)s)")
    parser.add_argument("--wd", type=number(), default=0.0, help="weight decay (%(default)s)")
    parser.add_argument(
        "--warmup",
        type=number(),
        default=0.0,
        help="steps, or a share of all steps if below 1 (%(default)s)",
    )
    parser.add_argument(
        "--schedule",
        default="linear",
        choices=SCHEDULES,
        help="of the learning rate after the warm-up: linear or cosine decay to 0, constant, or constant with a linear "
        "decay to 0 at the end (%(default)s)",
    )
    parser.add_argument("--decay", type=number(), help="only for wsd: steps of its decay, or a share (default: 0.2)")
    parser.add_argument("--optimizer", default="adamw", choices=("adamw", "sgd", "adafactor"))
    parser.add_argument("--momentum", type=number(below=1), help="only for sgd (default: 0)")
    parser.add_argument("--label-smoothing", type=number(below=1), default=0.0, help="(%(default)s)")
    parser.add_argument("--neftune", type=number(), default=0.0, help="alpha of the noise on embeddings (%(default)s)")
    parser.add_argument("--patience", type=whole(1), help="end after N evaluations without a better eval_loss")
    parser.add_argument("--method", default="full", choices=("full", "lora", "dora"), help="what trains (%(default)s)")
    parser.add_argument("--lora-r", type=whole(1), default=8, help="rank (%(default)s)")
    parser.add_argument("--lora-alpha", type=number(), default=16.0, help="(%(default)s)")
    parser.add_argument("--lora-dropout", type=number(below=1), default=0.0, help="(%(default)s)")
    parser.add_argument(
        "--lora-scaling",
        default="lora",
        choices=("lora", "rslora"),
        help="alpha / r, or alpha / sqrt(r), which suits large ranks (%(default)s)",
    )
    parser.add_argument(
        "--lora-targets",
        default="all-linear",
        help="layers: all-linear (all but the last one), attention (of the architecture, as peft knows it), or names "
        "with commas (%(default)s)",
    )
    parser.add_argument(
        "--recipe",
        type=Path,
        help="a file of `hposlurm best --export`; its parameters and its seed replace the options of the same names, "
        "and --lr and --wd change at the same steps as in the study. Give its search.max_resource as --epochs, or as "
        "--max-steps with --eval-steps",
    )
    parser.add_argument("--epochs", type=whole(1), help="default: the study's search.max_resource, or 5")
    parser.add_argument(
        "--max-steps", type=whole(1, other=-1), help="last step; -1: no limit (default: -1, but see --eval-steps)"
    )
    parser.add_argument("--seed", type=int, default=client.seed() or 0, help="default: the study's, or 0")
    # execution
    sharding = parser.add_mutually_exclusive_group()
    sharding.add_argument("--zero-stage", type=int, choices=(0, 1, 2, 3), help="0: without DeepSpeed (default: 2)")
    sharding.add_argument("--ds-config", type=Path, help="DeepSpeed JSON file instead of --zero-stage")
    parser.add_argument(
        "--offload",
        default="none",
        choices=OFFLOADS,
        help="cpu: the optimizer's state, and at stage 3 the weights, stay in the host's memory (%(default)s)",
    )
    parser.add_argument(
        "--eval-steps",
        type=whole(1),
        help="evaluate, save and report every N optimizer steps instead of each epoch; the study's resource then "
        "counts steps, and --max-steps is its search.max_resource (default: each epoch)",
    )
    parser.add_argument("--eval-bs", type=whole(1), default=16, help="samples per GPU while evaluating (%(default)s)")
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
    parser.add_argument("--keep", type=whole(1), help="newest checkpoints to keep (default: all; --save auto: 2)")
    parser.add_argument(
        "--merge",
        action="store_true",
        help="at the end also write a model with the adapters in its weights, to merged/ in the output directory; "
        "checkpoints have the adapters only",
    )
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
    if args.decay is not None and args.schedule != "wsd":
        parser.error("--decay is for --schedule wsd; the others decay to the end, or not at all")
    if args.optimizer == "adafactor" and args.zero_stage != 0:
        parser.error("--optimizer adafactor needs --zero-stage 0: ZeRO flattens the matrices whose rows it averages")
    if args.merge and args.method == "full":
        parser.error("--merge is for --method lora or dora")
    if args.merge and args.output_dir is None:
        parser.error("--merge needs an --output-dir outside a study")
    set_horizon(parser, args)
    args.deepspeed = deepspeed_config(parser, args)
    if args.merge and (args.deepspeed or {}).get("zero_optimization", {}).get("stage") == 3:
        parser.error("--merge needs whole weights on one rank; with ZeRO stage 3 merge the checkpoint afterwards")
    if args.save == "auto":
        args.save, args.keep = ("epoch", args.keep or 2) if client.checkpoint_dir() else ("none", None)
    if args.save != "none" and args.output_dir is None:
        parser.error(f"--save {args.save} needs an --output-dir outside a study")
    return args


def follow(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Sets the recipe's parameters and seed in `args`, and the values of lr and wd by step in `args.changes`."""
    try:
        recipe = read_recipe(args.recipe)
        args.seed = recipe.seed
        for given in recipe.values:
            name = given.replace("-", "_")  # a study's parameter may be called as the option is
            if name not in SEARCHED:
                raise ValueError(f"it has {given!r}; allowed are {', '.join(SEARCHED)}")
            if name in args.changes:
                args.changes[name] = recipe.values[given]
            setattr(args, name, recipe.first(given) if name in args.changes else recipe.constant(given))
    except (ValueError, OSError) as error:
        parser.error(f"--recipe {args.recipe}: {error}")


def set_horizon(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Sets the length of the whole training, for the learning-rate schedule; a study may run it in stages."""
    name, given = ("--epochs", args.epochs) if args.eval_steps is None else ("--max-steps", args.max_steps)
    resource = client.max_resource()
    if resource is not None and given is not None and 0 <= given < resource:
        parser.error(f"{name} {given} ends before the study's search.max_resource of {resource}; leave it out")
    if args.eval_steps is None:
        args.epochs = args.epochs or resource or 5
        args.max_steps = args.max_steps or -1
    else:
        args.epochs, args.max_steps = args.epochs or 5, args.max_steps or resource or -1


def deepspeed_config(parser: argparse.ArgumentParser, args: argparse.Namespace) -> dict[str, Any] | None:
    """Returns the config of --zero-stage or --ds-config; None for the plain Trainer.

    A file that names an optimizer or a scheduler is refused. DeepSpeed puts all weights into one group of its own
    optimizer, so that biases and LayerNorm decay too, and its schedules begin with two steps at learning rate 0.
    """
    if args.offload != "none" and (args.ds_config or args.zero_stage == 0):
        parser.error("--offload is for --zero-stage 1, 2 or 3")
    if args.zero_stage == 0:
        return None
    if args.ds_config is None:
        return ds_config(args.zero_stage or 2, args.offload)
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
