"""Where a study is: phases, an honest estimate, what runs and what failed."""

from __future__ import annotations

import json
import os
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hposlurm.backend import DRIVER_ENDED, ElementState
from hposlurm.records.assignment import Settlement
from hposlurm.records.history import read_history
from hposlurm.records.layout import StudyLayout
from hposlurm.records.publications import Publication, write_publication
from hposlurm.report.chain import GONE
from hposlurm.report.progress import Progress, progress
from hposlurm.report.progress_text import screen, summary
from hposlurm.report.records import StudyRecords
from hposlurm.spec import load
from hposlurm.trial import JobState, Outcome
from tests.studies import (
    BEGIN,
    add_wave,
    completed,
    end,
    failed,
    make_study,
    report,
    start,
    study_of_completed,
    write_journal,
    write_log,
)


def look(layout: StudyLayout, now: float = BEGIN, total: int | None = 12, **more: Any) -> Progress:
    spec = load(layout.spec(), frozen=True)
    spec = spec.model_copy(update={"budget": spec.budget.model_copy(update={"n_trials": total})})
    return progress(StudyRecords(layout, spec, read_history(layout)), now=now, **more)


def printed(view: Progress, width: int = 80) -> str:
    text = StringIO()
    Console(file=text, width=width, color_system=None).print(screen(view))
    return text.getvalue()


def test_a_study_without_jobs_is_not_submitted(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    assert look(layout).phase == "not submitted"
    add_wave(layout, range(2), submitted=False)
    view = look(layout)
    assert (view.phase, view.next) == ("not submitted", "hposlurm resume demo")


def test_a_study_with_jobs_runs_until_a_plan_says_that_it_is_over(tmp_path: Path) -> None:
    layout = study_of_completed(tmp_path, 2)
    view = look(layout)
    assert (view.phase, view.detail) == ("running", "wave 0 has ended; its planner is next")
    add_wave(layout, [], finished="2 of 2 trials are done")
    view = look(layout)
    assert (view.phase, view.detail, view.is_over) == ("finished", "2 of 2 trials are done", True)
    assert (view.waves, view.waves_done, view.total, view.eta_s) == (1, 1, 2, None)
    assert view.next == "hposlurm collect demo"


def test_what_the_search_said_last_is_shown(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0], notes=("the lowest rung is raised to 3",))
    assert look(layout).notes == ("the lowest rung is raised to 3",)
    assert "note       the lowest rung is raised to 3" in printed(look(layout))


def test_a_cancelled_study_is_stopped_and_over_when_nothing_runs(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    path = write_journal(layout, 0, [start(0)])
    layout.stop.touch()
    assert (look(layout).phase, look(layout).is_over) == ("stopped", False)
    path.write_text(path.read_text() + json.dumps(end("interrupted")) + "\n")
    assert look(layout).is_over


def test_a_study_none_of_whose_jobs_is_left_is_stalled(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(2))
    ended = {"100_0": JobState.COMPLETED, "100_1": JobState.NODE_FAIL, "150": JobState.FAILED}
    gone = {job_id: ElementState(state) for job_id, state in ended.items()}
    view = look(layout, queue=gone)
    assert (view.phase, view.next) == ("stalled", "hposlurm resume demo")
    assert look(layout, queue=dict.fromkeys(gone, GONE)).phase == "stalled"
    assert look(layout, queue={**gone, "150": ElementState(JobState.PENDING)}).phase == "running"
    assert look(layout, queue={**gone, "150": ElementState(JobState.UNKNOWN)}).phase == "running"
    assert look(layout, queue={}).phase == "running"


@pytest.mark.parametrize(("ended_s_ago", "phase"), [(600, "stalled"), (5, "running")])
def test_a_planner_that_an_earlier_one_keeps_waiting_is_not_waited_for_for_ever(
    tmp_path: Path, ended_s_ago: float, phase: str
) -> None:
    """All planners of a study run one at a time: one of an earlier wave that Slurm holds stops this one."""
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    write_journal(layout, 0, [*completed(0, 1.0)[:-1], end("complete", time.time() - ended_s_ago)])
    waits = {"100_0": ElementState(JobState.COMPLETED), "150": ElementState(JobState.PENDING, "Dependency")}
    view = look(layout, queue=waits)
    assert view.phase == phase
    assert phase == "running" or view.next == "hposlurm resume demo"
    assert look(layout, queue={**waits, "150": ElementState(JobState.PENDING, "Priority")}).phase == "running"
    assert look(layout, queue={**waits, "100_0": ElementState(JobState.RUNNING)}).phase == "running"


@pytest.mark.parametrize(
    ("planner", "words"),
    [
        (ElementState(JobState.FAILED), "its planner (job 150) is FAILED"),
        (ElementState(JobState.CANCELLED), "its planner (job 150) is CANCELLED"),
        (GONE, "its planner (job 150) is not in the queue"),
        (ElementState(JobState.PENDING, "DependencyNeverSatisfied"), "will never start"),
    ],
)
@pytest.mark.parametrize("element", [JobState.RUNNING, JobState.COMPLETED])
def test_a_study_whose_planner_is_gone_is_stalled_even_while_trials_run(
    tmp_path: Path, planner: ElementState, words: str, element: JobState
) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(2))
    view = look(layout, queue={"100_0": ElementState(element), "100_1": ElementState(element), "150": planner})
    assert (view.phase, view.next) == ("stalled", "hposlurm resume demo")
    assert words in view.detail or (element is JobState.COMPLETED and "none of its jobs is left" in view.detail)


