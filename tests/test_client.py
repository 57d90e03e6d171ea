import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hposlurm import client

CAPTURED = {"capture_output": True, "text": True, "check": True}


@pytest.fixture(autouse=True)
def _outside_of_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("HPOSLURM_") or name in ("RANK", *client.RANKS):
            monkeypatch.delenv(name)
    monkeypatch.setattr(client, "_sent_once", set())
    monkeypatch.setattr(client, "_reported", {})


@pytest.fixture
def metrics_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "metrics.jsonl"
    monkeypatch.setenv("HPOSLURM_METRICS_FILE", str(path))
    return path


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_outside_a_study_every_function_returns_an_empty_value() -> None:
    assert not client.in_study()
    assert client.params() == {}
    assert not client.should_stop()
    assert client.checkpoint_dir() is None
    assert client.resume_from() is None
    assert client.max_step() is None
    assert client.max_resource() is None
    assert client.from_step() == 0
    assert client.seed() is None
    assert client.trial_number() is None


def test_outside_a_study_a_report_is_a_readable_line(capsys: pytest.CaptureFixture[str]) -> None:
    client.report(3, eval_loss=2.51234567, note="warm-up", f1=float("nan"))
    client.report_checkpoint(3, "/nowhere")
    assert capsys.readouterr().out == "step 3: eval_loss=2.51235 note=warm-up f1=nan\n"


def test_in_a_study_the_values_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "trial.json"
    record.write_text('{"number": 12, "params": {"lr": 1e-05, "name": "a b", "flag": true, "none": null}}')
    for name, value in {
        "PARAMS_FILE": str(record),
        "METRICS_FILE": str(tmp_path / "metrics.jsonl"),
        "TRIAL": "12",
        "SEED": "77",
        "FROM_STEP": "2",
        "MAX_STEP": "5",
        "MAX_RESOURCE": "9",
        "CHECKPOINT_DIR": "/c",
        "RESUME_FROM": "/c/step-2",
    }.items():
        monkeypatch.setenv(f"HPOSLURM_{name}", value)
    assert client.in_study()
    assert client.params() == {"lr": 1e-05, "name": "a b", "flag": True, "none": None}
    assert (client.trial_number(), client.seed()) == (12, 77)
    assert (client.from_step(), client.max_step(), client.max_resource()) == (2, 5, 9)
    assert (client.checkpoint_dir(), client.resume_from()) == (Path("/c"), Path("/c/step-2"))
    monkeypatch.setenv("HPOSLURM_MAX_STEP", "")
    monkeypatch.setenv("HPOSLURM_RESUME_FROM", "")
    assert client.max_step() is None
    assert client.resume_from() is None


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_process_that_has_reported_the_last_step_should_stop_and_is_not_interrupted(
    metrics_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("HPOSLURM_REQUEST_FILE", str(tmp_path / "request"))
    monkeypatch.setenv("HPOSLURM_MAX_STEP", "2")
    stops = []
    for step in (1, 2):
        stops.append(client.should_stop())
        client.report(step, loss=1.0)
    assert [*stops, client.should_stop()] == [False, False, True]
    assert {"stopping": True} not in lines(metrics_file)


@pytest.mark.usefixtures("metrics_file")
@pytest.mark.parametrize(("earlier", "stops"), [("", False), ("1", False), ("2", True)])
def test_a_process_that_resumes_where_the_last_step_was_reported_should_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: str, stops: bool
) -> None:
    monkeypatch.setenv("HPOSLURM_REQUEST_FILE", str(tmp_path / "request"))
    monkeypatch.setenv("HPOSLURM_MAX_STEP", "2")
    monkeypatch.setenv("HPOSLURM_REPORTED_STEP", earlier)
    assert client.should_stop() is stops


