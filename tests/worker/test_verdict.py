from typing import Any

import pytest

from hposlurm.records.cause_text import exit_text, sentence
from hposlurm.trial import Cause, EndCause, Outcome
from hposlurm.worker.last_words import LastWords
from hposlurm.worker.verdict import Ending, judge

TOLD = EndCause(Cause.TOLD_TO_STOP, signal=15)
RUNG = EndCause(Cause.PRUNED, detail="rung 1")
GOOD = {"eval_loss": (3, 1.0)}


def said(*seen: Any, **more: Any) -> tuple[Outcome, str]:
    outcome, cause = judge(*seen, **more)
    return outcome, sentence(cause)


@pytest.mark.parametrize(
    ("ending", "last", "to_step", "outcome"),
    [
        (Ending(0), GOOD, None, Outcome.COMPLETE),
        (Ending(1), GOOD, None, Outcome.FAIL),
        (Ending(0), {}, None, Outcome.FAIL),
        (Ending(0, timed_out_s=9), GOOD, None, Outcome.FAIL),
        (Ending(0, asked=TOLD), GOOD, None, Outcome.COMPLETE),
        (Ending(0, asked=TOLD), {}, None, Outcome.INTERRUPTED),
        (Ending(1, asked=TOLD), GOOD, None, Outcome.INTERRUPTED),
        (Ending(0, asked=TOLD, is_stopping=True), GOOD, None, Outcome.INTERRUPTED),
        (Ending(0, asked=TOLD, is_stopping=True), GOOD, 4, Outcome.INTERRUPTED),
        (Ending(0, asked=TOLD, is_stopping=True), GOOD, 3, Outcome.COMPLETE),
        (Ending(0, is_stopping=True), GOOD, None, Outcome.COMPLETE),
        (Ending(0, has_reported=False), GOOD, None, Outcome.COMPLETE),  # earlier attempts had reported everything
        (Ending(0, has_reported=False, asked=TOLD), GOOD, None, Outcome.INTERRUPTED),  # it may not have begun yet
        (Ending(0, has_reported=False, asked=TOLD, is_stopping=True), GOOD, 3, Outcome.COMPLETE),
        (Ending(1, has_reported=False), GOOD, None, Outcome.FAIL),
        (Ending(0, pruned=RUNG, is_stopping=True), GOOD, None, Outcome.PRUNED),
        (Ending(0, pruned=RUNG, is_stopping=True), GOOD, 3, Outcome.COMPLETE),  # it had arrived already
        (Ending(0, pruned=RUNG), GOOD, None, Outcome.COMPLETE),
        (Ending(0, pruned=RUNG), GOOD, 9, Outcome.PRUNED),
        (Ending(1, pruned=RUNG), GOOD, None, Outcome.PRUNED),
        (Ending(0, pruned=RUNG), {}, None, Outcome.PRUNED),
        (Ending(None, pruned=RUNG, killed_after_s=60.0), GOOD, None, Outcome.PRUNED),
        (Ending(None, asked=TOLD, killed_after_s=25.0), GOOD, None, Outcome.INTERRUPTED),
    ],
)
def test_outcome(ending: Ending, last: dict, to_step: int | None, outcome: Outcome) -> None:
    found, cause = judge(ending, ["eval_loss"], last, to_step)
    assert found is outcome
    assert bool(cause) == (outcome is not Outcome.COMPLETE)


@pytest.mark.parametrize(
    ("to_step", "reason"),
    [
        (None, ""),
        (3, ""),
        (4, "it ended by itself at step 3, before the 4 that was assigned"),
        (2, "it went on to step 3, past the 2 that was assigned and that max_step told"),
    ],
)
def test_a_command_that_ends_elsewhere_than_assigned_is_complete_and_it_is_said(
    to_step: int | None, reason: str
) -> None:
    assert said(Ending(0), ["eval_loss"], GOOD, to_step) == (Outcome.COMPLETE, reason)


def test_the_objective_that_was_reported_least_far_tells_where_a_command_ended() -> None:
    last = {"eval_loss": (4, 1.0), "f1": (2, 30.0), "train_loss": (9, 0.1)}
    _, reason = said(Ending(0), ["eval_loss", "f1"], last, 4)
    assert reason == "it ended by itself at step 2, before the 4 that was assigned"


def test_every_objective_needs_a_number() -> None:
    last = {"eval_loss": (1, 1.0), "f1": (1, "inf")}
    assert said(Ending(0), ["eval_loss", "f1"], last) == (Outcome.FAIL, "f1 at step 1 is inf")
    assert said(Ending(0), ["eval_loss", "em"], last) == (Outcome.FAIL, "never reported em; reported: eval_loss, f1")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (2, "command exited with status 2"),
        (126, "command exited with status 126 (found, but not executable)"),
        (137, "command exited with status 137 (usually signal 9, SIGKILL; often the kernel's out-of-memory killer)"),
        (139, "command exited with status 139 (usually signal 11, SIGSEGV)"),
        (255, "command exited with status 255"),
        (-15, "command was killed by signal 15 (SIGTERM)"),
        (None, "command could not be killed"),
    ],
)
def test_exit_statuses_are_explained(code: int | None, reason: str) -> None:
    assert exit_text(code) == reason


def test_a_command_line_that_was_refused_is_not_tried_again_unless_it_had_begun() -> None:
    wrong = LastWords((), "x: error: no", is_wrong_argument=True)
    outcome, cause = judge(Ending(2), ["eval_loss"], {}, None, wrong)
    assert (outcome, cause and cause.kind) == (Outcome.FAIL, Cause.WRONG_ARGUMENT)
    assert sentence(cause) == "command exited with status 2: x: error: no (a wrong argument, not tried again)"
    _, cause = judge(Ending(2), ["eval_loss"], {"eval_loss": (1, 2.0)}, None, wrong)
    assert cause and cause.kind is Cause.COMMAND_FAILED


def test_an_exception_explains_a_status_but_not_a_signal() -> None:
    assert (
        said(Ending(1), [], {}, said=LastWords((), "ValueError: x"))[1] == "command exited with status 1: ValueError: x"
    )
    assert "ValueError" not in said(Ending(-9), [], {}, said=LastWords((), "ValueError: x"))[1]


OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory"


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [
        (Ending(1), Outcome.INFEASIBLE),
        (Ending(-9), Outcome.INFEASIBLE),  # torchrun's ranks do not all die the same death
        (Ending(-9, timed_out_s=9), Outcome.INFEASIBLE),  # the other ranks waited for the one that died
        (Ending(0), Outcome.COMPLETE),  # it went on with a smaller batch
        (Ending(1, asked=TOLD), Outcome.INTERRUPTED),
    ],
)
def test_a_command_that_failed_for_lack_of_gpu_memory_is_infeasible(ending: Ending, outcome: Outcome) -> None:
    found, reason = said(ending, ["eval_loss"], GOOD, out_of_gpu_memory=OUT_OF_MEMORY)
    assert found is outcome
    assert (reason == f"out of GPU memory: {OUT_OF_MEMORY}") is (outcome is Outcome.INFEASIBLE)


@pytest.mark.parametrize("code", [-9, 137])
def test_a_kill_alone_is_a_failure_with_a_hint(code: int) -> None:
    found, reason = said(Ending(code), ["eval_loss"], GOOD)
    assert found is Outcome.FAIL
    assert "often the kernel's out-of-memory killer" in reason