def test_the_queues_answer_about_an_earlier_wave_says_nothing_of_this_one(tmp_path: Path) -> None:
    layout = study_of_completed(tmp_path, 2)
    add_wave(layout, [2, 3])
    assert look(layout, queue={"100_0": GONE, "100_1": GONE, "150": GONE}).phase == "running"


def test_a_wave_that_was_recorded_and_never_released_is_stalled(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(1))
    held = {"100_0": ElementState(JobState.PENDING, "JobHeldUser"), "150": ElementState(JobState.PENDING, "Dependency")}
    assert look(layout, queue=held).phase == "running"  # its submission goes on
    assert look(layout, queue=held).stuck == ()
    os.utime(layout.wave(0).jobs, (0, 0))
    assert look(layout, queue=held).phase == "stalled"
    layout.wave(0).released.touch()
    assert look(layout, queue=held).phase == "running"


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("JobHeldUser", "scontrol release 100_1, or cancel the trial: hposlurm cancel demo 1"),
        ("JobHeldAdmin", "ask for its release"),
        ("launch failed requeued held", "scontrol release 100_1"),
        ("launch_failed_requeued_held", "scontrol release 100_1"),
        ("JobHoldMaxRequeue", "scontrol release 100_1"),
    ],
)
def test_a_held_job_is_shown_with_what_to_do(tmp_path: Path, reason: str, advice: str) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(2))
    layout.wave(0).released.touch()
    queue = {
        "100_0": ElementState(JobState.PENDING, "Resources"),
        "100_1": ElementState(JobState.PENDING, reason),
        "150": ElementState(JobState.PENDING, "Dependency"),
    }
    view = look(layout, queue=queue)
    assert [(stuck.job_id, stuck.trial) for stuck in view.stuck] == [("100_1", 1)]
    assert advice in view.stuck[0].advice
    assert "trial 1 (job 100_1" in printed(view, width=200)


def test_counts_waves_best_and_gpu_hours(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(3), retries=1)
    write_journal(layout, 0, completed(0, 2.0))
    write_journal(layout, 1, completed(1, 1.0))
    write_journal(layout, 2, failed(2))
    assert look(layout).waves_done == 1
    add_wave(layout, [2, 3], retries=1)
    write_journal(layout, 2, [start(2, 1, 1, 0, t=BEGIN + 200)], 1)
    view = look(layout, now=BEGIN + 200 + 1800)
    assert (view.waves, view.waves_done, view.total) == (2, 1, 12)
    assert view.best is not None
    assert (view.best.trial, view.best.values) == (1, {"eval_loss": 1.0})
    assert view.gpu_hours == pytest.approx(2 + 2 + 2 * 60 / 3600 + 2 * 1800 / 3600)