def test_reports_are_lines_that_json_can_hold(metrics_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client.report(1, eval_loss=2.5, broken=float("inf"))
    client.report(step=2.0, eval_loss="garbage")
    client.report_checkpoint(2, "/study/checkpoints/step-2")
    assert lines(metrics_file) == [
        {"step": 1, "metrics": {"eval_loss": 2.5, "broken": "inf"}},
        {"step": 2, "metrics": {"eval_loss": "garbage"}},
        {"step": 2, "checkpoint": "/study/checkpoints/step-2"},
    ]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("rank", ["0", "1"])
def test_only_rank_0_reports(metrics_file: Path, monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    monkeypatch.setenv("RANK", rank)
    client.report(1, loss=1.0)
    client.report_checkpoint(1, "/c")
    assert metrics_file.exists() == (rank == "0")


@pytest.mark.parametrize("step", [1.5, "1", None])
def test_a_step_that_is_not_an_integer_is_refused(step: object) -> None:
    with pytest.raises(ValueError, match="allowed are integers"):
        client.report(step, loss=1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["/dev/full", "missing/metrics.jsonl"])
def test_a_broken_channel_loses_the_report_and_warns_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    monkeypatch.setenv("HPOSLURM_METRICS_FILE", str(tmp_path / place))
    client.report(1, loss=1.0)
    client.report(2, loss=0.5)
    error = capsys.readouterr().err
    assert error.count("a report is lost") == 1


def test_a_request_to_stop_is_seen_and_noted_once(
    tmp_path: Path, metrics_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = tmp_path / "request"
    monkeypatch.setenv("HPOSLURM_REQUEST_FILE", str(request))
    assert not client.should_stop()
    assert not client.should_stop()
    assert lines(metrics_file) == [{"listening": True}]
    request.touch()
    assert client.should_stop()
    assert client.should_stop()
    assert lines(metrics_file) == [{"listening": True}, {"stopping": True}]


def test_the_client_imports_only_the_standard_library() -> None:
    show = "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    bare = subprocess.run([sys.executable, "-c", f"import json, sys; {show}"], **CAPTURED)
    full = subprocess.run([sys.executable, "-c", f"import json, sys; from hposlurm import client; {show}"], **CAPTURED)
    added = set(json.loads(full.stdout)) - set(json.loads(bare.stdout))
    assert added - {"hposlurm"} <= sys.stdlib_module_names


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_a_reported_checkpoint_is_marked_as_complete(tmp_path: Path, metrics_file: Path, kind: str) -> None:
    checkpoint = tmp_path / "step_7.pt"
    if kind == "file":
        checkpoint.write_bytes(b"weights")
    else:
        (checkpoint / "shards").mkdir(parents=True)
        (checkpoint / "shards" / "0").write_bytes(b"weights")
    client.report_checkpoint(1, checkpoint)
    mark = checkpoint / "COMPLETE" if kind == "directory" else tmp_path / "step_7.pt.COMPLETE"
    assert mark.is_file()
    assert lines(metrics_file) == [{"checkpoint": str(checkpoint), "step": 1}]


def test_a_checkpoint_that_cannot_be_marked_is_not_reported_and_stops_no_training(
    tmp_path: Path, metrics_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(client, "create_once", full)
    (tmp_path / "step_7.pt").touch()
    client.report_checkpoint(1, tmp_path / "step_7.pt")
    assert not metrics_file.exists()
    assert "cannot be marked as complete, training goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "is_rank_0"),
    [
        ({"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2"}, False),  # a process that Lightning adds
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),  # the same on a second node
        ({"SLURM_PROCID": "1", "SLURM_LOCALID": "0"}, False),
        ({"SLURM_PROCID": "0", "LOCAL_RANK": "1"}, False),  # Lightning's own launcher in a step of one task
        ({"OMPI_COMM_WORLD_RANK": "3"}, False),
        ({"PMI_RANK": "1"}, False),
        ({"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "PMI_RANK": "0"}, True),
        ({"RANK": "0", "SLURM_PROCID": "1"}, True),  # torchrun's ranks have their own numbers
        ({"RANK": "1", "LOCAL_RANK": "0", "SLURM_PROCID": "0"}, False),
        ({"RANK": "", "LOCAL_RANK": "1"}, False),
    ],
    ids=str,
)
def test_a_rank_is_known_by_every_launcher_s_variable(
    tmp_path: Path,
    metrics_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    is_rank_0: bool,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "weights.pt").touch()
    client.report(1, eval_loss=1.0)
    client.report_checkpoint(1, tmp_path / "weights.pt")
    assert metrics_file.exists() == is_rank_0
    assert (tmp_path / "weights.pt.COMPLETE").exists() == is_rank_0


def test_other_ranks_mark_nothing(tmp_path: Path, metrics_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    (tmp_path / "step-7").mkdir()
    client.report_checkpoint(1, tmp_path / "step-7")
    assert not metrics_file.exists() and not list((tmp_path / "step-7").iterdir())
