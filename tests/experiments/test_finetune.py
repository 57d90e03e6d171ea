"""The fine-tuning script as a real process: torchrun, DeepSpeed, the Trainer, on the CPU with tiny-bloom."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.families import save_tiny

# torch and transformers warn of their own renamings at import, which is not ours to fail
pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

REPOSITORY = Path(__file__).parents[2]
SAMPLE = REPOSITORY / "experiments" / "data"
SCRIPT = REPOSITORY / "scripts" / "finetune.py"
SQUAD = REPOSITORY / "experiments" / "squad"
DATA = ["--train-data", str(SAMPLE / "squad-sample.json"), "--eval-data", str(SAMPLE / "squad-sample-dev.json")]
SHORT = ["--train-samples", "32", "--eval-samples", "5", "--eval-bs", "2", "--max-new-tokens", "4"]


@dataclass(frozen=True)
class Run:
    """What a finished run left: its reports, its output, its checkpoints."""

    reports: list[dict[str, Any]]
    output: str
    checkpoints: Path

    @property
    def metrics(self) -> dict[str, float]:
        return self.reports[-1]["metrics"]

    @property
    def weights(self) -> str:
        """A checksum of the last checkpoint's weights."""
        last = max(self.checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
        return hashlib.sha256((last / "model.safetensors").read_bytes()).hexdigest()


def finetune(
    directory: Path, *arguments: str, ranks: int = 1, script: Path = SCRIPT, fork: bool = True, **environ: str
) -> Run:
    """Runs the script as a trial does: with a metrics file and a checkpoint directory in its environment.

    Where there is no GPU, in forks of a process that has imported everything, which takes a fifth of the time; without
    `fork` in processes of their own, several ranks under torchrun.
    """
    directory.mkdir(parents=True, exist_ok=True)
    metrics = directory / "metrics.jsonl"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HPOSLURM_")} | {
        "OMP_NUM_THREADS": "1",
        "HPOSLURM_METRICS_FILE": str(metrics),
        "HPOSLURM_CHECKPOINT_DIR": str(directory / "checkpoints"),
        **environ,
    }
    words = [str(script), "--model", "tiny-bloom", *DATA, *arguments]
    run = _forked if fork and not Path("/dev/nvidiactl").exists() else _started
    is_good, out, error = run(directory, words, environment, ranks)
    assert is_good, out + error
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    return Run([line for line in lines if "metrics" in line], out, directory / "checkpoints")


def _started(directory: Path, words: list[str], environment: dict[str, str], ranks: int) -> tuple[bool, str, str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    command = [sys.executable, *launcher, *words]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=300)
    return done.returncode == 0, done.stdout, done.stderr


def _forked(directory: Path, words: list[str], environment: dict[str, str], ranks: int) -> tuple[bool, str, str]:
    files = {name: directory / f"{name}.txt" for name in ("stdout", "stderr")}
    for path in files.values():
        path.write_text("")
    request = {"argv": words, "cwd": str(directory), "env": environment, "ranks": ranks}
    process = _preloaded()
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(request | {name: str(path) for name, path in files.items()}) + "\n")
    process.stdin.flush()
    return set(json.loads(process.stdout.readline())) == {0}, files["stdout"].read_text(), files["stderr"].read_text()


@cache
def _preloaded() -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).with_name("preloaded.py"))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
    atexit.register(process.communicate)  # closes its stdin, which ends it
    return process


