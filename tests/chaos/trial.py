"""The trial of scripts/chaos: a small training loop that saves after every step and knows if it lost or repeated one.

Its state is a checksum over the steps done. It only comes out right at the end if every step was done exactly once, in
order, whatever happened in between.

Some trials end with a long final evaluation, which reports nothing. One that is killed in it finds nothing left to
train when it continues, and then ends without any report.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from hposlurm import client

STEP_S = 0.4
READ_S = 0.5  # after that the worker has read a report


def checksum(steps: int) -> int:
    value = 0
    for step in range(1, steps + 1):
        value = (value * 31 + step) % 1_000_003
    return value


def save(step: int, value: int) -> None:
    directory = client.checkpoint_dir()
    if directory is None:
        return
    checkpoint = directory / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True, exist_ok=True)
    (checkpoint / "state.json").write_text(json.dumps({"step": step, "checksum": value}))
    (checkpoint / "COMPLETE").touch()
    client.report_checkpoint(step, checkpoint)


def load(checkpoint: Path | None) -> tuple[int, int]:
    if checkpoint is None:
        return 0, 0
    state = json.loads((checkpoint / "state.json").read_text())
    return state["step"], state["checksum"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", type=float, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--evaluation", type=float, default=0.0, help="how long the final evaluation takes, in seconds")
    args = parser.parse_args()
    done, value = load(client.resume_from())
    print(f"from step {done}", flush=True)
    if done and not args.evaluation:  # its report may have been lost with the worker
        client.report(done, loss=args.x**2 + 1 / done, checksum=value)
    for step in range(done + 1, args.steps + 1):
        if client.should_stop():
            print(f"asked to leave before step {step}", flush=True)
            sys.exit(0)
        time.sleep(STEP_S)
        value = (value * 31 + step) % 1_000_003
        client.report(step, loss=args.x**2 + 1 / step, checksum=value)
        if args.evaluation and step == args.steps:
            time.sleep(READ_S)
        try:
            save(step, value)
        except OSError as error:  # a full file system: training goes on, this checkpoint is lost
            print(f"no checkpoint at step {step}: {error}", flush=True)
    if done < args.steps:
        time.sleep(args.evaluation)


if __name__ == "__main__":
    main()
