"""The same arguments are the same training, whatever shards it: weight decay, rates and weights at every step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hposlurm.render.deepspeed import ds_config
from tests.experiments.test_finetune import SCRIPT, SHORT, Run, finetune

# torch and transformers warn of their own renamings at import, which is not ours to fail
pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

# 48 samples in batches of 8, of all ranks together
STEPS, LR = 6, 5e-3
SMALL = [*SHORT, "--train-samples", "48", "--eval-samples", "2", "--max-new-tokens", "1", "--epochs", "1", "--save"]
ARGUMENTS = [*SMALL, "epoch", "--lr", str(LR), "--wd", "0.5", "--seed", "3"]


# What each step of rank 0's optimizer uses: learning rate and weight decay of each group.
RECORDER = """
import json, os, runpy, sys
from torch.optim.optimizer import register_optimizer_step_pre_hook

def record(optimizer, *_):
    is_wrapper = type(optimizer).__module__.startswith(("accelerate.", "deepspeed."))
    if os.environ.get("RANK", "0") == "0" and not is_wrapper:
        groups = [[float(group["lr"]), group["weight_decay"]] for group in optimizer.param_groups]
        with open(os.environ["RECORD_STEPS"], "a") as file:
            print(json.dumps(groups), file=file)

register_optimizer_step_pre_hook(record)
sys.argv[0] = os.environ["SCRIPT"]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Trained:
    """A run, and what each of its steps used: {(learning rate, weight decay) of each group}."""

    run: Run
    steps: list[set[tuple[float, float]]]

    def weights(self) -> dict[str, Any]:
        """The weights in the checkpoint that have a gradient: a key's bias has none but rounding, as softmax takes
        no notice of what is added to all scores."""
        from safetensors.torch import load_file

        (checkpoint,) = self.run.checkpoints.glob("checkpoint-*")
        weights = load_file(checkpoint / "model.safetensors")
        return {name: weight for name, weight in weights.items() if not name.endswith("query_key_value.bias")}


def train(place: Path, arguments: Sequence[str], ranks: int = 1) -> Trained:
    script, steps = place / "recorder.py", place / "steps"
    script.write_text(RECORDER)
    given = [*ARGUMENTS, "--bs", str(8 // ranks), *arguments]
    run = finetune(place, *given, ranks=ranks, script=script, SCRIPT=str(SCRIPT), RECORD_STEPS=str(steps))
    calls = [json.loads(line) for line in steps.read_text().splitlines()]
    each, rest = divmod(len(calls), STEPS)  # ZeRO calls the optimizer once for each part of the weights
    assert not rest
    parts = [calls[step * each : (step + 1) * each] for step in range(STEPS)]
    return Trained(run, [{tuple(group) for call in part for group in call} for part in parts])


def at(factors: Sequence[float]) -> list[set[tuple[float, float]]]:
    """Those steps: weight decay for the matrices, none for biases and LayerNorm."""
    return [{(LR * factor, 0.5), (LR * factor, 0.0)} for factor in factors]


def sharding(kind: str, place: Path) -> list[str]:
    """The arguments of "0" … "3", of "2 cpu", or of "json 3 cpu" (as in a study whose trials offload)."""
    *is_json, stage, offload = [*kind.split(), "none"][: 2 + kind.startswith("json")]
    if not is_json:
        return ["--zero-stage", stage, "--offload", offload]
    path = place / "ds.json"
    path.write_text(json.dumps(ds_config(int(stage), offload)))
    return ["--ds-config", str(path)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The Trainer without DeepSpeed, on one rank."""
    return train(tmp_path_factory.mktemp("plain"), ["--zero-stage", "0", "--warmup", "2"])


@pytest.mark.parametrize(
    ("kind", "ranks"),
    [("0", 2), ("1", 1), ("2", 2), ("3", 2), ("2 cpu", 1), ("json 3 cpu", 1)],
    ids=lambda value: str(value),
)
def test_stage_offload_and_ranks_do_not_change_the_training(
    plain: Trained, tmp_path: Path, kind: str, ranks: int
) -> None:
    import torch

    trained = train(tmp_path, [*sharding(kind, tmp_path), "--warmup", "2"], ranks)

    assert trained.steps == plain.steps == at([0, 1 / 2, 1, 3 / 4, 2 / 4, 1 / 4])
    assert trained.run.metrics["eval_loss"] == pytest.approx(plain.run.metrics["eval_loss"], rel=1e-5)
    expected = plain.weights()
    found = trained.weights()
    assert found.keys() - expected.keys() <= {"lm_head.weight"}  # DeepSpeed saves tied weights twice
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-5, atol=2e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_accumulated_batches_are_one_larger_batch(plain: Trained, tmp_path: Path) -> None:
    """Of answers with different numbers of tokens: each token counts alike."""
    import torch

    trained = train(tmp_path, ["--zero-stage", "2", "--warmup", "2", "--bs", "2", "--accumulation", "4"])

    assert trained.steps == plain.steps
    expected, found = plain.weights(), trained.weights()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-5, atol=2e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_a_lower_precision_trains_with_the_same_groups_and_rates(plain: Trained, tmp_path: Path) -> None:
    trained = train(tmp_path, ["--zero-stage", "2", "--warmup", "2", "--precision", "bf16"])

    assert trained.steps == plain.steps
    assert trained.run.metrics["eval_loss"] == pytest.approx(plain.run.metrics["eval_loss"], rel=0.02)
    assert trained.run.metrics["eval_loss"] != pytest.approx(plain.run.metrics["eval_loss"], rel=1e-5)


@pytest.mark.parametrize("stage", ["0", "2"])
@pytest.mark.parametrize(
    ("warmup", "factors"),
    [("0", [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]), ("0.5", [0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3])],
)
def test_the_rate_of_every_step_is_that_of_the_arguments(
    tmp_path: Path, stage: str, warmup: str, factors: list[float]
) -> None:
    steps = train(tmp_path, ["--save", "none", "--zero-stage", stage, "--warmup", warmup]).steps

    assert [sorted(step) for step in steps] == [[pytest.approx(g) for g in sorted(step)] for step in at(factors)]


def test_a_resumed_run_with_zero_3_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    arguments = [*SMALL, "epoch", "--lr", str(LR), "--wd", "0.5", "--bs", "8", "--epochs", "2", "--zero-stage", "3"]
    whole = finetune(tmp_path / "whole", *arguments, ranks=2)

    first = str(whole.checkpoints / "checkpoint-3")
    resumed = finetune(tmp_path / "resumed", *arguments, "--resume-from", first, ranks=2)

    assert resumed.weights == whole.weights
    assert resumed.metrics["eval_loss"] == whole.metrics["eval_loss"]
