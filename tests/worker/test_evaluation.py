"""A second command that measures what the first one has trained: trial.evaluate."""

from __future__ import annotations

import signal

import pytest

from hposlurm.spec.sections import with_evaluation
from tests.worker.study import Study, report, until

TRAIN = "echo > trained"
MEASURE = f"echo > measured; {report(1, eval_loss=2.5)}"


def test_the_result_of_the_evaluation_is_the_trial_s(study: Study) -> None:
    study.plan(with_evaluation(f"{TRAIN}\n", f"\n{MEASURE}\n"))
    assert study.run()[0] == 0
    assert (study.end(), study.reports()) == (("complete", ""), [(1, {"eval_loss": 2.5})])


@pytest.mark.parametrize(
    ("train", "measure", "is_measured"), [("exit 3", MEASURE, False), (TRAIN, f"{MEASURE}; false; true", True)]
)
def test_a_failing_line_of_either_command_ends_the_trial(
    study: Study, train: str, measure: str, is_measured: bool
) -> None:
    study.plan(with_evaluation(train, measure))
    assert study.run()[0] == 1
    assert (study.root / "measured").exists() is is_measured


def test_a_training_that_was_asked_to_stop_is_not_evaluated(study: Study) -> None:
    wait = 'until [ -e "$HPOSLURM_REQUEST_FILE" ]; do sleep 0.02; done'
    study.plan(
        with_evaluation(
            f"{report(1, eval_loss=9)}; echo > ready; {wait}; echo '{{\"stopping\": true}}' >> $HPOSLURM_METRICS_FILE",
            MEASURE,
        )
    )
    worker = study.start()
    until(lambda: (study.root / "ready").exists())
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 3
    assert study.end()[0] == "interrupted" and not (study.root / "measured").exists()
