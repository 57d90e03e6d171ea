"""What a training script imports: parameters in, metrics out. Standard library only.

    from hposlurm import client

    epochs = client.max_resource() or 5              # what the learning-rate schedule is made for
    done = load(client.resume_from())                # the checkpoint's epoch, 0 without one
    for epoch in range(done + 1, (client.max_step() or epochs) + 1):
        train_one_epoch()
        if folder := client.checkpoint_dir():
            client.report_checkpoint(epoch, save(folder / f"epoch-{epoch}"))
        client.report(epoch, eval_loss=evaluate())
        if client.should_stop():
            break

The steps of its reports are what a study counts its resource in, epochs here. A search that trains in stages asks for
the steps up to max_step() and may come back later, from the last checkpoint, with a further one; what depends on the
length of the whole training is made for max_resource().

Outside of a study `report` prints a line and everything else answers "nothing", so the same script runs by hand.
Training never waits for the search nor dies of it: a report is one write to a node-local file, and a full disk costs
the report, not the run.

Checkpoints go into checkpoint_dir(), each under a name of its own that ends in its step. The newest one that was
reported is what resume_from() answers in a later attempt.

A script in another language does the same with its environment: parameters from HPOSLURM_PARAM_<name> or the JSON file
HPOSLURM_PARAMS_FILE, reports as lines {"step": 1, "metrics": {"eval_loss": 2.5}} appended to HPOSLURM_METRICS_FILE, and
a request to save and leave by the existence of HPOSLURM_REQUEST_FILE. It appends the line {"listening": true} once, so
that it is given the time to save; and if it leaves because of a request with status 0, it first appends the line
{"stopping": true}: otherwise the attempt counts as run to its end.
A checkpoint in HPOSLURM_CHECKPOINT_DIR counts once it is marked, by an empty file COMPLETE in the directory, or
NAME.COMPLETE beside the file NAME, written last; a later attempt finds the newest one in HPOSLURM_RESUME_FROM.
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

_said: set[str] = set()  # what this process told stderr, or noted for the worker, once and for all
_reported: dict[str, int] = {}  # "step": the largest that this process reported, on whatever rank


def in_study() -> bool:
    """Whether this process runs as part of a trial."""
    return bool(os.environ.get("HPOSLURM_METRICS_FILE"))


def params() -> dict[str, ParamValue]:
    """The trial's active parameters by name; {} outside of a study. Raises OSError if their file cannot be read."""
    path = os.environ.get("HPOSLURM_PARAMS_FILE")
    if not path:
        return {}
    found: dict[str, ParamValue] = json.loads(Path(path).read_bytes())["params"]
    return found


def report(step: SupportsIndex | float, **metrics: object) -> None:
    """Reports the metrics at `step`, a whole number; only rank 0 (RANK) does, other ranks may call it too.

    Scalars of NumPy and PyTorch are fine; what is no number is recorded as its text. Raises ValueError if `step` is no
    whole number, and nothing else.
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
    """Marks the checkpoint of `step` at `path`, a file or a directory, as complete and says that it is there.

    To be called when all ranks have written their part. A later attempt goes on from the newest that is marked, and
    newest is by the last number in the name: checkpoint-7, step_7.pt. Raises ValueError if `step` is no whole number.
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
    """Whether the training should save and leave now; False outside of a study.

    Because the study asks for it, or because this process has reported max_step(). Ranks may see the one or the other
    at different times: agree on it (an all-reduced maximum) before a collective save. A trial that leaves before
    max_step() after a True here counts as interrupted, not as complete, and goes on later.
    """
    request = os.environ.get("HPOSLURM_REQUEST_FILE")
    if not request:
        return False
    _sign("listening")  # a command that never asks is not given time to save
    if not os.path.exists(request):  # noqa: PTH110 - never raises, unlike Path.exists
        return _has_arrived()
    _sign("stopping")  # from any rank: rank 0 may leave because another one saw the request
    return True


def checkpoint_dir() -> Path | None:
    """Where the trial's checkpoints belong, on the shared file system; None outside of a study."""
    return _path("HPOSLURM_CHECKPOINT_DIR")


def resume_from() -> Path | None:
    """The checkpoint to continue from; None for a start from scratch and outside of a study."""
    return _path("HPOSLURM_RESUME_FROM")


def from_step() -> int:
    """The step that the assignment starts behind: 0 unless the trial continues an earlier one."""
    return _integer("HPOSLURM_FROM_STEP") or 0


def max_step() -> int | None:
    """The step to train to, saved and reported; None means the training code's own end."""
    return _integer("HPOSLURM_MAX_STEP")


def max_resource() -> int | None:
    """The last step that any trial of the study is trained to; None where the study sets no such end.

    What a learning-rate schedule is made for: a trial that stops at max_step() may be sent on from there.
    """
    return _integer("HPOSLURM_MAX_RESOURCE")


def seed() -> int | None:
    """The trial's own random seed, the same in all of its attempts; None outside of a study."""
    return _integer("HPOSLURM_SEED")


def trial_number() -> int | None:
    """The trial's number; None outside of a study."""
    return _integer("HPOSLURM_TRIAL")


def _is_rank_0() -> bool:
    return os.environ.get("RANK", "0") in ("", "0")


def _whole(step: SupportsIndex | float) -> int:
    try:
        return int(step) if isinstance(step, float) and step.is_integer() else operator.index(step)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"step is {step!r}; allowed are whole numbers: 1, 2, 3, …") from None


def _has_arrived() -> bool:
    last = max_step()
    return last is not None and "step" in _reported and _reported["step"] >= last


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def _sign(word: str) -> None:
    if word not in _said and in_study():
        _said.add(word)
        _send({word: True})


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
    if message not in _said:
        _said.add(message)
        with contextlib.suppress(OSError):
            print(message, file=sys.stderr, flush=True)


def _path(variable: str) -> Path | None:
    text = os.environ.get(variable)
    return Path(text) if text else None


def _integer(variable: str) -> int | None:
    text = os.environ.get(variable)
    return int(text) if text else None
