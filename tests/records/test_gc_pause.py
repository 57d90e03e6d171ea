from __future__ import annotations

import gc

import pytest

from hposlurm.decisions import choose
from hposlurm.records.gc_pause import gc_paused
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout


def test_the_collector_is_disabled_meanwhile_and_enabled_again_after_an_error():
    with pytest.raises(KeyError), gc_paused():
        assert not gc.isenabled()
        with gc_paused():
            pass
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


def test_histories_and_decisions_are_built_without_the_collector(monkeypatch, tmp_path):
    seen = []

    def look(*_: object) -> None:
        seen.append(gc.isenabled())
        raise InterruptedError

    monkeypatch.setattr("hposlurm.records.history._plans", look)
    monkeypatch.setattr("hposlurm.decisions.choice.assigned_trials", look)
    for call in (
        lambda: read_history(StudyLayout(tmp_path)),
        lambda: choose(StudyLayout(tmp_path), None, None, wave_size=1, gpus=0, now=0.0),
    ):
        with pytest.raises(InterruptedError):
            call()
    assert seen == [False, False] and gc.isenabled()
