"""Starts a command that ends with the process that waits for its answer: `python bound.py PARENT COMMAND…`.

A launch that is killed while sbatch retries would else leave an array that is submitted after its death, and held for
ever. Standard library only, and started by its path: it takes 20 ms.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # prctl(2), Linux


def bound_command(command: Sequence[str]) -> list[str]:
    """Returns the command line that starts `command` bound to this process."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def end_with_parent(number: signal.Signals) -> None:
    """Asks the kernel for this signal to this process when the one that started it dies. The request survives exec."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def main(parent: str, *command: str) -> None:
    """Becomes the command, unless the parent has died before the kernel was asked."""
    end_with_parent(signal.SIGKILL)
    if os.getppid() != int(parent):
        return
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: error: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])
