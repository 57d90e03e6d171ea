"""Writes event files for TensorBoard: scalars of each trial, and one table of hyperparameters with all columns.

TensorBoard takes the columns of that table from the first session unless an experiment names them all
(tensorflow/tensorboard issues 5596 and 6965); the file in the root of the directory does.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hposlurm.errors import StudyError
from hposlurm.publish.base import Published
from hposlurm.publish.cursor import Cursor
from hposlurm.publish.identity import number_of, trial_id
from hposlurm.records import files
from hposlurm.spec.publishing import TensorBoardOptions
from hposlurm.trial import ParamValue, Trial, TrialState

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

_DIRECTORY = "tensorboard"
_STATUS = {TrialState.RUNNING: "STATUS_RUNNING", TrialState.FAIL: "STATUS_FAILURE"}


class TensorBoard:
    """Replaces the event file of each trial with news, and that of the columns. Raises StudyError without the library.

    A file is replaced by rename, so that no reader sees half of it; a TensorBoard that is running may show the newer
    one only after it is reloaded.
    """

    def __init__(self, options: TensorBoardOptions) -> None:
        self._options = options

    def publish(self, study: Published, cursor: Cursor, /) -> None:
        try:
            import tensorboard.compat.proto.event_pb2  # noqa: F401
        except ImportError as error:
            raise StudyError(f"TensorBoard is not installed here ({error}); pip install tensorboard") from None
        directory = study.layout.root / (self._options.dir or _DIRECTORY)
        changed = [news.trial for news in cursor.news(study.history) if news.trial.attempts]
        if not changed:
            return
        first = study.history.plans[0].created_at
        _write(directory, first, [_columns(study, first)])
        for trial in changed:
            started = min((a.started_at for a in trial.attempts if a.started_at), default=first)
            _write(directory / f"trial-{trial.number:05d}", first, list(_events(study, trial, started)))


def _write(directory: Path, first: float, events: Sequence[Event]) -> None:
    """Writes events in TensorFlow's format of records; `first`, the study's beginning, makes the name of the file."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    directory.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    writer = RecordWriter(content)
    for event in [Event(wall_time=first, file_version="brain.Event:2"), *events]:
        writer.write(event.SerializeToString())
    files.publish(directory / f"events.out.tfevents.{int(first)}.hposlurm", content.getvalue(), is_durable=False)


def _events(study: Published, trial: Trial, started: float) -> Iterator[Event]:
    """Yields the session's start, the trial's reports, the values that count, and the session's end."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import plugin_data_pb2

    begin = plugin_data_pb2.SessionStartInfo(group_name=trial_id(study.history, trial), start_time_secs=started)
    for name, value in trial.params.items():
        _set_value(begin.hparams[name], _hparam(value))
    yield Event(wall_time=started, summary=_hparams_summary(session_start_info=begin))
    for attempt in trial.attempts:
        for report in attempt.reports:
            scalars = [
                Summary.Value(tag=name, simple_value=number)
                for name, value in report.metrics.items()
                if (number := number_of(value)) is not None
            ]
            yield Event(wall_time=report.time, step=report.step, summary=Summary(value=scalars))
    if not trial.state.is_finished:
        return
    ended = max((a.ended_at for a in trial.attempts if a.ended_at), default=started)
    values = zip(study.history.objectives, trial.values or (), strict=False)
    finals = [Summary.Value(tag=_final(name), simple_value=value) for name, value in values]
    step = trial.reports[-1].step if trial.reports else 0
    yield Event(wall_time=ended, step=step, summary=Summary(value=finals))
    end = plugin_data_pb2.SessionEndInfo(status=_status(trial.state), end_time_secs=ended)
    yield Event(wall_time=ended, summary=_hparams_summary(session_end_info=end))


def _hparams_summary(**content: Any) -> Summary:
    """Returns a summary for the HParams plugin; TensorBoard's own helpers for these need TensorFlow."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    tags = {
        "experiment": metadata.EXPERIMENT_TAG,
        "session_start_info": metadata.SESSION_START_INFO_TAG,
        "session_end_info": metadata.SESSION_END_INFO_TAG,
    }
    (name,) = content
    about = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(**content))
    return Summary(value=[Summary.Value(tag=tags[name], metadata=about, tensor=metadata.NULL_TENSOR)])


def _set_value(cell: Any, value: bool | float | str) -> None:
    """Sets a protobuf Value, whose fields depend on the type."""
    if isinstance(value, bool):
        cell.bool_value = value
    elif isinstance(value, str):
        cell.string_value = value
    else:
        cell.number_value = value


def _final(name: str) -> str:
    """The tag of the objective's value that counts, which need not be the last reported one."""
    return f"objective/{name}"


def _status(state: TrialState) -> Any:
    from tensorboard.plugins.hparams import api_pb2

    return getattr(api_pb2, _STATUS.get(state, "STATUS_SUCCESS"))


def _hparam(value: ParamValue) -> bool | float | str:
    """Returns a value as TensorBoard keeps it: all numbers are floats there."""
    if isinstance(value, bool | str):
        return value
    return "null" if value is None else float(value)


def _columns(study: Published, time: float) -> Event:
    """Returns the experiment: every parameter that any trial has, and every metric."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams import api_pb2

    trials = study.history.trials
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    kinds = {name: _kind([_hparam(trial.params[name]) for trial in trials if name in trial.params]) for name in names}
    infos = [api_pb2.HParamInfo(name=name, type=getattr(api_pb2, kind)) for name, kind in kinds.items()]
    reported = dict.fromkeys(n for t in trials for a in t.attempts for r in a.reports[-1:] for n in r.metrics)
    tags = [*(_final(name) for name in study.history.objectives), *reported]
    metrics = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in tags]
    about = api_pb2.Experiment(
        name=study.spec.name, user="hposlurm", time_created_secs=time, hparam_infos=infos, metric_infos=metrics
    )
    return Event(wall_time=time, summary=_hparams_summary(experiment=about))


def _kind(values: Sequence[bool | float | str]) -> str:
    if all(isinstance(value, bool) for value in values):
        return "DATA_TYPE_BOOL"
    is_number = all(isinstance(value, float) for value in values)
    return "DATA_TYPE_FLOAT64" if is_number else "DATA_TYPE_STRING"
