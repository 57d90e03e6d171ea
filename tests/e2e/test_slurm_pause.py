"""A study whose trials all fail, on real daemons: it pauses, leaves nothing in the queue, and goes on when mended."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm_cluster")]

REPORT = "import sys; from hposlurm import client; client.report(step=1, eval_loss=float(sys.argv[1]))\n"
REASON = "paused: the first trials all failed, and none completed: command exited with status 7"


def pauses(shell, wait_until, study: str) -> int:
    """Waits for the pause of the study, checks what is said and left; how many trials ran."""
    wait_until(lambda: shell.has_finished(study), 120)
    assert shell.plans(study)[-1]["finished"].startswith(REASON)
    wait_until(lambda: not shell.queued(study), 60)
    said = " ".join(shell.ok("status", study).split())
    assert "command exited with status 7" in said and f"hposlurm retry {study}" in said, said
    ran = {start["trial"] for start in shell.starts(study)}
    assert len(ran) == len(shell.starts(study))
    # an element that started after the pause ran nothing, and its trial waits
    assert {(row["state"], row["trial"] in ran) for row in shell.rows(study)} <= {("FAIL", True), ("WAITING", False)}
    return len(ran)


@pytest.mark.parametrize(
    ("waves", "most", "words"),
    [
        ({"size": 4, "mode": "barrier"}, 4, ("retry",)),
        # those that ran when the fourth failure was seen end as well: of three waves where there is room for all
        ({"size": 4, "mode": "overlap"}, 12, ("retry",)),
        ({"max_concurrent": 4, "mode": "refill"}, 8, ("resume", "--retry-failed")),
    ],
    ids=["barrier", "overlap", "refill"],
)
def test_a_study_of_failures_pauses_and_completes_once_its_script_is_mended(
    shell, write_study, wait_until, waves, most, words
):
    script = shell.cwd / "train.py"
    script.write_text("raise SystemExit(7)\n")
    study = write_study("wrong", "python train.py {{ x }}", budget={"n_trials": 12}, waves=waves)
    shell.ok("launch", str(study))
    assert 4 <= pauses(shell, wait_until, "wrong") <= most, shell.starts("wrong")
    submitted = len(list((shell.cwd / "runs/wrong").glob("waves/*/jobs.json")))
    assert submitted <= (3 if waves["mode"] == "overlap" else 1)

    script.write_text(REPORT)
    verb, *options = words
    shell.ok(verb, "wrong", *options)
    wait_until(lambda: shell.has_finished("wrong"), 240)
    rows = shell.rows("wrong")
    assert [row["state"] for row in rows] == ["COMPLETE"] * 12
    assert {row["attempts"] for row in rows} <= {1, 2}
    assert shell.status("wrong")["phase"] == "finished"
    wait_until(lambda: not shell.queued("wrong"), 60)
