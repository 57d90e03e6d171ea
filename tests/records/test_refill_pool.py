"""Tests that concurrent processes propose and take each position of a refill wave's pool once."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hposlurm.errors import StudyError
from hposlurm.records import refill_pool
from hposlurm.records.assignment import Assignment
from hposlurm.records.layout import StudyLayout, WaveLayout
from hposlurm.records.refill_pool import Batch
from tests.planner import processes


@pytest.fixture(params=["links", "no links"])
def wave(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WaveLayout:
    """A wave's directory on a file system with hard links, and on one without."""
    if request.param == "no links":

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "no hard links here")

        monkeypatch.setattr(os, "link", refuse)
    wave = StudyLayout(tmp_path).wave(0)
    wave.root.mkdir(parents=True)
    return wave


def batch(position: int, trials: int, over: str = "") -> Batch:
    return Batch(0, position, 0.0, tuple(Assignment(position + i, {}, "", 0, "") for i in range(trials)), over=over)


def at_once(count: int, action: Callable[[int], object]) -> list[int]:
    """Exit statuses of processes that run `action` with their numbers, all begun before the first one is awaited."""
    return [processes.end(pid) for pid in [processes.begin(lambda i=i: action(i)) for i in range(count)]]


def test_of_two_batches_at_one_position_the_first_one_remains(wave: WaveLayout) -> None:
    assert refill_pool.record_batch(wave, batch(4, 2))
    assert not refill_pool.record_batch(wave, batch(4, 3))
    assert [b.end for b in refill_pool.batches(wave, 4)] == [6]


def test_nothing_follows_the_batch_that_ends_the_pool(wave: WaveLayout) -> None:
    assert refill_pool.record_batch(wave, batch(4, 2)) and refill_pool.record_batch(wave, batch(6, 0, over="done"))
    assert not refill_pool.record_batch(wave, batch(6, 1))
    assert [(b.position, b.over) for b in refill_pool.batches(wave, 4)] == [(4, ""), (6, "done")]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 1, "wave": 0, "position": 4, "created_at": 0.0}', '{"format": 9}']
)
def test_a_damaged_batch_is_named(wave: WaveLayout, text: str) -> None:
    wave.batch(4).write_text(text)
    with pytest.raises(StudyError, match=r"batch-00004\.json is damaged"):
        refill_pool.read_batch(wave, 4)


def test_elements_that_start_at_once_take_one_position_each(wave: WaveLayout) -> None:
    def element(number: int) -> None:
        assert refill_pool.enter(wave, number)
        next(position for position in range(100) if refill_pool.take(wave, number, position))

    assert at_once(16, element) == [0] * 16
    found = refill_pool.takers(wave)
    assert sorted(found) == list(range(16)) and sorted(found.values()) == list(range(16))
    assert all(refill_pool.position_of(wave, taker) == position for position, taker in found.items())


def test_an_element_is_new_once(wave: WaveLayout) -> None:
    assert refill_pool.enter(wave, 3)
    assert not refill_pool.enter(wave, 3)
    assert refill_pool.position_of(wave, 3) is None


def test_a_damaged_claim_is_named(wave: WaveLayout) -> None:
    refill_pool.enter(wave, 0)
    wave.claim(0).write_text("{}")
    with pytest.raises(StudyError, match="00000 is damaged"):
        refill_pool.takers(wave)


def test_the_lease_on_a_batch_is_exclusive_until_it_is_released_or_expires(wave: WaveLayout) -> None:
    assert refill_pool.acquire_batch(wave, 4)
    assert not refill_pool.acquire_batch(wave, 4) and refill_pool.acquire_batch(wave, 6)
    refill_pool.release_batch(wave, 4)
    assert refill_pool.acquire_batch(wave, 4)
    long_ago = wave.lease(4).stat().st_mtime - 2 * refill_pool.LEASE_S
    os.utime(wave.lease(4), (long_ago, long_ago))
    assert refill_pool.acquire_batch(wave, 4)
    assert not refill_pool.acquire_batch(wave, 4)


def test_one_of_many_concurrent_processes_acquires_the_lease_on_a_batch(wave: WaveLayout) -> None:
    assert sorted(at_once(8, lambda _: os._exit(10 + refill_pool.acquire_batch(wave, 4)))) == [10] * 7 + [11]


def test_a_closed_pool_accepts_no_batch_and_no_claim(wave: WaveLayout) -> None:
    refill_pool.record_batch(wave, batch(4, 2))
    refill_pool.enter(wave, 0)
    assert refill_pool.take(wave, 0, 1)
    for _ in range(2):  # whoever was killed in the middle of it does it again
        refill_pool.close(wave, 4, 0.0)
    assert refill_pool.taken(wave) == {0, 1, 2, 3, 4, 5} and refill_pool.takers(wave) == {1: 0}
    refill_pool.enter(wave, 1)
    assert not any(refill_pool.take(wave, 1, position) for position in range(6))
    assert not refill_pool.record_batch(wave, batch(6, 1))


def test_a_batch_that_comes_while_the_pool_is_closed_is_closed_with_it(
    wave: WaveLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = [batch(4, 2)]
    record = refill_pool.record_batch

    def after_another(wave: WaveLayout, own: Batch) -> bool:
        if late:
            record(wave, late.pop())
        return record(wave, own)

    monkeypatch.setattr(refill_pool, "record_batch", after_another)
    refill_pool.close(wave, 4, 0.0)
    assert [b.position for b in refill_pool.batches(wave, 4)] == [4, 6]
    assert refill_pool.taken(wave) == {*range(6)}
