"""Labels of trials: the number, and the parameters that differ."""

from __future__ import annotations

from typing import Any

from hposlurm.report.labels import differing, label, labels_of
from hposlurm.trial import Trial, TrialState


def trial(number: int, **params: Any) -> Trial:
    return Trial(number, params, "", 0, 0, TrialState.WAITING)


def test_only_what_differs_shortened() -> None:
    trials = [trial(0, bs=8, lr=1.23456e-5, opt="adamw"), trial(1, bs=8, lr=2e-5, opt="sgd", momentum=0.9)]
    assert differing(trials) == ("lr", "opt", "momentum")
    assert labels_of(trials) == {0: "0 lr=1.23e-05 opt=adamw", 1: "1 lr=2e-05 opt=sgd momentum=0.9"}


def test_one_and_true_differ_and_one_trial_is_its_number() -> None:
    assert differing([trial(0, x=1), trial(1, x=True)]) == ("x",)
    assert labels_of([trial(7, x=1)]) == {7: "7"}


def test_long_names_and_values_stay_within_a_line() -> None:
    text = label(trial(3, **{"optim.inner/lr": 0.5, "text": "x" * 99, "n": None}), ["optim.inner/lr", "text", "n"])
    assert text == "3 lr=0.5 text=xxxxxxxxxxx… n=null"
    assert len(label(trial(3, **{f"p{n}": n for n in range(40)}), [f"p{n}" for n in range(40)])) == 60
