"""What the doctor makes of the probe job's records."""

from __future__ import annotations

from pathlib import Path

import pytest

from hposlurm import __version__
from hposlurm.backend.base import ElementState
from hposlurm.doctor import arrival
from hposlurm.doctor.job import ProbeOutcome, ProbeRequest, probe_script
from hposlurm.trial import JobState

REQUEST = ProbeRequest(Path("/scratch/my runs/.hposlurm-doctor-x"), "hposlurm-doctor-1", (), 1, 120)
NODE = {
    "host": "n1.cluster",
    "name": "n1",
    "python": "3.12.1",
    "version": __version__,
    "token": REQUEST.token,
    "gpu_ids": "0",
    "has_driver": True,
    "tmpdir": "/local/tmp",
    "tmpdir_kind": "xfs",
    "tmpdir_free": 200 * 1024**3,
}
TORCH = {
    "version": "2.7.1+cu126",
    "cuda": "12.6",
    "card": "Tesla V100-SXM2-32GB",
    "capability": [7, 0],
    "arch_list": ["sm_50", "sm_60", "sm_70", "sm_80", "sm_90"],
    "kernel_error": "",
}
PARTS = {"node": NODE, "sbatch": {"job_id": "8"}, "torch": TORCH}
DONE = ProbeOutcome("7", "", True, 1.5, ElementState(JobState.COMPLETED), PARTS)


def outcome(**changes):
    from dataclasses import replace

    return replace(DONE, **changes)


def verdicts(result: ProbeOutcome) -> dict[str, str]:
    return {finding.name: finding.verdict.value for finding in arrival.findings(REQUEST, result)}


def test_a_job_that_saw_everything():
    assert verdicts(DONE) == dict.fromkeys(arrival.NAMES, "ok")


def test_every_name_is_there_whatever_happened():
    for parts in (None, {}, {"node": NODE}, {"node": NODE, "sbatch": {"job_id": "8"}}):
        assert tuple(verdicts(outcome(parts=parts))) == arrival.NAMES


def test_a_job_that_is_refused():
    refused = ProbeOutcome(refusal="sbatch refused: Invalid account or account/partition combination specified")
    finding = arrival.findings(REQUEST, refused)[0]
    assert finding.verdict == "fail" and "Invalid account" in finding.found and "--account" in finding.advice


def test_a_job_that_did_not_start_in_time_is_not_a_failure():
    waiting = outcome(has_started=False, waited_s=120, last=ElementState(JobState.PENDING, "Resources"), parts={})
    finding = arrival.probe_job(waiting)
    assert (finding.verdict, finding.found) == ("unknown", "job 7 did not start in 120 s (Resources) and was cancelled")
    assert "--wait" in finding.advice
    assert set(verdicts(waiting).values()) == {"unknown"}


@pytest.mark.parametrize(
    ("state", "parts", "verdict", "part"),
    [
        (JobState.FAILED, {}, "fail", "ended FAILED: no such file"),
        (JobState.COMPLETED, {}, "fail", "its records are not visible here"),
        (JobState.TIMEOUT, {"node": NODE}, "warn", "before its checks were done"),
    ],
)
def test_a_job_that_ended_early(state, parts, verdict, part):
    finding = arrival.probe_job(outcome(last=ElementState(state), parts=parts, log_tail="no such file"))
    assert finding.verdict == verdict and part in finding.found


def test_a_job_that_may_not_submit():
    finding = arrival.job_sbatch({"error": "sbatch failed: Access/permission denied"})
    assert finding.verdict == "warn" and "denied" in finding.found and "slurm.driver: chain" in finding.advice


def test_a_limit_that_is_reached_says_nothing_about_who_may_submit():
    finding = arrival.job_sbatch({"error": "sbatch failed: Job violates accounting/QOS policy", "is_limit": True})
    assert finding.verdict == "unknown" and "limit on jobs" in finding.advice


