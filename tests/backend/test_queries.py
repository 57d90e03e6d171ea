"""Parsers of what Slurm prints, on recorded answers."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hposlurm.backend import cluster_facts, queries
from hposlurm.backend.base import ElementState, Usage
from hposlurm.backend.slurm import SlurmBackend
from hposlurm.errors import BackendError, NotNowError
from hposlurm.trial import JobState

SACCT = """\
7_0|COMPLETED|61|billing=2,cpu=2,gres/gpu:v100=2,gres/gpu=2,mem=1G,node=1|n1
7_1|PREEMPTED|20|cpu=2,gres/gpu:v100=2,mem=1G|n2
7_1|OUT_OF_MEMORY|41|cpu=2,gres/gpu=2|n3
7_2|RUNNING|12|cpu=2|n1
7_3|CANCELLED by 1000|5||n1
7_4|REQUEUED|9|cpu=2,gres/gpu=2|n4
7_[5-6,9%2]|CANCELLED by 0|0||None assigned
8|TIMEOUT|60|cpu=1|n1
garbage
"""


def test_sacct_gives_every_run_of_every_ended_element():
    found = queries.parse_sacct(SACCT)
    assert found["7_0"] == [Usage(JobState.COMPLETED, 61.0, 2, "n1")]
    assert [u.state for u in found["7_1"]] == [JobState.PREEMPTED, JobState.OUT_OF_MEMORY]
    assert [u.gpus for u in found["7_1"]] == [2, 2]
    assert "7_2" not in found
    assert found["7_3"] == [Usage(JobState.CANCELLED, 5.0, 0, "n1")]
    assert found["7_4"][0].state is JobState.PREEMPTED
    assert [found[f"7_{i}"][0].state for i in (5, 6, 9)] == [JobState.CANCELLED] * 3
    assert found["8"][0].state is JobState.TIMEOUT


def test_the_last_run_of_each_element_may_not_have_ended():
    found = {job_id: element.state for job_id, element in queries.last_states(SACCT).items()}
    assert found["7_1"] is JobState.OUT_OF_MEMORY and found["7_2"] is JobState.RUNNING
    assert found["7_4"] is JobState.PREEMPTED  # requeued; what follows is its next row
    again = queries.last_states(f"{SACCT}7_4|PENDING|0||None assigned\n7_[10-11]|PENDING|0||\n8|NEW_WORD|1||n1\n")
    assert [again[job_id].state for job_id in ("7_4", "7_10", "7_11")] == [JobState.PENDING] * 3
    assert again["8"].state is JobState.RUNNING


def test_a_listed_job_in_a_state_that_only_a_later_slurm_has_is_alive():
    assert queries.parse_squeue("7_0|SOMETHING_NEW|None\n")["7_0"].state is JobState.RUNNING


def test_squeue_lines():
    found = queries.parse_squeue(
        "7_0|RUNNING|None\n7_1|PENDING|JobHeldUser\n  9|COMPLETING|None\n\nslurm_load_jobs error\n"
    )
    assert found == {
        "7_0": ElementState(JobState.RUNNING, "None"),
        "7_1": ElementState(JobState.PENDING, "JobHeldUser"),
        "9": ElementState(JobState.RUNNING, "None"),
    }


@pytest.mark.parametrize(("word", "state"), sorted(queries.SLURM_STATES.items()))
def test_every_slurm_word_is_known(word, state):
    assert queries.job_state(word) is state
    assert queries.job_state(f"{word}+") is state


@pytest.mark.parametrize(
    ("word", "state"),
    [("CANCELLED by 1000", JobState.CANCELLED), ("SOMETHING_NEW", JobState.UNKNOWN), ("", JobState.UNKNOWN)],
)
def test_other_words(word, state):
    assert queries.job_state(word) is state


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("gpu:v100:4(S:0-1)", {"v100": 4}),
        ("gpu:4", {"": 4}),
        ("gpu:v100:2(IDX:0-1),gpu:a100:1,nic:2", {"v100": 2, "a100": 1}),
        ("(null)", {}),
    ],
)
def test_gpus_of_a_node(gres, gpus):
    assert cluster_facts.gpus_in_gres(gres) == gpus


def test_sinfo_marks_the_default_partition():
    facts = cluster_facts.parse_sinfo("batch*|n1|8|64000|gpu:v100:4\nurgent|n1|8+|64000+|(null)\n")
    assert [(f.partition, f.is_default, f.cpus, f.mem_mb, f.gpus) for f in facts] == [
        ("batch", True, 8, 64000, {"v100": 4}),
        ("urgent", False, 8, 64000, {}),
    ]


def test_max_array_size():
    assert cluster_facts.max_array_size("MaxArraySize            = 50001\nMaxJobCount = 3\n") == 50001
    assert cluster_facts.max_array_size("") == 1001


@given(st.integers(1, 5000), st.integers(1, 1200))
def test_chunks_cover_the_wave_in_order_and_fit(count, limit):
    parts = queries.chunks(count, limit)
    assert [offset + i for offset, n in parts for i in range(n)] == list(range(count))
    assert all(1 <= n <= limit for _, n in parts)
    assert len(parts) == -(-count // limit)


@given(st.integers(1, 500), st.integers(1, 20))
def test_shares_add_up_to_the_whole(total, parts):
    shares = queries.shares(total, parts)
    assert len(shares) == parts
    assert sum(shares) == max(total, sum(shares)) and all(s >= 1 for s in shares)
    if total >= parts:
        assert sum(shares) == total


def test_no_limit_is_no_share():
    assert list(queries.shares(None, 2)) == [None, None]


def test_a_submission_does_not_inherit_the_job_it_comes_from(monkeypatch):
    leaks = {"SLURM_ARRAY_JOB_ID": "999", "SLURM_CPU_BIND": "mask", "SBATCH_X": "1", "MASTER_PORT": "1", "RANK": "3"}
    leaks |= {"HPOSLURM_TRIAL": "3", "PET_SIGNALS_TO_HANDLE": "x", "SUBMITIT_EXECUTOR": "x", "ROLE_NAME": "x"}
    leaks |= dict.fromkeys(
        ("SQUEUE_PARTITION", "SACCT_FEDERATION", "SINFO_STATE", "SCANCEL_USER", "SLURM_CLUSTERS"), "x"
    )
    leaks |= dict.fromkeys(("SCONTROL_ALL", "SALLOC_QOS", "SRUN_DEBUG"), "x")
    kept = {"SLURM_CONF": "/etc/slurm.conf", "SLURM_JWT": "e", "HPOSLURM_RUNS": "/runs", "MASTER_KEY": "k"}
    for name, value in {**leaks, **kept}.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with queries.scrubbed_environment():
        assert not leaks.keys() & os.environ.keys()
        assert kept.items() <= os.environ.items()
    assert dict(os.environ) == before


def test_a_question_is_asked_without_the_options_of_the_shell(monkeypatch):
    for name in ("SQUEUE_PARTITION", "SLURM_CLUSTERS", "SLURM_BITSTR_LEN"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    lines = queries.ask("env").splitlines()
    assert sorted(line for line in lines if line.startswith(("SLURM", "SQUEUE"))) == [
        "SLURM_BITSTR_LEN=0",
        "SLURM_CONF=/etc/slurm.conf",
    ]


@pytest.mark.parametrize(
    ("answer", "job_id"),
    [
        ("812\n", "812"),
        ("812;cluster\n", "812"),
        ("2024\n812\n", "812"),
        ("Maintenance on 2024-12-01\n2024\n  812;c1 \nThank you\n", "812"),
        ("Submitted batch job 812\n", ""),
        ("", ""),
    ],
)
def test_the_job_id_is_the_last_line_of_digits(answer, job_id):
    assert queries.submitted_id(answer) == job_id


def test_a_missing_command_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(BackendError, match="squeue is not on the PATH"):
        queries.ask("squeue")


def test_a_command_that_cannot_be_started_is_an_error_of_the_backend(tmp_path, monkeypatch):
    (tmp_path / "squeue").write_text("not executable")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError, match="squeue cannot be started: Permission denied"):
        queries.ask("squeue")


def test_a_failing_command_is_quoted():
    with pytest.raises(BackendError, match=r"ls failed: .*No such file"):
        queries.ask("ls", "/nonexistent/path")


@pytest.mark.parametrize(
    ("job_ids", "words"),
    [
        ([], []),
        (["812"], ["812"]),
        (["812_0"], ["812_0"]),
        (["812_0", "812_1", "812_2", "812_7", "813"], ["812_[0-2]", "812_7", "813"]),
        (["812_2", "812_1", "813_2"], ["812_2", "812_1", "813_2"]),
        (["812", "812_0"], ["812", "812_0"]),
        (["812_[0-2]", "812_3"], ["812_[0-2]", "812_3"]),
    ],
)
def test_neighbouring_elements_become_one_word(job_ids: list[str], words: list[str]) -> None:
    assert queries.as_ranges(job_ids) == words
    alone = [job_id for given in job_ids for job_id in queries.expand(given)]
    assert [job_id for word in words for job_id in queries.expand(word)] == alone


def command(directory: Path, name: str, output: bytes, status: int = 0) -> None:
    """Puts a command on the PATH that prints these bytes."""
    path = directory / name
    (directory / f"{name}.out").write_bytes(output)
    path.write_text(f"#!/bin/sh\ncat {directory / name}.out\nexit {status}\n")
    path.chmod(0o755)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


LATIN_1 = "1000|caf\xe9|\xfc\n1001|thesis-w0000-abc-0-3|hposlurm:abc\n".encode("latin-1")


def test_one_job_with_a_name_that_is_not_utf_8_hides_no_other(commands: Path) -> None:
    command(commands, "squeue", LATIN_1)
    found = queries.rows(queries.ask("squeue"), 3)
    assert [row[0] for row in found] == ["1000", "1001"]
    assert found[1][1:] == ["thesis-w0000-abc-0-3", "hposlurm:abc"]


def test_a_message_that_is_not_utf_8_is_a_message(commands: Path) -> None:
    command(commands, "scontrol", b"Zugriff verweigert f\xfcr job\n", status=1)
    with pytest.raises(BackendError, match=r"Zugriff verweigert f.r job"):
        queries.ask("scontrol")


def test_a_job_with_such_a_name_is_not_cancelled_and_stops_no_cancelling(commands: Path) -> None:
    command(commands, "squeue", LATIN_1)
    command(commands, "scancel", b"")
    (commands / "scancel").write_text(f'#!/bin/sh\necho "$@" > {commands}/cancelled\n')
    assert SlurmBackend().cancel(["1000", "1001", "1002"], ["abc"]) == ("1000",)
    assert (commands / "cancelled").read_text() == "--quiet 1001\n"


@pytest.mark.parametrize("text", ["Welcome to the cluster\n", "\ufffd\ufffd\n\n", "JOBID|STATE|REASON", "1000 RUNNING"])
def test_an_answer_that_cannot_be_read_is_not_an_empty_queue(text: str) -> None:
    with pytest.raises(NotNowError, match="squeue's answer cannot be read"):
        queries.parse_squeue(text)


def test_a_banner_before_the_rows_is_left_out() -> None:
    assert queries.parse_squeue("Welcome|to|all\n\n7_0|RUNNING|None\n") == {
        "7_0": ElementState(JobState.RUNNING, "None")
    }
    assert queries.parse_squeue("\n") == {}


@pytest.mark.parametrize("line", ["batch*|n1|x|y|(null)|1:00", "batch*|n1|²|1|(null)|1:00", "|||||"])
def test_a_row_of_sinfo_without_numbers_is_left_out(line: str) -> None:
    good = "batch*|n1|8|64000|gpu:v100:4|infinite"
    assert [facts.cpus for facts in cluster_facts.parse_sinfo(f"{line}\n{good}\n")] == [8]


@pytest.mark.parametrize("word", ["--user=root", "-u", "812 ", "812_", "_1", "812_[0-9]", "٣", "", "812\n813"])
def test_a_word_that_is_not_an_id_is_no_argument(word: str) -> None:
    assert queries.job_ids([word, "812", "812_3"]) == ["812", "812_3"]


def test_the_jobs_on_a_node_have_their_user_and_all_their_nodes():
    found = queries.parse_node_jobs("812_3|anna|urgent|2026-11-30T16:04:20|n[1-2,07],m3\n813|bob|batch|N/A|n1\n")
    assert [(job.job_id, job.user, job.partition, job.nodes) for job in found] == [
        ("812_3", "anna", "urgent", ("n1", "n2", "n07", "m3"))
    ]
    assert found[0].started_at == datetime.datetime(2026, 11, 30, 16, 4, 20).timestamp()
