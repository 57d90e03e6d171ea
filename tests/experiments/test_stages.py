"""A fine-tune in stages: it stops where it is told, goes on there, and its schedule is that of the whole training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from hposlurm.worker import checkpoints
from tests.experiments.test_finetune import DATA, SCRIPT, SHORT, Run, finetune
from tests.experiments.test_resume import KINDS, steps

# torch and transformers warn of their own renamings at import, which is not ours to fail
pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

# 16 samples: 2 steps an epoch with two ranks, 4 with one
ARGUMENTS = [*SHORT, "--train-samples", "16", "--bs", "4", "--warmup", "2", "--seed", "3"]
FIRST, SECOND = ["--lr", "5e-3", "--wd", "0.1"], ["--lr", "2e-3", "--wd", "0.3"]

# What each optimizer step really uses, from the optimizer itself: rank, learning rate and weight decay of its groups.
RECORDER = """
import json, os, runpy, sys
from torch.optim.optimizer import register_optimizer_step_pre_hook

place = os.environ["RECORD_STEPS"] + "-" + os.environ.get("RANK", "0")

def record(optimizer, *_):
    with open(place, "a") as file:
        groups = [[float(group["lr"]), group["weight_decay"]] for group in optimizer.param_groups]
        print(json.dumps(groups), file=file)

register_optimizer_step_pre_hook(record)
sys.argv[0] = os.environ["SCRIPT"]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Trial:
    """One trial's directory; each `train` is an attempt that goes on from its newest checkpoint."""

    def __init__(self, place: Path, kind: str) -> None:
        self.place, self.kind, (self.arguments, self.ranks) = place, kind, KINDS[kind]
        place.mkdir(parents=True, exist_ok=True)

    def train(self, *arguments: str, **stage: object) -> Run:
        script = self.place / "recorder.py"
        script.write_text(RECORDER)
        newest = checkpoints.resume(self.place / "checkpoints", 1)
        variables = {f"HPOSLURM_{name.upper()}": str(value) for name, value in stage.items()}
        variables |= {"HPOSLURM_RESUME_FROM": str(newest or ""), "SCRIPT": str(SCRIPT)}
        variables["RECORD_STEPS"] = str(self.place / "steps")
        given = [*ARGUMENTS, *self.arguments, *arguments]
        return finetune(self.place, *given, ranks=self.ranks, script=script, **variables)

    def fork(self, place: Path) -> Trial:
        """Another trial that has come as far."""
        shutil.copytree(self.place, place, dirs_exist_ok=True)
        return Trial(place, self.kind)

    def steps(self) -> list[Any]:
        """(learning rate, weight decay) of each group at each optimizer step so far, the same on every rank."""
        texts = [(self.place / f"steps-{rank}").read_text() for rank in range(self.ranks)]
        assert len(set(texts)) == 1
        return [group for line in texts[0].splitlines() for group in json.loads(line)]


@pytest.fixture(scope="module", params=KINDS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trial, Run]:
    """Three epochs without a stop."""
    trial = Trial(tmp_path_factory.mktemp("whole"), request.param)
    return trial, trial.train(*FIRST, "--epochs", "3")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, whole: tuple[Trial, Run]) -> Trial:
    """The first epoch of the same training."""
    trial = Trial(tmp_path_factory.mktemp("begun"), whole[0].kind)
    first = trial.train(*FIRST, max_step=1, max_resource=3)
    assert [report["step"] for report in first.reports] == [1]
    assert steps(first.checkpoints) == [4 // trial.ranks]
    return trial


def test_stages_make_up_one_training(tmp_path: Path, whole: tuple[Trial, Run], begun: Trial) -> None:
    """Paused at a rung and sent on: every step is trained once, with the schedule of the full horizon."""
    reference, uninterrupted = whole
    trial = begun.fork(tmp_path)
    last = trial.train(*FIRST, from_step=1, max_step=3, max_resource=3)
    assert [report["step"] for report in last.reports] == [1, 2, 3]
    assert trial.steps() == reference.steps()
    assert last.weights == uninterrupted.weights


def test_a_copy_trains_on_with_its_own_learning_rate_and_weight_decay_and_can_be_replayed(
    tmp_path: Path, whole: tuple[Trial, Run], begun: Trial
) -> None:
    """From the checkpoint of another trial with other values: those are in the checkpoint, but must not be used.

    One run that follows what `best --export` writes of such a trial takes the very same steps.
    """
    per_epoch = len(begun.steps())
    trial = begun.fork(tmp_path / "copy")
    copy = trial.train(*SECOND, from_step=1, max_step=3, max_resource=3)
    own, other = trial.steps()[per_epoch:], whole[0].steps()[per_epoch:]
    assert [rate for rate, _ in own] == pytest.approx([rate * 2e-3 / 5e-3 for rate, _ in other])
    assert [decay for _, decay in own] == [pytest.approx(3 * decay) for _, decay in other]
    assert {decay for _, decay in own} == {0.3, 0.0}  # biases and LayerNorm keep none

    first, second = {"lr": 5e-3, "wd": 0.1, "bs": 4}, {"lr": 2e-3, "wd": 0.3, "bs": 4}
    legs = [{"step": 0, "params": first}, {"step": 1, "params": second}]
    recipe = tmp_path / "best.yaml"
    recipe.write_text(yaml.safe_dump({"params": second, "seed": 3, "schedule": legs}))
    replay = Trial(tmp_path / "replay", begun.kind)
    replayed = replay.train("--recipe", str(recipe), "--epochs", "3")
    assert replay.steps() == trial.steps()
    assert replayed.weights == copy.weights


def test_optimizer_steps_as_the_resource(tmp_path: Path) -> None:
    trial = Trial(tmp_path, "the plain Trainer")
    first = trial.train(*FIRST, "--eval-steps", "3", max_step=5, max_resource=7)
    assert [report["step"] for report in first.reports] == [3, 5]
    assert steps(first.checkpoints) == [3, 5]
    last = trial.train(*FIRST, "--eval-steps", "3", from_step=5, max_step=7, max_resource=7)
    assert [report["step"] for report in last.reports] == [3, 5, 6, 7]
    whole = Trial(tmp_path / "whole", "the plain Trainer")
    assert whole.train(*FIRST, "--eval-steps", "3", "--max-steps", "7").weights == last.weights
    assert trial.steps() == whole.steps()


def test_a_horizon_that_ends_before_the_last_rung_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"--epochs 2 ends before the study's search\.max_resource of 3"):
        finetune(tmp_path, *DATA, "--epochs", "2", HPOSLURM_MAX_RESOURCE="3")
