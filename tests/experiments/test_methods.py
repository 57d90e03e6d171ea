"""What can be searched: each value changes the run, the same values give the same run bit by bit."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.families import FAMILIES, save_tiny
from tests.experiments.test_finetune import DATA, finetune

# torch and transformers warn of their own renamings at import, which is not ours to fail
pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

# five steps; in this process, since a process of its own costs many times as much
SHORT = ["--train-samples", "10", "--bs", "2", "--epochs", "1", "--eval-samples", "1", "--max-new-tokens", "1"]
BASE = [*SHORT, "--lr", "1e-2", "--wd", "0.1", "--seed", "3", "--zero-stage", "0", "--save", "epoch"]
LORA = ["--method", "lora"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def model(family: str) -> Path:
        if family not in made:
            made[family] = save_tiny(tmp_path_factory.mktemp(family), family)
        return made[family]

    return model


@pytest.fixture
def train(
    tmp_path_factory: pytest.TempPathFactory, models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Returns the directory of checkpoints of a run with these arguments."""
    import finetune as script

    def run(arguments: Sequence[str], family: str = "llama") -> Path:
        place = tmp_path_factory.mktemp("run")
        given = ["--model", str(models(family)), *DATA, *BASE, "--output-dir", str(place), *arguments]
        monkeypatch.setattr("sys.argv", ["finetune.py", *given])
        script.main()
        return place

    return run


def last(place: Path) -> Path:
    return max(place.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))


def checksum(place: Path) -> str:
    (weights,) = last(place).glob("*model.safetensors")
    return hashlib.sha256(weights.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (
            [],
            [
                ["--accumulation", "2"],
                ["--clip", "0.1"],
                ["--schedule", "cosine"],
                ["--schedule", "constant"],
                ["--schedule", "wsd", "--decay", "0.6"],
                ["--schedule", "wsd", "--decay", "4"],
                ["--optimizer", "sgd"],
                ["--optimizer", "adafactor"],
                ["--label-smoothing", "0.1"],
                ["--neftune", "5"],
                ["--neftune", "10"],
                LORA,
            ],
        ),
        (
            LORA,
            [
                ["--method", "dora"],
                ["--lora-r", "4"],
                ["--lora-alpha", "32"],
                ["--lora-dropout", "0.2"],
                ["--lora-scaling", "rslora"],
                ["--lora-targets", "attention"],
                ["--lora-targets", "q_proj,down_proj"],
            ],
        ),
    ],
    ids=["full", "lora"],
)
def test_each_value_changes_the_weights_and_the_same_ones_do_not(
    train: Callable[..., Path], kind: list[str], changes: list[list[str]]
) -> None:
    base = checksum(train(kind))

    assert checksum(train(kind)) == base
    found = {" ".join(change): checksum(train([*kind, *change])) for change in changes}
    assert len({base, *found.values()}) == len(changes) + 1, found
    noisy = ["--neftune", "5"] if not kind else ["--lora-dropout", "0.2"]
    assert checksum(train([*kind, *noisy])) == found[" ".join(noisy)]  # random, but of the seed


@pytest.mark.parametrize(
    ("arguments", "factors"),
    [
        (["cosine"], [(1 + math.cos(math.pi * step / 5)) / 2 for step in range(5)]),
        (["constant", "--warmup", "2"], [0, 1 / 2, 1, 1, 1]),
        (["wsd", "--warmup", "1", "--decay", "0.6"], [0, 1, 1, 2 / 3, 1 / 3]),
        (["wsd", "--warmup", "3", "--decay", "9"], [0, 1 / 3, 2 / 3, 1, 1 / 2]),  # no more than what is left
    ],
    ids=str,
)
def test_the_rate_of_every_step_is_that_of_the_schedule(
    train: Callable[..., Path], arguments: list[str], factors: list[float]
) -> None:
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    rates: list[float] = []
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    try:
        train(["--schedule", *arguments])
    finally:
        hook.remove()

    assert rates == pytest.approx([1e-2 * factor for factor in factors])


