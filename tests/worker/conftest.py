from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.study import Study


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    made = Study(tmp_path / "study", tmp_path / "tmp")
    made.root.mkdir(mode=0o700)  # as that of a study: what is created there follows it
    made.scratch.mkdir()
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
        process.communicate()
