"""Save, leave, come back: a fine-tune that was interrupted ends exactly where one ends that was not."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hposlurm.worker import checkpoints
from tests.experiments.test_finetune import DATA, REPOSITORY, SCRIPT, SHORT, Run, finetune
from tests.worker.study import Study

# torch and transformers warn of their own renamings at import, which is not ours to fail
pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

# 32 samples: 4 steps an epoch with two ranks, 8 with one
EPOCHS = [*SHORT, "--lr", "5e-3", "--bs", "4", "--epochs", "2", "--warmup", "2", "--wd", "0.1", "--seed", "3"]
KINDS = {"ZeRO-2 on two ranks": (["--zero-stage", "2"], 2), "the plain Trainer": (["--zero-stage", "0"], 1)}

DIES_WHILE_SAVING = """
import os, runpy, signal, sys, transformers

save = transformers.Trainer._save_rng_state

def die(trainer, directory):
    if os.environ["HPOSLURM_ATTEMPT"] == "0" and trainer.state.global_step == 8 and trainer.is_world_process_zero():
        os.kill(os.getpid(), signal.SIGKILL)
    save(trainer, directory)

transformers.Trainer._save_rng_state = die
sys.argv[0] = sys.argv.pop(1)
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny-bloom with dropout, so that the random states matter."""
    import squad
    from tiny_bloom import tiny_model, tiny_tokenizer

    directory = tmp_path_factory.mktemp("model")
    examples = squad.read_examples(Path(DATA[1]))
    tokenizer = tiny_tokenizer(f"{squad.prompt(e.question, e.context)} {e.answers[0]}" for e in examples)
    network = tiny_model(tokenizer, seed=1)
    network.config.hidden_dropout = network.config.attention_dropout = 0.1
    network.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Callable[[str], Run]:
    done: dict[str, Run] = {}

    def run(kind: str) -> Run:
        if kind not in done:
            arguments, ranks = KINDS[kind]
            place = tmp_path_factory.mktemp("uninterrupted")
            done[kind] = finetune(place, *EPOCHS, "--model", str(model), *arguments, ranks=ranks)
        return done[kind]

    return run


def losses(reports: list[dict]) -> dict[int, float]:
    return {report["step"]: report["metrics"]["eval_loss"] for report in reports}


def steps(directory: Path) -> list[int]:
    return sorted(int(mark.parent.name.split("-")[1]) for mark in directory.glob("checkpoint-*/COMPLETE"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_asked_to_leave_twice_ends_where_another_does(
    tmp_path: Path, model: Path, uninterrupted: Callable[[str], Run], kind: str
) -> None:
    (arguments, ranks), whole, request = KINDS[kind], uninterrupted(kind), tmp_path / "request"
    per_epoch = 8 // ranks
    assert steps(whole.checkpoints) == [per_epoch, 2 * per_epoch]

    def attempt() -> Run:
        newest = checkpoints.resume(tmp_path / "checkpoints", 1)
        variables = {"HPOSLURM_REQUEST_FILE": str(request), "HPOSLURM_RESUME_FROM": str(newest or "")}
        words = [*EPOCHS, "--model", str(model), *arguments]
        return finetune(tmp_path, *words, ranks=ranks, fork=ranks == 1, **variables)

    request.touch()  # there from the beginning: it leaves after its first step, in the middle of an epoch
    first = attempt()
    assert first.output == "exited at step 1 at the request of the study\n"
    assert not first.reports and steps(first.checkpoints) == [1]

    request.unlink()
    mark = first.checkpoints / f"checkpoint-{per_epoch}" / "COMPLETE"
    asking = threading.Thread(target=ask_once, args=(mark, request))  # in the evaluation, or in the second epoch
    asking.start()
    second = attempt()
    asking.join()
    assert second.output.startswith("exited at step ")
    assert per_epoch <= steps(second.checkpoints)[-1] < 2 * per_epoch

    request.unlink()
    third = attempt()
    assert losses(third.reports).keys() == {1, 2}
    for epoch, loss in losses(whole.reports).items():
        assert losses(third.reports)[epoch] == pytest.approx(loss, abs=1e-6)
    assert third.weights == whole.weights
    assert len(steps(third.checkpoints)) == 2  # all but the newest are gone


def ask_once(mark: Path, request: Path) -> None:
    end = time.monotonic() + 120
    while not mark.exists() and time.monotonic() < end:
        time.sleep(0.002)
    request.touch()


def test_a_kill_in_the_middle_of_a_save_costs_what_came_after_the_save_before_it(
    tmp_path: Path, model: Path, uninterrupted: Callable[[str], Run]
) -> None:
    """Two ranks and ZeRO-2 under the real worker: rank 0 dies with its shards written and its trainer state not."""
    whole = uninterrupted("ZeRO-2 on two ranks")
    wrapper = tmp_path / "dies_while_saving.py"
    wrapper.write_text(DIES_WHILE_SAVING)
    study = Study(tmp_path / "study", tmp_path / "tmp")
    for directory in (study.root, study.scratch):
        directory.mkdir()
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(wrapper)]
    words += [str(SCRIPT), *DATA, *EPOCHS, "--model", str(model), "--zero-stage", "2"]
    study.plan(" ".join(words), retries=1)

    def attempt() -> int:
        worker = study.start(PYTHONPATH=str(REPOSITORY), OMP_NUM_THREADS="1")
        _, error = worker.communicate(timeout=300)
        print(error)
        return worker.returncode

    assert attempt() == 1
    saved = study.trial().checkpoints
    torn = saved / "checkpoint-8"
    assert (torn / "model.safetensors").exists() and not (torn / "COMPLETE").exists()
    assert steps(saved) == [4]

    assert attempt() == 0
    assert study.record("start", attempt=1)["resumed_from"] == str(saved / "checkpoint-4")
    assert (saved / "partial-checkpoint-8-1").is_dir()
    assert steps(saved) == [4, 8]
    found = losses([r for r in study.records(attempt=1) if r["kind"] == "report"])
    assert found[2] == pytest.approx(losses(whole.reports)[2], abs=1e-6)
    state = json.loads((saved / "checkpoint-8" / "trainer_state.json").read_text())
    assert state["global_step"] == 8
