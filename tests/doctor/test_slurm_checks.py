"""Tests the findings from recorded answers of Slurm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hposlurm.doctor import cluster, limits, policy
from hposlurm.doctor.answers import Answers, ask_slurm, last_line, parse_nodes, parse_settings
from hposlurm.doctor.finding import SEE_CONTROLLER, Finding, FindingLevel
from hposlurm.errors import RequestError
from tests.doctor.recorded import CONFIG, NODES, PARTITIONS, answers, config, without


def says(finding: Finding, verdict: str, *parts: str) -> None:
    text = f"{finding.found}\n{finding.advice}"
    assert finding.verdict == verdict, text
    for part in parts:
        assert part in text
    assert bool(finding.advice) == (verdict in ("warn", "fail")) or verdict == "unknown"


def test_the_configuration_is_a_mapping():
    settings = parse_settings(CONFIG)
    assert settings["PreemptParameters"] == ""
    assert settings["SchedulerParameters"] == "sched_interval=2,bf_interval=2"
    assert "Slurmctld(primary) at vm is UP" not in settings


@pytest.mark.parametrize(
    ("state", "is_up"),
    [
        *((word, True) for word in ("idle", "mixed-", "idle~", "allocated#", "powered_down")),
        *((word, False) for word in ("idle*", "down*", "drained", "draining@", "maint", "fail")),
    ],
)
def test_which_nodes_are_up(state, is_up):
    assert [node.is_up for node in parse_nodes(f"batch*|n1|8|64000|gpu:4|{state}\n")] == [is_up]


def test_the_last_line_of_a_command_is_why_it_failed():
    message = "scontrol failed: scontrol: error: fetch_config: DNS SRV lookup failed\nscontrol: fatal: No source\n"
    assert last_line(message) == "scontrol failed: No source"
    assert last_line("squeue gave no answer in 15 s") == "squeue gave no answer in 15 s"


def test_without_slurm_there_is_the_local_backend():
    says(cluster.slurm(Answers()), "warn", "local backend")


def test_the_commands():
    says(cluster.slurm(answers()), "ok", "22.05.8", "sbatch")
    says(cluster.slurm(without("scancel")), "fail", "scancel")
    says(cluster.slurm(without("sacct", "sacctmgr")), "ok")


def test_the_controller():
    says(cluster.controller(answers()), "ok", "hposlurm", "1 job of yours")
    says(cluster.controller(answers(config="!scontrol gave no answer in 15 s")), "fail", "no answer", "SLURM_CONF")
    says(cluster.controller(answers(queue="!squeue: unrecognized option '--me'")), "fail", "--me")


def test_the_partitions_and_their_gpus():
    finding = cluster.partitions(answers(), None)
    says(
        finding,
        "ok",
        "batch*: 2 nodes, 4 v100 each, at most 1-00:00:00",
        "grace: 2 nodes (1 up)",
        "urgent: 1 node (0 up), no GPUs",
    )
    assert cluster.partitions(answers(), "grace").found.startswith("grace")


def test_equal_partitions_share_a_line():
    nodes = NODES.replace("down*", "idle")
    assert "batch*, grace: 2 nodes" in cluster.partitions(answers(nodes=nodes), None).found


def test_many_partitions_are_not_all_listed():
    text = "\n".join(f"PartitionName=p{i} Default=NO MaxTime={i}:00:00 State=UP" for i in range(1, 31))
    nodes = "\n".join(f"p{i}|n{i}|8|64000|gpu:a100:8|idle" for i in range(1, 31))
    found = cluster.partitions(answers(partitions=text, nodes=nodes), "p30")
    says(found, "ok", "p30: 1 node", "and 24 more")
    assert len(found.found.splitlines()) == 7


@pytest.mark.parametrize(
    ("changes", "partition", "verdict", "part"),
    [
        ({}, "urgent", "fail", "no node of partition urgent is up"),
        ({"nodes": NODES.replace("drained", "idle")}, "urgent", "warn", "urgent has no GPUs"),
        ({"nodes": "batch*|n1|8|64000|(null)|idle"}, None, "warn", "no partition shows GPUs"),
        ({"partitions": PARTITIONS.replace("Default=YES", "Default=NO")}, None, "warn", "slurm.partition"),
        ({"partitions": PARTITIONS.replace("State=UP", "State=DOWN")}, None, "fail", "batch is DOWN"),
        ({"partitions": "!scontrol failed: not for you"}, None, "unknown", "not for you"),
    ],
)
def test_partitions_with_a_flaw(changes, partition, verdict, part):
    says(cluster.partitions(answers(**changes), partition), verdict, part)


def test_an_unknown_partition_is_a_wrong_request():
    with pytest.raises(RequestError, match="no partition 'bath' here; the partitions are batch, grace, urgent"):
        cluster.partitions(answers(), "bath")


def test_a_partition_that_accepts_jobs_only_from_login_nodes():
    login = answers(partitions=PARTITIONS.replace("AllocNodes=ALL", "AllocNodes=login[1-2]"))
    says(cluster.job_sbatch(login, None), "warn", "login[1-2]", "slurm.driver: chain")
    says(cluster.job_sbatch(answers(), None), "unknown", "--probe")


def test_sizes_of_arrays():
    says(limits.arrays(answers()), "ok", "MaxArraySize 1001", "MaxJobCount 10000")
    says(limits.arrays(config(SchedulerParameters="bf_interval=2,max_array_tasks=100")), "ok", "max_array_tasks 100")
    says(limits.arrays(config(MaxArraySize="0")), "fail", "are disabled")


def test_limits_that_are_not_enforced():
    says(limits.submit_limits(config(AccountingStorageEnforce="none"), None), "ok", "not enforced")


def test_limits_of_the_chosen_partition():
    batch = limits.submit_limits(answers(), "batch")
    says(batch, "ok", "at most 200 jobs (account k01)", "8 GPUs (QOS normal)")
    assert "other" not in batch.found and "k02" not in batch.found
    says(limits.submit_limits(answers(), "urgent"), "warn", "at most 5 jobs (QOS rush)", "waves.size to at most 4")


@pytest.mark.parametrize(
    ("changes", "verdict", "part"),
    [
        ({"association": "k01|||1||||normal\n"}, "fail", "at least two jobs"),
        ({"association": "k01|||||||\n"}, "ok", "no limit"),
        ({"association": ""}, "warn", "no account for you"),
        ({"association": "!sacctmgr failed: Access denied"}, "unknown", "Access denied"),
    ],
)
def test_limits_of_accounts(changes, verdict, part):
    says(limits.submit_limits(answers(**changes), "batch"), verdict, part)


def test_the_time_between_term_and_kill():
    says(limits.kill_wait(answers()), "ok", "30 s")
    says(limits.kill_wait(config(KillWait="5 sec")), "warn", "5 s", "KillWait=30")


@pytest.mark.parametrize(
    ("asked", "verdict", "part"),
    [
        (answers(), "ok", "counts GPUs"),
        (answers(sacct="!sacct: Slurm accounting storage is disabled"), "warn", "disabled"),
        (without("sacct"), "warn", "there is no sacct"),
        (config(AccountingStorageType="accounting_storage/none"), "warn", "there is no sacct"),
        (config(AccountingStorageTRES="cpu,mem,node"), "warn", "AccountingStorageTRES=gres/gpu"),
    ],
)
def test_accounting(asked, verdict, part):
    says(policy.accounting(asked), verdict, part)


def test_a_short_memory_of_the_queue_is_reported_without_sacct():
    forgetful = config(AccountingStorageType="accounting_storage/none", MinJobAge="10 sec")
    says(policy.accounting(forgetful), "warn", "forgets a job 10 s after its end")


def test_preemption_off():
    says(policy.preemption(config(PreemptType="preempt/none", PreemptMode="OFF"), None), "ok", "off")


def test_preemption_by_partition():
    says(policy.preemption(answers(), None), "warn", "0 s (batch), 120 s (grace)", "preempted in batch lose")
    says(policy.preemption(answers(), "grace"), "ok", "GraceTime 120 s", "requeue on")
    says(policy.preemption(answers(), "urgent"), "ok", "jobs in urgent are not preempted")


def test_preemption_where_all_partitions_are_equal():
    equal = answers(partitions=PARTITIONS.replace("PriorityTier=10", "PriorityTier=1"))
    says(policy.preemption(equal, None), "ok", "no partition has a lower priority tier than another")


def test_preemption_by_qos_concerns_every_partition():
    says(policy.preemption(config(PreemptType="preempt/qos"), "urgent"), "warn", "qos, mode REQUEUE", "urgent")


def test_preemption_that_suspends():
    says(policy.preemption(config(PreemptMode="GANG,SUSPEND"), "grace"), "warn", "trial.timeout")


def test_preemption_settings_are_shown():
    asked = config(PreemptParameters="send_user_signal,min_exempt_priority=1", JobRequeue="0")
    says(policy.preemption(asked, "grace"), "ok", "send_user_signal on", "requeue off by default")


def test_a_controller_that_does_not_answer_is_reported_once():
    silent = answers(config="!scontrol gave no answer in 15 s")
    checks = [limits.arrays(silent), limits.submit_limits(silent, None), limits.kill_wait(silent)]
    checks += [policy.accounting(silent), policy.preemption(silent, None), cluster.partitions(silent, None)]
    assert {(finding.verdict, finding.found) for finding in checks} == {(FindingLevel.UNKNOWN, SEE_CONTROLLER)}


def test_without_slurm_on_the_path_no_command_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_slurm() == Answers()


def test_a_command_that_hangs_is_given_up(monkeypatch, tmp_path):
    fake = tmp_path / "scontrol"
    fake.write_text("#!/bin/sh\nexec sleep 100\n")
    fake.chmod(0o755)
    others = [Path("/bin"), Path("/usr/bin")]
    for directory in others:  # sleep and sh, but no Slurm
        for name in ("sh", "sleep"):
            if (directory / name).exists() and not (tmp_path / name).exists():
                (tmp_path / name).symlink_to(directory / name)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("hposlurm.doctor.answers._ASK_TIMEOUT_S", 0.2)
    found = ask_slurm()
    assert found.config.error == "scontrol gave no answer in 0.2 s"
    assert "squeue is not on the PATH" in found.queue.error
    assert os.environ["PATH"] == str(tmp_path)