# ------------------------------------------------------------------------------------------------ two ranks, ZeRO-2


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Five epochs on the whole sample."""
    best = ["--lr", "5e-3", "--bs", "4", "--epochs", "5", "--max-new-tokens", "8", "--save", "epoch"]
    return finetune(tmp_path_factory.mktemp("trained"), *best, "--zero-stage", "2", ranks=2, fork=False)


def test_every_epoch_is_reported_with_all_metrics(trained: Run) -> None:
    assert [report["step"] for report in trained.reports] == [1, 2, 3, 4, 5]
    assert set(trained.metrics) >= {"eval_loss", "exact_match", "f1", "runtime", "samples_per_second"}
    assert {"peak_host_gb", "peak_gpu_gb"} & set(trained.metrics)
    assert [r["metrics"]["runtime"] for r in trained.reports] == sorted(
        r["metrics"]["runtime"] for r in trained.reports
    )


def test_the_sample_is_learned(trained: Run) -> None:
    first, last = trained.reports[0]["metrics"], trained.metrics

    assert last["eval_loss"] < first["eval_loss"] / 1.5
    assert last["exact_match"] > 20  # the untrained model has 0: see the test of one step
    assert last["f1"] >= last["exact_match"]


def test_only_rank_0_speaks_and_the_last_line_has_the_result(trained: Run) -> None:
    lines = trained.output.splitlines()

    assert len(lines) == 1
    assert lines[0].startswith("final: ")
    assert f"eval_loss={trained.metrics['eval_loss']:.4g}" in lines[0]


def test_each_epochs_checkpoint_is_complete(trained: Run) -> None:
    marks = sorted(trained.checkpoints.glob("checkpoint-*/COMPLETE"))
    sizes = {sum(file.stat().st_size for file in mark.parent.rglob("*_optim_states.pt")) for mark in marks}

    assert len(marks) == 5
    assert all(size > 0 for size in sizes)


def test_a_checkpoint_is_a_model_of_its_own(trained: Run, tmp_path: Path) -> None:
    checkpoint = max(trained.checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))

    again = finetune(tmp_path, "--model", str(checkpoint), "--max-steps", "1", "--lr", "0", "--max-new-tokens", "8")

    assert again.metrics["eval_loss"] == pytest.approx(trained.metrics["eval_loss"], rel=1e-4)
    assert again.metrics["exact_match"] == pytest.approx(trained.metrics["exact_match"])


# ------------------------------------------------------------------------------------------------ what is searched


@pytest.fixture(scope="module")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """One rank, eight steps with ZeRO-2; a later value of an argument replaces an earlier one."""

    def run(*changes: str, fork: bool = True) -> Run:
        base = ["--lr", "1e-3", "--bs", "2", "--wd", "0.01", "--warmup", "0", "--max-steps", "8", "--save", "epoch"]
        return finetune(tmp_path_factory.mktemp("short"), *SHORT, *base, *changes, fork=fork)

    return run


@pytest.fixture(scope="module")
def base(short_run: Callable[..., Run]) -> Run:
    return short_run()


def test_the_same_arguments_give_the_same_weights(base: Run, short_run: Callable[..., Run]) -> None:
    assert short_run(fork=False).weights == base.weights  # forks would share what no seed sets


@pytest.mark.parametrize(
    "change",
    [("--lr", "2e-3"), ("--wd", "0.1"), ("--warmup", "4"), ("--bs", "4"), ("--optimizer", "sgd")],
    ids=lambda change: change[0],
)
def test_each_searched_value_reaches_the_weights(
    base: Run, short_run: Callable[..., Run], change: tuple[str, str]
) -> None:
    assert short_run(*change).weights != base.weights


def test_momentum_reaches_the_weights(short_run: Callable[..., Run]) -> None:
    sgd = ["--optimizer", "sgd", "--lr", "0.1"]

    assert short_run(*sgd, "--momentum", "0.9").weights != short_run(*sgd, "--momentum", "0.8").weights


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    arguments = [*SHORT, "--lr", "5e-3", "--bs", "4", "--epochs", "2", "--save", "epoch"]
    whole = finetune(tmp_path, *arguments)
    reference = whole.weights

    resumed = finetune(tmp_path / "again", *arguments, "--resume-from", str(whole.checkpoints / "checkpoint-8"))

    # the first epoch's evaluation comes after its checkpoint, so it is repeated
    assert [report["step"] for report in resumed.reports] == [1, 2]
    assert resumed.reports[0]["metrics"]["eval_loss"] == whole.reports[0]["metrics"]["eval_loss"]
    assert resumed.weights == reference
    state = json.loads((whole.checkpoints / "checkpoint-8" / "trainer_state.json").read_text())
    first = resumed.reports[0]["metrics"]  # before its first step: what the checkpoint's run measured counts
    assert first["runtime"] > state["stateful_callbacks"]["Clock"]["attributes"]["before"] > 0
    assert first["samples_per_second"] > 0


# ------------------------------------------------------------------------------------------------ evaluation


def test_ranks_and_zero_stages_evaluate_alike(tmp_path: Path) -> None:
    """One step at learning rate 0 leaves the model as it was; five questions do not divide by two ranks.

    With ZeRO-3 each rank loads a part of the weights of the model's directory.
    """
    model = save_tiny(tmp_path / "gpt2", "gpt2")
    untrained = [*SHORT, "--model", str(model), "--lr", "0", "--max-steps", "1"]

    alone = finetune(tmp_path / "alone", *untrained, "--zero-stage", "0").metrics
    zero3 = finetune(tmp_path / "zero3", *untrained, "--zero-stage", "3", ranks=2).metrics

    assert zero3["eval_loss"] == pytest.approx(alone["eval_loss"], rel=1e-5)
    assert zero3["exact_match"] == alone["exact_match"] == 0
    assert zero3["f1"] == alone["f1"]


def test_questions_without_an_answer_have_scores_of_their_own(tmp_path: Path) -> None:
    document = json.loads((SAMPLE / "squad-sample-dev.json").read_text())
    asked = [qa for article in document["data"] for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
    for qa in asked[::3]:
        qa |= {"answers": [], "is_impossible": True}
    path = tmp_path / "v2.json"
    path.write_text(json.dumps(document))

    found = finetune(tmp_path, *SHORT, "--max-steps", "1", "--train-data", str(path), "--eval-data", str(path)).metrics

    parts = {f"{kind}_answer_{score}" for kind in ("has", "no") for score in ("exact_match", "f1")}
    assert parts | {"exact_match", "f1"} <= set(found)
    assert found["no_answer_exact_match"] == found["no_answer_f1"]


def test_eval_loss_is_the_mean_over_answer_tokens(tmp_path: Path) -> None:
    import squad
    import torch
    from squad_trainer import SquadTrainer
    from tiny_bloom import tiny_model, tiny_tokenizer
    from transformers import TrainingArguments
    from wording import wording

    examples = squad.read_examples(SAMPLE / "squad-sample-dev.json")[:5]
    tokenizer = tiny_tokenizer(e.context for e in examples)
    model = tiny_model(tokenizer, seed=0).eval()
    encoded = [squad.encode(e, wording(tokenizer), max_length=512) for e in examples]
    trainer = SquadTrainer(
        model=model,
        args=TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none"),
        processing_class=tokenizer,
        eval_dataset=encoded,
        eval_bs=2,
        max_new_tokens=2,
        ends=[tokenizer.eos_token_id],
    )

    by_hand = []
    for example in encoded:  # alone, so without padding
        with torch.no_grad():
            logits = model(torch.tensor([example.input_ids])).logits[0]
        chances = logits.log_softmax(-1)
        first = len(example.prompt)
        by_hand.append([-chances[first + i - 1, token].item() for i, token in enumerate(example.answer)])
    tokens = [loss for losses in by_hand for loss in losses]
    means = [sum(losses) / len(losses) for losses in by_hand]

    loss = trainer.scores()["eval_loss"]
    assert loss == pytest.approx(sum(tokens) / len(tokens), rel=1e-5)
    assert loss != pytest.approx(
        sum(means) / len(means), rel=1e-5
    )  # the answers differ in length: it is no mean of means


def test_a_generation_config_does_not_change_the_scores(tmp_path: Path) -> None:
    """The same weights with a repetition penalty, forced and suppressed tokens give the same answers."""
    from types import SimpleNamespace

    import squad
    from squad_trainer import SquadTrainer, greedy
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
    from wording import wording

    place = str(save_tiny(tmp_path, "gpt2"))
    model, tokenizer = AutoModelForCausalLM.from_pretrained(place).eval(), AutoTokenizer.from_pretrained(place)
    words = wording(tokenizer)
    batch = [squad.encode(e, words, 400) for e in squad.read_examples(SAMPLE / "squad-sample-dev.json")[:4]]
    settings = greedy(tokenizer, words.ends, max_new_tokens=6)
    self = SimpleNamespace(processing_class=tokenizer, generation=settings, _prepare_inputs=lambda inputs: inputs)
    expected = SquadTrainer.generate(self, model, batch)
    own = GenerationConfig(
        repetition_penalty=9.0, forced_eos_token_id=305, suppress_tokens=list(range(300)), num_beams=2
    )
    model.generation_config = own

    assert SquadTrainer.generate(self, model, batch) == expected
    assert model.generation_config is own  # it is saved with the checkpoints


def test_batches_label_the_answers_alone() -> None:
    import squad
    from squad_trainer import collate

    batch = [squad.Encoded([5, 6, 7], [8, 2], ("a",)), squad.Encoded([5], [9, 9, 2], ("b",))]

    tensors = {name: tensor.tolist() for name, tensor in collate(batch, pad_token=3).items()}

    assert tensors == {
        "input_ids": [[5, 6, 7, 8, 2], [5, 9, 9, 2, 3]],
        "attention_mask": [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]],
        "labels": [[-100, -100, -100, 8, 2], [-100, 9, 9, 2, -100]],
    }


def test_the_tokenizer_is_the_same_in_every_process() -> None:
    code = (
        "import squad, tiny_bloom, hashlib, pathlib, sys\n"
        "examples = squad.read_examples(pathlib.Path(sys.argv[1]))\n"
        "text = tiny_bloom.tiny_tokenizer(e.context for e in examples).backend_tokenizer.to_str()\n"
        "print(hashlib.sha256(text.encode()).hexdigest())\n"
    )
    command = [sys.executable, "-c", code, str(SAMPLE / "squad-sample-dev.json")]
    hashes = {
        subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(SQUAD), "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }

    assert len(hashes) == 1


# ------------------------------------------------------------------------------------------------ bad arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train-data", "a.json"], "give --data, or both --train-data and --eval-data"),
        (["--data", "squad", "--momentum", "0.9"], "--momentum is for --optimizer sgd"),
        (["--data", "squad", "--save", "epoch"], "--save epoch needs an --output-dir"),
        (["--data", "squad", "--zero-stage", "2", "--ds-config", "x.json"], "not allowed with argument"),
        (["--data", "squad", "--epochs", "0"], "--epochs: '0' is not a whole number of at least 1"),
        (["--data", "squad", "--epochs", "-2"], "--epochs: '-2' is not a whole number of at least 1"),
        (["--data", "squad", "--max-steps", "0"], "--max-steps: '0' is not a whole number of at least 1, or -1"),
        (["--data", "squad", "--max-steps", "-2"], "--max-steps: '-2' is not a whole number of at least 1, or -1"),
        (["--data", "squad", "--train-samples", "0"], "--train-samples: '0' is not a whole number of at least 1"),
        (["--data", "squad", "--eval-samples", "0"], "--eval-samples: '0' is not a whole number of at least 1"),
        (["--data", "squad", "--bs", "4.0"], "--bs: '4.0' is not a whole number of at least 1"),
        (["--data", "squad", "--lr", "nan"], "--lr: 'nan' is not a number of at least 0"),
        (["--data", "squad", "--wd", "-0.1"], "--wd: '-0.1' is not a number of at least 0"),
        (["--data", "squad", "--optimizer", "sgd", "--momentum", "1"], "'1' is not a number of at least 0 and below 1"),
    ],
)
def test_bad_arguments_are_named(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import finetune as script

    monkeypatch.setattr("sys.argv", ["finetune.py", *arguments])
    with pytest.raises(SystemExit, match="2"):
        script.parse_arguments()

    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"optimizer": {"type": "AdamW"}}', "ds.json has 'optimizer'; remove them"),
        ('{"optimizer": {}, "scheduler": {}}', "ds.json has 'optimizer' and 'scheduler'; remove them"),
        ("{", "ds.json: Expecting property name"),
        (None, "No such file"),
    ],
)
def test_a_deepspeed_json_that_changes_the_experiment_is_refused(
    text: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import finetune as script

    path = tmp_path / "ds.json"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr("sys.argv", ["finetune.py", "--data", "squad", "--ds-config", str(path)])
    with pytest.raises(SystemExit, match="2"):
        script.parse_arguments()

    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-length", "600"], "--max-length 600 is more than the model's 512 positions"),
        (["--max-length", "512", "--max-new-tokens", "511"], "512 positions leave no room for question"),
    ],
)
def test_lengths_beyond_the_models_positions_are_refused_before_the_training(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import finetune as script
    import squad
    from transformers import AutoConfig

    from tests.experiments.families import tokenizer_of

    monkeypatch.setattr("sys.argv", ["finetune.py", *DATA, *arguments])
    args = script.parse_arguments()
    model = type("Model", (), {"config": AutoConfig.for_model("gpt2", n_positions=512)})
    examples = squad.read_examples(SAMPLE / "squad-sample-dev.json")[:3]

    with pytest.raises(squad.DataError, match=message):
        script.encode_data(args, model, tokenizer_of("gpt2"), examples, examples)


def test_missing_data_ends_with_a_message_and_status_2(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--model", "tiny-bloom", "--data", "nowhere.json"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no file nowhere.json")
