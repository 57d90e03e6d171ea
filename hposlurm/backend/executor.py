"""The only module that uses submitit: an executor that submits our own array scripts.

submitit 1.5 builds a plain SlurmExecutor for every array, so that it silently ignores a subclass's script text, and it
makes no array of a single element. This class submits the array itself and starts a command instead of a pickle.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor

from hposlurm.backend.bound import bound_command
from hposlurm.backend.queries import refusal, scrubbed_environment, submitted_id
from hposlurm.errors import BackendError
from hposlurm.records.permissions import umask_for


class ScriptExecutor(SlurmExecutor):
    """Submits complete batch scripts; submitit names the submission file, parses the answer and manages the folder."""

    def __init__(self, folder: Path) -> None:
        try:
            super().__init__(folder)
        except RuntimeError as error:  # submitit wants srun on the PATH
            raise BackendError(f"Slurm's commands are not on the PATH ({error})") from error
        self._text = ""

    @classmethod
    def name(cls) -> str:
        return "slurm"  # else submitit looks for another job environment

    def submit_script(self, text: str) -> str:
        """Submits a script with sbatch and returns its job id. Raises BackendError with sbatch's own message."""
        self._text = text
        try:
            # submitit both prints sbatch's message and raises it
            with scrubbed_environment(), _umask(umask_for(self.folder)), contextlib.redirect_stderr(io.StringIO()):
                return str(self._submit_command("").job_id)
        except (FailedSubmissionError, FailedJobError) as error:
            raise refusal(f"sbatch refused: {_sbatch_message(str(error))}") from error

    def _make_submission_file_text(self, command: str, uid: str) -> str:  # noqa: ARG002 - submitit's signature
        return self._text

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        return bound_command(["sbatch", "--parsable", str(submission_file_path)])

    @staticmethod
    def _get_job_id_from_submission_command(string: bytes | str) -> str:
        text = string.decode(errors="replace") if isinstance(string, bytes) else string
        job_id = submitted_id(text)
        if not job_id:
            raise FailedSubmissionError(f"sbatch answered {text!r}, which is not a job id")
        return job_id


@contextlib.contextmanager
def _umask(umask: int | None) -> Iterator[None]:
    """Sets the umask while the body runs: sbatch passes it on to the job, whose logs Slurm creates with it."""
    if umask is None:
        yield
        return
    before = os.umask(umask)
    try:
        yield
    finally:
        os.umask(before)


def _sbatch_message(message: str) -> str:
    """Returns sbatch's own message, extracted from submitit's report on the failed command."""
    lines = [line.strip() for line in message.splitlines() if "sbatch: error" in line]
    return "; ".join(line.split("sbatch: error:", 1)[1].strip() for line in lines) or message.strip()