def test_the_estimate_is_the_mean_runtime_over_what_runs_at_a_time(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(4))
    assert look(layout, total=8).eta_s is None
    write_journal(layout, 0, completed(0, 1.0))
    assert look(layout, total=8).eta_s is None  # nothing runs: a queue says nothing about its future
    for number in (1, 2):
        write_journal(layout, number, [start(number, t=BEGIN)])
    assert look(layout, total=8, now=BEGIN + 1800).eta_s == (2 * 1800 + 5 * 3600) / 2
    assert look(layout, total=None, now=BEGIN + 1800).eta_s is None
    assert look(layout, total=3, now=BEGIN + 9999).eta_s == 0


def test_the_estimate_counts_what_earlier_attempts_of_a_trial_took(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(2), retries=1)
    write_journal(layout, 0, completed(0, 1.0))
    write_journal(layout, 1, [start(1, t=BEGIN), end("interrupted", BEGIN + 600)])
    write_journal(layout, 1, [start(1, 1, t=BEGIN + 1000)], 1)
    assert look(layout, total=2, now=BEGIN + 1900).eta_s == 3600 - 600 - 900


def test_a_running_trial_that_resumed_shows_what_it_had_reported_before(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(2), retries=1)
    for number, checkpoint in ((0, "/c/step-4"), (1, None)):
        write_journal(layout, number, [start(number), report(4, eval_loss=1.25), end("interrupted")])
        write_journal(layout, number, [start(number, 1, resumed_from=checkpoint)], 1)
    resumed, again = look(layout).running
    assert (resumed.step, resumed.metrics) == (4, {"eval_loss": 1.25})
    assert (again.step, again.metrics) == (None, {})


def test_a_running_trial_shows_its_last_report_and_what_the_queue_says(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(2))
    write_journal(layout, 0, [start(0, t=BEGIN), report(3, eval_loss=1.5), report(4, eval_loss=1.25)])
    write_journal(layout, 1, [start(1, t=BEGIN)])
    view = look(
        layout, now=BEGIN + 90, queue={"100_1": ElementState(JobState.NODE_FAIL), "150": ElementState(JobState.PENDING)}
    )
    first, second = view.running
    assert (first.trial, first.step, first.metrics, first.running_s) == (0, 4, {"eval_loss": 1.25}, 90)
    assert (first.job_state, second.job_state, second.step) == (None, JobState.NODE_FAIL, None)
    text = printed(view, width=120)
    assert "eval_loss=1.25" in text
    assert "its job ended NODE_FAIL; the planner will settle it" in text
    assert "1 NODE_FAIL and the planner PENDING" in text


@pytest.mark.parametrize("width", [70, 80])
def test_a_long_last_report_takes_no_room_from_the_other_columns(tmp_path: Path, width: int) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(2))
    write_journal(layout, 0, [start(0, t=BEGIN), report(12345, eval_loss=1.5, **{"m" * 200: 1.0})])
    write_journal(layout, 1, [start(1, t=BEGIN, host="a-node-with-a-name"), report(2, eval_loss=1.5)])
    lines = printed(look(layout, now=BEGIN + 90), width=width).splitlines()
    assert max(map(len, lines)) <= width
    begin = next(i for i, line in enumerate(lines) if line.startswith("running"))
    assert lines[begin].split() == ["running", "attempt", "node", "since", "step", "last", "report"]
    assert lines[begin + 2].split()[:6] == ["0", "0", "n0", "1m30s", "12345", "eval_loss=1.5,"]
    assert lines[begin + 2].endswith("…")
    assert lines[begin + 3].split() == ["1", "0", "a-node-with-a-name", "1m30s", "2", "eval_loss=1.5"]


def queue_line(view: Progress) -> str:
    return next((line for line in printed(view, 200).splitlines() if line.startswith("queue")), "").strip()


def test_the_queue_says_why_elements_wait_and_counts_the_planner_apart(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(4))
    waits = ElementState(JobState.PENDING, "Resources")
    queue = {"100_0": ElementState(JobState.RUNNING, "None"), "100_1": waits, "100_2": waits, "100_3": waits}
    queue["150"] = ElementState(JobState.PENDING, "Dependency")
    view = look(layout, queue=queue)
    assert queue_line(view) == "queue      1 RUNNING, 3 PENDING (Resources) and the planner PENDING"
    assert (view.queue, view.waiting, view.planner) == ({"RUNNING": 1, "PENDING": 3}, {"Resources": 3}, "PENDING")
    view = look(layout, queue={**queue, "100_3": ElementState(JobState.PENDING, "Priority")})
    assert "3 PENDING (2 Resources, 1 Priority)" in queue_line(view)
    view = look(layout, queue={**queue, **dict.fromkeys(("100_1", "100_2"), ElementState(JobState.PENDING, "None"))})
    assert "3 PENDING (1 Resources)" in queue_line(view)
    assert view.advice == {}


