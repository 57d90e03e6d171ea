"""Chooses the shell of a trial's command, and makes the command fail with a line of it, or with a part of a pipe.

Otherwise `python train.py | tee log`, or any line after the training, would hide a crash, and a half-trained value
would count. A failing line is one that fires the ERR trap at the top level, as for the lines of `slurm.setup` (see
templates/trial.sbatch.j2): not inside functions and sourced files, where commands such as module and conda may fail
without harm, nor before `||` or in a condition.
"""

from __future__ import annotations

import os
import re
import signal

#: The shell's last line where it ends a command; what the command itself said comes before it.
ENDS_HERE = "hposlurm: the command ends at this line"
_MAY_HIDE = re.compile(r"[\n;|&]")  # anything else is one program, which the shell becomes
# A part that writes to one that has ended already (`yes | head -1`) dies of SIGPIPE, 128 + 13: that is no failure.
# In bash -c, BASH_SOURCE is empty at the top level.
_ENDS_AT_A_FAILING_LINE = (
    "set -o pipefail; hposlurm_newline=$'\\n'; trap '"
    'hposlurm_status=$? hposlurm_pipe="${PIPESTATUS[*]}"; '
    'if [ -z "${BASH_SOURCE[0]-}" ]; then '
    "if [[ $hposlurm_pipe =~ ^((0|141) )+0$ ]]; then hposlurm_closed=1; else "
    f'hposlurm_line="{ENDS_HERE} (status ${{hposlurm_pipe// / | }}): ${{BASH_COMMAND%%"$hposlurm_newline"*}}"; '
    'printf "\\n%s\\n" "$hposlurm_line" >&2; '
    'exit "$hposlurm_status"; fi; fi'
    "' ERR; trap '"
    'if [ "$?" -eq 141 ] && [ -n "${hposlurm_closed-}" ]; then exit 0; fi'
    "' EXIT\n"
)
# For a shell that is not bash, which has no ERR trap: it ends inside functions and sourced files, too.
_ENDS_AT_ANY_FAILURE = "set -e; if (set -o pipefail) 2>/dev/null; then set -o pipefail; fi\n"


def words(command: str, stop_signal: str | None = None) -> list[str]:
    """Returns the words that start `command` in bash, or in sh where there is no bash.

    A shell of several programs waits for the one that runs when `stop_signal` comes, and starts no other one.
    """
    is_bash = any(os.access(os.path.join(folder, "bash"), os.X_OK) for folder in os.get_exec_path())  # noqa: PTH118
    shell, rule = ("bash", _ENDS_AT_A_FAILING_LINE) if is_bash else ("sh", _ENDS_AT_ANY_FAILURE)
    if not has_several_programs(command):
        return [shell, "-c", command]
    stop = f"trap 'exit {128 + signal.Signals[f'SIG{stop_signal}']}' {stop_signal}\n" if stop_signal else ""
    return [shell, "-c", rule + stop + command]


def has_several_programs(command: str) -> bool:
    """True if the shell stays and starts what `command` says; False if it becomes that one program."""
    return _MAY_HIDE.search(command) is not None
