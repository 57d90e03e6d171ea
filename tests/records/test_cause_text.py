"""Every kind of cause has a sentence, and what is written of a cause is read back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hposlurm.records.cause_text import SENTENCES, sentence
from hposlurm.records.decode import structure
from hposlurm.trial import Cause, EndCause, JobState

NUMBERS = st.none() | st.integers(-200, 200)
CAUSES = st.builds(
    EndCause,
    kind=st.sampled_from(Cause),
    signal=st.sampled_from([2, 12, 15]),
    exit_code=NUMBERS,
    killed_after_s=st.none() | st.floats(0, 1e6),
    limit_s=st.floats(0, 1e6),
    metric=st.text(),
    value=st.text(),
    step=NUMBERS,
    to_step=NUMBERS,
    has_checkpoint=st.none() | st.booleans(),
    job_state=st.none() | st.sampled_from(JobState),
    job_id=st.text(),
    count=st.integers(0, 9),
    attempts=st.lists(st.integers(-9, 9), max_size=2).map(tuple),
    detail=st.text(),
)


def test_every_kind_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Cause)


@given(CAUSES)
def test_every_cause_can_be_said_and_is_read_as_it_was_written(cause: EndCause) -> None:
    assert isinstance(sentence(cause), str)
    assert structure(EndCause, json.loads(json.dumps(cause.to_json()))) == cause


def test_only_what_is_set_is_written() -> None:
    assert EndCause(Cause.PREEMPTED).to_json() == {"kind": "preempted"}
    assert EndCause(Cause.COMMAND_FAILED, exit_code=0).to_json() == {"kind": "command_failed", "exit_code": 0}


@pytest.mark.parametrize("cause", [None, EndCause(Cause.CANCELLED)])
def test_nothing_is_said_without_a_cause(cause: EndCause | None) -> None:
    assert bool(sentence(cause)) is (cause is not None)