def test_another_version_or_another_directory_on_the_node():
    assert arrival.node({**NODE, "version": "0.0.1"}, REQUEST.token).verdict == "fail"
    assert arrival.node({**NODE, "token": "old"}, REQUEST.token).verdict == "fail"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [({}, "ok"), ({"tmpdir_free": 10**9}, "warn"), ({"tmpdir_kind": "nfs4"}, "warn")],
)
def test_room_for_temporary_files(changes, verdict):
    assert arrival.tmpdir({**NODE, **changes}).verdict == verdict


@pytest.mark.parametrize(
    ("part", "where", "gpus", "verdict", "words"),
    [
        (TORCH, NODE, 1, "ok", "sm_70); no bf16"),
        ({**TORCH, "capability": [8, 0], "card": "A100"}, NODE, 1, "ok", "sm_80); bf16"),
        ({**TORCH, "capability": [8, 9], "card": "L40S"}, NODE, 1, "ok", "sm_89); bf16"),
        ({**TORCH, "arch_list": ["sm_75", "sm_80", "sm_90", "compute_90"]}, NODE, 1, "fail", "cu126"),
        ({**TORCH, "kernel_error": "CUDA error: no kernel image"}, NODE, 1, "fail", "no kernel image"),
        ({**TORCH, "card": None}, NODE, 1, "fail", "sees no GPU, although the node has an NVIDIA driver"),
        ({"version": "2.13.0+cpu", "cuda": None, "card": None}, NODE, 1, "fail", "built without CUDA"),
        (
            {"version": "2.13.0+cpu", "cuda": None, "card": None},
            {**NODE, "has_driver": False},
            1,
            "warn",
            "fine for a test",
        ),
        ({"version": "2.13.0+cpu", "cuda": None, "card": None}, NODE, 0, "ok", "no GPU was requested"),
        ({"error": "ModuleNotFoundError: No module named 'torch'"}, NODE, 1, "warn", "another Python"),
        ({"error": "importing torch took longer than 45 s", "is_slow": True}, NODE, 1, "unknown", "try again"),
    ],
)
def test_torch_against_the_card(part, where, gpus, verdict, words):
    finding = arrival.torch(part, where, gpus)
    assert finding.verdict == verdict
    assert words in f"{finding.found} {finding.advice}"


@pytest.mark.parametrize(
    ("arches", "capability", "fits"),
    [
        (["sm_70"], (7, 0), True),
        (["sm_70"], (7, 5), True),
        (["sm_75"], (7, 0), False),
        (["sm_80", "sm_90"], (8, 6), True),
        (["sm_80"], (9, 0), False),
        (["sm_80", "compute_80"], (9, 0), True),
        (["sm_90a"], (9, 0), True),
        (["sm_90a"], (9, 1), False),
        (["sm_100", "sm_120"], (12, 0), True),
        (["sm_100f"], (10, 3), True),
        (["compute_90a"], (10, 0), False),
        (["gfx90a", "gfx942"], (9, 4), True),
    ],
)
def test_which_cards_a_build_covers(arches, capability, fits):
    assert arrival.covers(arches, capability) is fits


def test_the_script_asks_for_a_gpu_where_there_are_some():
    text = probe_script(REQUEST)
    assert "#SBATCH --gpus-per-node=1\n" in text
    assert "#SBATCH --time=1\n" in text
    assert '#SBATCH --output="/scratch/my runs/.hposlurm-doctor-x/job.log"\n' in text
    assert "hposlurm.doctor.node '/scratch/my runs/.hposlurm-doctor-x' hposlurm-doctor-1\n" in text


def test_the_script_passes_partition_and_account_on_to_what_the_job_submits():
    request = ProbeRequest(Path("/scratch/50%x"), "token", (("partition", "batch"), ("account", "k01")), 0, 120)
    text = probe_script(request)
    assert "#SBATCH --partition=batch\n#SBATCH --account=k01\n" in text
    assert text.endswith("hposlurm.doctor.node /scratch/50%x token --partition=batch --account=k01\n")
    assert "gpus-per-node" not in text and '--output="/scratch/50%%x/job.log"\n' in text
