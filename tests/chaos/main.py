"""Runs a study of short trials on a real Slurm under random faults; checks that nothing was lost and nothing doubled.

  scripts/chaos --minutes 1 --seed 7

Starts a cluster of its own (scripts/slurm-cluster, so it needs root on Debian or Ubuntu) and a study of at least 40
trials on a small file system. For the given minutes it draws faults: SIGKILL of workers, planners and training
processes, requeue, preemption, scancel, slurmd, slurmctld and slurmdbd going down, sbatch that fails or times out
after submitting, a full disk. Then it lets the study end and audits it from outside. Where the chain of planners is
broken, or Slurm holds an element that a dying node could not start, it types what `status` says mends it. Exit status
1 on any violation.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.audit import audit
from tests.chaos.faults import Chaos, one
from tests.chaos.study import NAME, REPOSITORY, Study, create
from tests.devcluster.cluster import Cluster

MENDABLE = ("stalled", "not submitted", "paused")
END_S = 900  # for the study to end once the faults are over


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="of faults (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the dice and of the study (default: 0)")
    parser.add_argument("--root", type=Path, default=Path("/var/tmp/hposlurm-chaos"), help="of the cluster")
    parser.add_argument("--keep", action="store_true", help="leave cluster and study for a look")
    return parser.parse_args()


def cluster_verb(verb: str, root: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "scripts" / "slurm-cluster"), verb, "--root", str(root)]
    subprocess.run(command, check=True, capture_output=True, timeout=900)


def tend(study: Study) -> str:
    """The study's phase; mends the chain and frees held elements as its owner would, with what `status` names."""
    status = study.status()
    if status.get("phase") in MENDABLE:
        say(f"{status['phase']} ({status.get('detail', '')}): typing {status['next']}")
        study.hposlurm(*status["next"].split()[1:])
    for stuck in status.get("stuck", ()):
        release = ("scontrol", "release", stuck["job_id"])
        if " ".join(release) in stuck["advice"]:
            say(f"{stuck['job_id']} is held ({stuck['reason']}): typing {' '.join(release)}")
            study.run(*release)
    return str(status.get("phase", ""))


def torment(chaos: Chaos, minutes: float) -> int:
    """Faults for so long; how many there were."""
    faults, end = 0, time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        name, hit = one(chaos)
        if hit:
            faults += 1
            say(f"fault {faults}: {name}: {hit}")
        time.sleep(chaos.dice.uniform(0.2, 2.0))
        if tend(chaos.study) == "finished":
            say("the study is over before the faults are")
            break
    return faults


def main() -> int:
    args = arguments()
    trials = max(40, round(30 * args.minutes))
    cluster_verb("up", args.root)
    directory = Path(tempfile.mkdtemp(prefix="hposlurm-chaos-"))
    study = create(directory, Cluster(args.root).conf, trials, args.seed)
    chaos = Chaos(Cluster(args.root), study, random.Random(args.seed))
    try:
        launched = study.hposlurm("launch", "study.yaml")
        if launched.returncode:
            say(launched.stderr)
            return 1
        say(f"{trials} trials; {study.root}")
        faults = torment(chaos, args.minutes)
        chaos.mend()
        end = time.monotonic() + END_S
        while (phase := tend(study)) != "finished" and time.monotonic() < end:
            time.sleep(2)
        if phase != "finished":
            say(f"the study did not end: {study.hposlurm('status', NAME).stdout}")
            return 1
        verdict = audit(study, chaos.cancelled)
        for violation in verdict.violations:
            print(f"violation: {violation}")
        print(
            f"faults {faults}, trials {verdict.trials}, lost {verdict.lost}, double {verdict.double}, "
            f"resumed {verdict.resumed}, gpu-hours ledger/sacct {verdict.ratio:.2f}"
        )
        return 1 if verdict.violations else 0
    finally:
        if not args.keep:
            study.close()
            cluster_verb("down", args.root)
