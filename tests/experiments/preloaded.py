"""A process that has imported what scripts/finetune.py needs, and runs scripts in forks of itself.

Nearly all of a short run's time goes into importing torch, transformers and DeepSpeed. A request is one line of JSON on
stdin: `argv` (the script first), `cwd`, `env`, `ranks`, `stdout`, `stderr`; the answer is one line with the exit status
of each rank. Only for machines without a GPU: CUDA does not survive a fork.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

MODULES = (
    *("finetune", "tiny_bloom", "torch._dynamo", "setuptools", "networkx"),
    *("deepspeed.runtime.zero.stage3", "transformers.integrations.deepspeed"),
    "transformers.models.bloom.modeling_bloom",
)
DEADLINE_S = 300
OTHERS_S = 30  # torchrun kills the other ranks too, once one has failed


def preload() -> None:
    os.environ["DS_ACCELERATOR"] = "cpu"  # as the script does, before DeepSpeed is imported
    sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "squad"))
    for name in MODULES:
        importlib.import_module(name)


def become(request: dict[str, Any], place: dict[str, str]) -> None:
    """Runs the script as one rank, and does not return."""
    status = 1
    try:
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"] | place)
        sys.argv = request["argv"]
        sys.modules.pop("finetune", None)  # its first lines read the environment
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
        if isinstance(left.code, str):
            print(left.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def places(ranks: int) -> list[dict[str, str]]:
    """What torchrun tells each of its processes."""
    if ranks == 1:
        return [{}]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]


def ends(children: list[int]) -> list[int]:
    """The exit status of each, negative for the signal that killed it."""
    found: dict[int, int] = {}
    deadline = time.monotonic() + DEADLINE_S
    while len(found) < len(children):
        for pid in children:
            if pid not in found and (ended := os.waitpid(pid, os.WNOHANG))[0]:
                found[pid] = os.waitstatus_to_exitcode(ended[1])
                deadline = min(deadline, time.monotonic() + OTHERS_S) if found[pid] else deadline
        if time.monotonic() > deadline:
            for pid in set(children) - found.keys():
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return [found[pid] for pid in children]


def main() -> None:
    preload()
    for line in sys.stdin:
        request = json.loads(line)
        children = []
        for place in places(request["ranks"]):
            pid = os.fork()
            if pid == 0:
                become(request, place)
            children.append(pid)
        print(json.dumps(ends(children)), flush=True)


if __name__ == "__main__":
    main()