def test_a_reason_that_no_waiting_mends_is_shown_with_what_to_do(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(2))
    waits = ElementState(JobState.PENDING, "PartitionTimeLimit")
    queue = {"100_0": waits, "100_1": waits, "150": ElementState(JobState.PENDING, "Dependency")}
    text = printed(look(layout, queue=queue), 200)
    assert "hposlurm cancel demo; hposlurm resume demo --set resources.time=…" in text
    layout.stop.touch()
    assert look(layout, queue=queue).advice == {}


def test_a_local_study_whose_driver_has_ended_was_interrupted(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(2))
    layout.wave(0).planner_job.unlink()
    write_journal(layout, 0, [start(0, t=BEGIN)])
    gone = ElementState(JobState.NODE_FAIL, DRIVER_ENDED)
    view = look(layout, queue={"100_0": gone, "100_1": gone})
    assert (view.phase, view.next) == ("interrupted", "hposlurm resume demo")
    assert view.detail == "the process that drove it has ended"
    assert queue_line(view) == ""
    assert "NODE_FAIL" not in printed(view)
    assert "it ended with the process that drove it" in printed(view)
    assert look(layout, queue={"100_0": gone, "100_1": ElementState(JobState.RUNNING)}).phase == "running"


def test_small_numbers_of_gpu_hours_are_not_rounded_away(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    write_journal(layout, 0, [start(0, t=BEGIN), end("complete", BEGIN + 1)])
    assert "GPU hours  0.0005556" in printed(look(layout))


def test_a_clock_that_runs_behind_the_nodes_gives_no_negative_times(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    write_journal(layout, 0, [start(0, t=BEGIN + 60)])
    assert look(layout, now=BEGIN).running[0].running_s == 0.0


def test_a_failed_trial_shows_its_reason_and_last_lines(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    write_journal(layout, 0, failed(0, tail=[f"line {n}" for n in range(9)]))
    (found,) = look(layout).failed
    assert (found.reason, found.tail) == (
        "the command ended with exit status 1",
        tuple(f"line {n}" for n in range(4, 9)),
    )
    text = printed(look(layout))
    assert "trial 0 failed: the command ended with exit status 1" in text
    assert "│ line 8" in text


@pytest.mark.parametrize("stream", ["out", "err"])
def test_a_killed_trial_shows_the_end_of_its_log(tmp_path: Path, stream: str) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, [0])
    write_journal(layout, 0, [start(0)])
    write_log(layout, 0, "to be hidden by the error output\n" if stream == "err" else "")
    write_log(layout, 0, "x" * 20_000 + "\nstep 7\n\nKilled\n", stream=stream)
    if stream == "out":
        write_log(layout, 0, "hposlurm: what the worker itself says tells nothing\n", stream="err")
    settled = Settlement(0, 0, 0, "100_0", JobState.OUT_OF_MEMORY, 9.0, 2, Outcome.FAIL, "out of memory")
    add_wave(layout, [1], settled=[settled])
    (found,) = look(layout).failed
    assert (found.reason, found.tail[-2:]) == ("out of memory", ("step 7", "Killed"))


def test_the_screen_fits_eighty_columns_whatever_programs_print(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(30))
    for number in range(8):
        tail = ["\x1b[31mred\x1b[0m " + "long " * 40, "[/not] [markup"]
        write_journal(layout, number, failed(number, reason=f"[bold]no[/bold] {number}", tail=tail))
    for number in range(8, 30):
        write_journal(layout, number, [start(number), report(1, eval_loss=1.0, **{"a" * 30: 2.0, "b" * 40: 3.0})])
    text = printed(look(layout, now=BEGIN + 99))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text
    assert "[bold]no[/bold] 0" in text
    assert "[/not] [markup" in text
    assert "and 2 more" in text
    assert "and 3 more failed trials" in text


def test_the_summary_is_one_line(tmp_path: Path) -> None:
    layout = study_of_completed(tmp_path, 2)
    assert summary(look(layout)) == "running; 2 of 12 planned: 2 COMPLETE; best eval_loss=1 (trial 0)"


def test_a_publisher_that_failed_is_a_note_until_it_caught_up(tmp_path: Path) -> None:
    layout = study_of_completed(tmp_path, 2)
    write_publication(layout, "csv", Publication(failure="No space\x1b[2J left"))
    view = look(layout)
    assert view.to_json()["unpublished"] == {"csv": "No space\x1b[2J left"}
    assert "csv: not published: No space left; the next step retries" in printed(view)
    add_wave(layout, [], finished="2 of 2 trials are done")
    assert "csv: not published: No space left; hposlurm rebuild demo publishes it" in printed(look(layout))
    write_publication(layout, "csv", Publication())
    assert look(layout).unpublished == {}


def test_the_json_has_stable_keys(tmp_path: Path) -> None:
    layout = study_of_completed(tmp_path, 2)
    data = json.loads(json.dumps(look(layout).to_json()))
    assert list(data) == [
        *("study", "directory", "phase", "detail", "counts", "total", "waves", "waves_done", "best", "gpu_hours"),
        *(
            "budget",
            "eta_s",
            "queue",
            "waiting",
            "planner",
            "advice",
            "stuck",
            "running",
            "failed",
            "excluded",
            "exclude_note",
            "notes",
            "unreadable",
            "next",
            "simulated",
            "unpublished",
            "left_out",
            "notices",
            "ways",
            "lost",
        ),
    ]
    assert data["counts"]["COMPLETE"] == 2


def test_what_does_not_fit_is_called_so(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(2))
    write_journal(layout, 0, [start(0), end("infeasible", reason="out of GPU memory: no room", exit_code=1)])
    view = look(layout)
    assert [(f.trial, f.infeasible) for f in view.failed] == [(0, True)]
    assert "trial 0 is infeasible: out of GPU memory: no room" in printed(view)


def test_excluded_nodes_are_named_with_the_reason(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(6))
    for number in range(6):
        broken = number % 3 == 1
        records = failed(number, reason="command exited with status 1") if broken else completed(number, 1.0)
        write_journal(layout, number, [{**records[0], "host": "n1" if broken else "n2"}, *records[1:]])
    add_wave(layout, [6], exclude=("n1", "n3"), exclude_note="")
    view = look(layout)
    assert json.loads(json.dumps(view.to_json()))["excluded"] == [
        {"node": "n1", "reason": "trials 1, 4 failed there, none completed"},
        {"node": "n3", "reason": "trials failed there"},
    ]
    assert "node n1: trials 1, 4 failed there, none completed" in printed(view)


def test_that_no_node_is_excluded_since_it_would_be_most_of_them_is_said(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    note = "trials fail on n1, n2, more than half of the 3 usable nodes: none of them is excluded"
    add_wave(layout, [0], exclude_note=note)
    assert look(layout).to_json()["exclude_note"] == note
    assert note in printed(look(layout), width=200)


def test_damaged_journal_lines_are_counted_and_the_rest_is_shown(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(2))
    path = write_journal(layout, 0, completed(0, 1.5, steps=3))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b'{"kind": "rep\xff\n', *lines[2:]]))  # in the middle
    write_journal(layout, 1, [start(1), {"kind": "report", "t": 1.0}])  # a whole line that says nothing
    with layout.trial(1).journal(0).open("ab") as file:
        file.write(b'{"kind": "end", "t": 2.0, "outc')  # torn: not damage, its writer may be at it
    view = look(layout)
    assert view.unreadable == {0: 1, 1: 1}
    assert view.best is not None and view.best.values == {"eval_loss": 1.5}
    assert "2 lines of the journals are unreadable and left out (trial 0, 1)" in printed(view, width=120)
    assert look(study_of_completed(tmp_path, 2, "whole")).unreadable == {}


def test_a_refill_wave_that_gets_more_trials_has_not_ended(tmp_path: Path) -> None:
    layout = make_study(tmp_path)
    add_wave(layout, range(2), elements=9, ahead=2)
    for number in range(2):
        write_journal(layout, number, completed(number, 1.0))
    view = look(layout)
    assert (view.phase, view.detail) == ("running", "wave 0; its next trials are being planned")
