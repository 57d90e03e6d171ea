"""What format 1 told by sentences becomes causes when it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from hposlurm.records.fold import fold, unread
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.old_causes import cause_of
from hposlurm.trial import Cause, EndCause, JobState, Outcome
from tests.conftest import REPOSITORY

STUDIES = sorted(path for path in (REPOSITORY / "tests/data/format-1").iterdir() if path.is_dir())
HINT = "often the kernel's out-of-memory killer"
OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory"


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("command exited with status 3", EndCause(Cause.COMMAND_FAILED, exit_code=3)),
        (
            "command exited with status 3: ValueError: (x)\ny",
            EndCause(Cause.COMMAND_FAILED, exit_code=3, detail="ValueError: (x)\ny"),
        ),
        (
            f"command exited with status 137 (usually signal 9, SIGKILL; {HINT}): E",
            EndCause(Cause.COMMAND_FAILED, exit_code=137, detail="E"),
        ),
        (f"command was killed by signal 9 (SIGKILL): {HINT}", EndCause(Cause.COMMAND_FAILED, exit_code=-9)),
        ("command could not be killed", EndCause(Cause.COMMAND_NOT_KILLABLE)),
        ("command could not be started: [Errno 7]", EndCause(Cause.COMMAND_NOT_STARTED, detail="[Errno 7]")),
        (
            "reported no metrics at all (2 lines of its metrics file are no reports); use hposlurm.client.report",
            EndCause(Cause.NO_METRICS, count=2),
        ),
        (
            "never reported em; reported: f1, loss",
            EndCause(Cause.METRIC_MISSING, metric="em", detail="f1, loss"),
        ),
        ("loss at step 3 is nan", EndCause(Cause.METRIC_NOT_FINITE, metric="loss", step=3, value="nan")),
        (
            "loss at step 3 is 'a\\'b', which is not a number",
            EndCause(Cause.METRIC_NOT_FINITE, metric="loss", step=3, value="a'b"),
        ),
        ("trial.timeout of 900 s exceeded", EndCause(Cause.TRIAL_TIMEOUT, limit_s=900)),
        (
            f"spike (memory guard: asked to save and stop, command was killed by signal 9 (SIGKILL): {HINT})",
            EndCause(Cause.MEMORY_GUARD, exit_code=-9, detail="spike"),
        ),
        (
            "spike (memory guard: asked to save and stop)",
            EndCause(Cause.MEMORY_GUARD, exit_code=0, detail="spike"),
        ),
        (f"out of GPU memory: {OUT_OF_MEMORY}", EndCause(Cause.OUT_OF_GPU_MEMORY, detail=OUT_OF_MEMORY)),
        (
            "it ended by itself at step 3, before the 4 that was assigned",
            EndCause(Cause.OTHER_STEP, step=3, to_step=4),
        ),
        ("SIGUSR2 (time limit ahead)", EndCause(Cause.TIME_LIMIT_AHEAD, signal=12)),
        (
            "SIGTERM (cancelled or preempted); killed after 30 s",
            EndCause(Cause.TOLD_TO_STOP, signal=15, killed_after_s=30),
        ),
        ("SIGINT", EndCause(Cause.TOLD_TO_STOP, signal=2)),
        ("time limit: the job used up resources.time", EndCause(Cause.TIME_LIMIT)),
        (
            "time limit: the job used up resources.time at step 3, without new progress",
            EndCause(Cause.TIME_LIMIT, step=3, has_checkpoint=True),
        ),
        (
            "time limit: the job used up resources.time, without a checkpoint to go on from",
            EndCause(Cause.TIME_LIMIT, has_checkpoint=False),
        ),
        ("time limit: the job used up the 30 minutes of its part", EndCause(Cause.TIME_LIMIT, limit_s=1800)),
        (
            "the job ended NODE_FAIL before its worker started",
            EndCause(Cause.WORKER_NOT_STARTED, job_state=JobState.NODE_FAIL),
        ),
        (
            "the job ended FAILED before its worker started: python: not found",
            EndCause(Cause.WORKER_NOT_STARTED, job_state=JobState.FAILED, detail="python: not found"),
        ),
        ("out of memory: the job used more than resources.mem_gb (why)", EndCause(Cause.OUT_OF_HOST_MEMORY)),
        ("the process that drove it has ended", EndCause(Cause.DRIVER_ENDED)),
        ("12 jobs found nothing to do", EndCause(Cause.NOTHING_TO_DO, count=12)),
        ("time limit, as it was once said", EndCause(Cause.TIME_LIMIT, detail="time limit, as it was once said")),
        ("there is no checkpoint", EndCause(Cause.NOT_BEGUN, detail="there is no checkpoint")),
        ("", None),
    ],
)
def test_a_sentence_of_format_1_is_a_cause(reason: str, cause: EndCause | None) -> None:
    assert cause_of(Outcome.FAIL, reason) == cause


def test_what_the_search_said_is_kept_whatever_it_sounds_like() -> None:
    found = cause_of(Outcome.PRUNED, "command exited with status 3; killed after 9 s")
    assert found == EndCause(Cause.PRUNED, detail="command exited with status 3", killed_after_s=9)


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_every_end_in_a_study_of_format_1_has_a_cause(study: Path) -> None:
    history = read_history(StudyLayout(study))
    assert history.trials
    settled = [s for plan in history.plans for s in plan.settled if s.reason]
    ended = [*settled, *(a for trial in history.trials for a in trial.attempts if a.reason)]
    assert ended or study.name == "slurm-refill"
    assert all(end.cause is not None and end.cause.kind is not Cause.UNKNOWN for end in ended)


def test_a_record_of_format_2_is_believed_and_not_its_sentence() -> None:
    record = {"kind": "end", "t": 1.0, "outcome": "fail", "reason": "cancelled", "cause": {"kind": "preempted"}}
    assert fold(unread(0), [record]).cause == EndCause(Cause.PREEMPTED)
    assert fold(unread(0), [{**record, "cause": None}]).cause is None