@pytest.mark.parametrize("family", FAMILIES)
def test_only_adapters_train_and_the_checkpoint_gives_equal_logits(
    train: Callable[..., Path], models: Callable[[str], Path], family: str
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    place = train([*LORA, "--merge"], family)

    base = AutoModelForCausalLM.from_pretrained(models(family)).eval()
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    tokens = torch.arange(5, 25).unsqueeze(0)
    with torch.no_grad():
        plain = base(tokens).logits
        adapted_model = PeftModel.from_pretrained(base, last(place)).eval()
        adapted = adapted_model(tokens).logits
        merged = AutoModelForCausalLM.from_pretrained(place / "merged").eval()(tokens).logits
    assert not torch.allclose(adapted, plain, atol=1e-3)
    torch.testing.assert_close(merged, adapted, rtol=1e-4, atol=1e-4)
    frozen = {name.replace(".base_layer", ""): w for name, w in adapted_model.get_base_model().state_dict().items()}
    assert all(torch.equal(frozen[name], weight) for name, weight in before.items() if name in frozen)
    names = {name for name, _ in adapted_model.named_parameters() if "lora_" in name}
    assert len(names) >= 2 * 4  # two matrices, two layers, two linear layers in each at least
    assert not any("lm_head" in name or "embed" in name for name in names)


def test_a_run_with_adapters_resumes_as_if_uninterrupted(train: Callable[..., Path]) -> None:
    kind = [*LORA, "--lora-dropout", "0.2", "--epochs", "2", "--eval-steps", "5"]
    whole = train(kind)

    again = train([*kind, "--resume-from", str(whole / "checkpoint-5")])

    assert checksum(again) == checksum(whole)


def test_adapters_train_alike_with_zero_3_on_two_ranks(tmp_path: Path, models: Callable[[str], Path]) -> None:
    import torch
    from safetensors.torch import load_file

    def adapters(name: str, *arguments: str, ranks: int) -> dict[str, Any]:
        place = tmp_path / name
        shape = ["--model", str(models("llama")), *BASE, *LORA, "--train-samples", "12", *arguments]
        return load_file(last(finetune(place, *shape, ranks=ranks).checkpoints) / "adapter_model.safetensors")

    plain = adapters("plain", "--bs", "4", ranks=1)
    sharded = adapters("sharded", "--bs", "2", "--zero-stage", "3", ranks=2)

    assert plain.keys() == sharded.keys()
    for name, weight in plain.items():
        torch.testing.assert_close(sharded[name], weight, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_patience_ends_the_training_and_goes_on_counting_after_a_resume(train: Callable[..., Path]) -> None:
    """At learning rate 0 no evaluation is better than the first."""
    arguments = ["--lr", "0", "--epochs", "5", "--patience", "2"]
    place = train(arguments)
    assert sorted(path.name for path in place.glob("checkpoint-*")) == [
        "checkpoint-10",
        "checkpoint-15",
        "checkpoint-5",
    ]
    state = json.loads((place / "checkpoint-15" / "trainer_state.json").read_text())
    assert state["stateful_callbacks"]["Patience"]["attributes"]["worse"] == 1  # saved before its own evaluation

    resumed = train([*arguments, "--resume-from", str(place / "checkpoint-10")])
    assert [path.name for path in resumed.glob("checkpoint-*")] == ["checkpoint-15"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--decay", "0.1"], "--decay is for --schedule wsd"),
        (["--optimizer", "adafactor"], "--optimizer adafactor needs --zero-stage 0"),
        (["--merge"], "--merge is for --method lora or dora"),
        (["--offload", "cpu", "--zero-stage", "0"], "--offload is for --zero-stage 1, 2 or 3"),
        ([*LORA, "--merge", "--output-dir", "x", "--zero-stage", "3"], "--merge needs whole weights"),
        (["--lora-r", "0"], "'0' is not a whole number of at least 1"),
        (["--label-smoothing", "1"], "'1' is not a number of at least 0 and below 1"),
    ],
)
def test_values_that_do_not_go_together_are_refused(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import finetune as script

    monkeypatch.setattr("sys.argv", ["finetune.py", *DATA, *arguments])
    with pytest.raises(SystemExit, match="2"):
        script.parse_arguments()

    assert message in capsys.readouterr().err


def test_a_recipe_sets_what_was_searched_by_the_options_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import finetune as script

    best = tmp_path / "best.yaml"
    params = {"lr": 2e-3, "method": "lora", "lora-r": 4, "label-smoothing": 0.1, "schedule": "cosine"}
    best.write_text(json.dumps({"params": params, "seed": 7, "schedule": []}))
    monkeypatch.setattr("sys.argv", ["finetune.py", *DATA, "--recipe", str(best)])

    args = script.parse_arguments()

    found = {name: getattr(args, name.replace("-", "_")) for name in params}
    assert (found, args.seed, args.changes["lr"]) == (params, 7, {0: 2e-3})


def test_layers_that_the_model_does_not_have_are_named(train: Callable[..., Path]) -> None:
    import squad

    with pytest.raises(squad.DataError, match="--lora-targets nonsense: "):
        train([*LORA, "--lora-targets", "nonsense"])
