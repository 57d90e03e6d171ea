"""Event files, as TensorBoard's own readers see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.publish.results import begun, grown, publish, reported

pytest.importorskip("tensorboard", reason="TensorBoard is not installed: pip install -e '.[trackers]'")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the library's own

SETTING = "[tensorboard]"


def scalars(directory: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    multiplexer = EventMultiplexer(size_guidance={"scalars": 0, "tensors": 0}).AddRunsFromDirectory(str(directory))
    multiplexer.Reload()
    return {
        run: {tag: [(e.step, e.value) for e in multiplexer.Scalars(run, tag)] for tag in found["scalars"]}
        for run, found in multiplexer.Runs().items()
    }


def test_every_value_that_went_in_comes_back(tmp_path: Path) -> None:
    layout = begun(tmp_path)
    assert publish(layout, SETTING) == ()
    grown(layout)
    assert publish(layout, SETTING) == ()
    found = scalars(layout.root / "tensorboard")
    for number, pairs in reported(layout).items():
        own = [pair for pair in found[f"trial-{number:05d}"]["eval_loss"] if pair[1] == pair[1]]
        assert own == [(step, pytest.approx(value)) for step, value in pairs]
    assert found["trial-00000"]["f1"] == [(1, 0.5), (2, 0.5), (3, 0.5)]
    assert found["trial-00001"]["objective/eval_loss"] == [(2, 1.0)]
    assert len(list((layout.root / "tensorboard").rglob("events.*"))) == 6


def test_twice_is_as_once(tmp_path: Path) -> None:
    layout = begun(tmp_path)
    publish(layout, SETTING)
    before = {p: p.read_bytes() for p in (layout.root / "tensorboard").rglob("events.*")}
    layout.publication("tensorboard").unlink(missing_ok=True)
    publish(layout, SETTING)
    assert {p: p.read_bytes() for p in (layout.root / "tensorboard").rglob("events.*")} == before


def test_the_table_of_hyperparameters_has_all_columns(tmp_path: Path) -> None:
    layout = begun(tmp_path)
    publish(layout, SETTING)
    summary: Any = plugin(layout.root / "tensorboard")
    assert [info.name for info in summary.hparam_infos] == ["bs", "lr"]
    tags = [info.name.tag for info in summary.metric_infos]
    assert tags[0] == "objective/eval_loss" and {"eval_loss", "f1"} <= {*tags}


def plugin(directory: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    accumulator = EventAccumulator(str(next(directory.glob("events.*"))))
    accumulator.Reload()
    content = accumulator.SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content
    return metadata.parse_experiment_plugin_data(content)
