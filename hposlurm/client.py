"""The interface for training scripts: reads parameters, reports metrics. Standard library only.

    from hposlurm import client

    epochs = client.max_resource() or 5              # the length of the learning-rate schedule
    done = load(client.resume_from())                # the checkpoint's epoch; 0 without a checkpoint
    is_cut_off = done > client.from_step()           # perhaps in the evaluation: it is repeated
    for epoch in range(done + (not is_cut_off), (client.max_step() or epochs) + 1):
        if epoch > done:
            train_one_epoch()
            if folder := client.checkpoint_dir():
                client.report_checkpoint(epoch, save(folder / f"epoch-{epoch}"))
        client.report(epoch, eval_loss=evaluate())
        if client.should_stop():
            break

The step of a report is the study's unit of resource: epochs in this example. A search that trains in stages assigns
the steps up to max_step(). It may continue the trial later from the last checkpoint, with a larger max_step(). Use
max_resource() for everything that depends on the length of the whole training.

Outside a study `report` prints a line, and every other function returns None, False, 0 or {}, so the same script runs
by hand. The search never blocks or ends the training: a report is one write to a node-local file, and a failed write
loses only the report.

Write checkpoints into checkpoint_dir(), each with its own name that ends in its step. In a later attempt, resume_from()
returns the newest one that was reported. What earlier attempts reported up to it counts: an attempt that has nothing
left to train, and reports nothing, completes the trial.

A script in another language uses environment variables and files:

- Parameters: HPOSLURM_PARAM_<name>, or the JSON file HPOSLURM_PARAMS_FILE.
- Reports: lines {"step": 1, "metrics": {"eval_loss": 2.5}} appended to HPOSLURM_METRICS_FILE.
- Requests to save and exit: the file HPOSLURM_REQUEST_FILE exists. Append the line {"listening": true} once; without
  it the script gets no time to save. Append the line {"stopping": true} before exiting with status 0 because of a
  request; without it the attempt counts as complete.
- Checkpoints: in HPOSLURM_CHECKPOINT_DIR. A checkpoint counts once its mark exists: an empty file COMPLETE in the
  directory, or NAME.COMPLETE beside the file NAME. Write the mark last. A whole checkpoint of the Hugging Face Trainer
  needs none. HPOSLURM_RESUME_FROM is the newest checkpoint
  at the start of a later attempt.
"""

from __future__ import annotations

import contextlib
import json
import operator
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, SupportsIndex

from hposlurm.records.files import create_once, make_durable
from hposlurm.records.journal import append, metric_value
from hposlurm.records.layout import marker_of
from hposlurm.trial import ParamValue

#: The variables in which launchers without RANK (torchrun's) number their processes: Lightning's own launcher (only for
#: the processes that it adds, from 1 on in each node), srun, Open MPI, MPICH and Intel MPI, PMIx, MVAPICH.
RANKS = (
    "LOCAL_RANK",
    "NODE_RANK",
    "SLURM_PROCID",
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
    "PMIX_RANK",
    "MV2_COMM_WORLD_RANK",
)

_sent_once: set[str] = set()  # warnings and signals that this process has sent, to send each only once
_reported: dict[str, int] = {}  # "step": the largest step that this process has reported, on any rank


def in_study() -> bool:
    """True if this process runs as part of a trial."""
    return bool(os.environ.get("HPOSLURM_METRICS_FILE"))


def params() -> dict[str, ParamValue]:
    """Returns the trial's active parameters by name; {} outside a study. Raises OSError if their file is unreadable."""
    path = os.environ.get("HPOSLURM_PARAMS_FILE")
    if not path:
        return {}
    found: dict[str, ParamValue] = json.loads(Path(path).read_bytes())["params"]
    return found


def report(step: SupportsIndex | float, **metrics: object) -> None:
    """Reports the metrics at `step`, an integer. Every rank may call it; only rank 0 writes (see `RANKS`).

    Values may be scalars of NumPy and PyTorch. A value that is not a number is recorded as text. Raises ValueError if
    `step` is not an integer, and no other error.
    """
    number = _whole(step)
    values = {name: metric_value(value) for name, value in metrics.items()}
    _reported["step"] = max(number, _reported.get("step", number))
    if not _is_rank_0():
        return
    if in_study():
        _send({"step": number, "metrics": values})
    else:
        shown = " ".join(f"{name}={_shown(value)}" for name, value in values.items())
        with contextlib.suppress(OSError):
            print(f"step {number}: {shown}", flush=True)


