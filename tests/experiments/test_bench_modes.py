"""experiments/wave-modes/bench_modes.py: the share of the GPUs' time, by hand."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from hposlurm.spec import parse


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    path = Path(__file__).parents[2] / "experiments" / "wave-modes" / "bench_modes.py"
    found = importlib.util.spec_from_file_location("bench_modes", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_share_counts_what_lies_before_the_end(bench: ModuleType) -> None:
    spans = [(10.0, 14.0), (11.0, 13.0), (14.0, 16.0)]
    assert bench.share(spans, 2, until=16.0) == (4 + 2 + 2) / 12
    assert bench.share(spans, 2, until=14.0) == (4 + 2) / 8


@pytest.mark.parametrize("is_capped", [True, False])
@pytest.mark.parametrize("mode", ["barrier", "overlap", "refill"])
def test_its_studies_are_valid(bench: ModuleType, mode: str, is_capped: bool) -> None:
    waves = parse(bench.study(mode, 8, 4, 1.0, is_capped=is_capped), "share").waves
    assert (waves.mode, waves.size) == (mode, None if mode == "refill" else 4)
    assert waves.max_concurrent == (4 if is_capped or mode == "refill" else None)