def report_checkpoint(step: SupportsIndex | float, path: str | os.PathLike[str]) -> None:
    """Marks the checkpoint of `step` at `path`, a file or a directory, as complete and reports it.

    Call it after all ranks have written their part. A later attempt continues from the newest marked checkpoint, which
    is the one with the largest last number in its name: checkpoint-7, step_7.pt. Raises ValueError if `step` is not an
    integer.
    """
    number, checkpoint = _whole(step), Path(path).absolute()
    if not (_is_rank_0() and in_study()):
        return
    try:
        if checkpoint.exists():
            make_durable(checkpoint)
            create_once(marker_of(checkpoint), b"")
    except OSError as error:
        _warn(f"hposlurm: a checkpoint cannot be marked as complete, training goes on: {error}")
    else:
        _send({"checkpoint": str(checkpoint), "step": number})


def should_stop() -> bool:
    """True if the training should save and exit now; False outside a study.

    The reason is a request by the study, or that max_step() is reported: by this process, or by an earlier attempt
    before the checkpoint. Ranks may see it at different times: let them agree (an all-reduced maximum) before a
    collective save. A trial that exits before max_step() after True was returned counts as interrupted, not as
    complete, and continues later.
    """
    request = os.environ.get("HPOSLURM_REQUEST_FILE")
    if not request:
        return False
    _signal("listening")  # the worker gives time to save only to a command that checks
    if not os.path.exists(request):  # noqa: PTH110 - never raises, unlike Path.exists
        return _has_arrived()
    _signal("stopping")  # from any rank: rank 0 may exit because another rank saw the request
    return True


def checkpoint_dir() -> Path | None:
    """Returns the directory for the trial's checkpoints, on the shared file system; None outside a study."""
    return _path("HPOSLURM_CHECKPOINT_DIR")


def resume_from() -> Path | None:
    """Returns the checkpoint to continue from; None for a start from scratch and outside a study."""
    return _path("HPOSLURM_RESUME_FROM")


def from_step() -> int:
    """Returns the step after which the assignment starts: 0 unless it continues an earlier one."""
    return _integer("HPOSLURM_FROM_STEP") or 0


def max_step() -> int | None:
    """Returns the step to train to, then save and report; None if the training code decides."""
    return _integer("HPOSLURM_MAX_STEP")


def max_resource() -> int | None:
    """Returns the last step of any trial of the study; None if the study sets none.

    Use it as the length of the learning-rate schedule: a trial that stops at max_step() may continue from there later.
    """
    return _integer("HPOSLURM_MAX_RESOURCE")


def seed() -> int | None:
    """Returns the study's random seed, the same in all trials, so that they differ only in parameters.

    It is `trial.seed` of the study file, or the trial's own seed if that is `trial`; None outside a study.
    """
    return _integer("HPOSLURM_SEED")


def trial_seed() -> int | None:
    """Returns the trial's own random seed, the same in all of its attempts; None outside a study."""
    return _integer("HPOSLURM_TRIAL_SEED")


def trial_number() -> int | None:
    """Returns the trial's number; None outside a study."""
    return _integer("HPOSLURM_TRIAL")


def _is_rank_0() -> bool:
    names = ("RANK",) if os.environ.get("RANK") else RANKS
    return all(os.environ.get(name, "") in ("", "0") for name in names)


def _whole(step: SupportsIndex | float) -> int:
    try:
        return int(step) if isinstance(step, float) and step.is_integer() else operator.index(step)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"step is {step!r}; allowed are integers: 1, 2, 3, …") from None


def _has_arrived() -> bool:
    last, earlier = max_step(), _integer("HPOSLURM_REPORTED_STEP")
    reported = [step for step in (_reported.get("step"), earlier) if step is not None]
    return last is not None and bool(reported) and max(reported) >= last


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def _signal(name: str) -> None:
    if name not in _sent_once and in_study():
        _sent_once.add(name)
        _send({name: True})


def _send(line: Mapping[str, Any]) -> None:
    try:
        fd = os.open(os.environ["HPOSLURM_METRICS_FILE"], os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            append(fd, line, durable=False)
        finally:
            os.close(fd)
    except OSError as error:
        _warn(f"hposlurm: a report is lost, training goes on: {error}")


def _warn(message: str) -> None:
    if message not in _sent_once:
        _sent_once.add(message)
        with contextlib.suppress(OSError):
            print(message, file=sys.stderr, flush=True)


def _path(variable: str) -> Path | None:
    text = os.environ.get(variable)
    return Path(text) if text else None


def _integer(variable: str) -> int | None:
    text = os.environ.get(variable)
    return int(text) if text else None
