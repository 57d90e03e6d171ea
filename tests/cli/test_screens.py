"""Help is drawn by less of Rich than Typer imports, and looks the same."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hposlurm.cli.main import app

CODE = "import sys; {before}; from hposlurm.cli.main import main; sys.argv[:1] = ['hposlurm']; {change}\n"
CODE += "try: main()\n"
CODE += "finally: print(*(m for m in ('rich.markdown', 'rich.traceback') if m in sys.modules), file=sys.stderr)"


def screen(*words: str, before: str = "pass", change: str = "pass") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CODE.format(before=before, change=change), *words]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"})


@pytest.mark.parametrize("words", [("--help",), ("launch", "-h"), ()])
def test_help_looks_as_with_all_of_rich(words: tuple[str, ...]) -> None:
    less, whole = screen(*words), screen(*words, before="import rich.markdown, rich.traceback")
    assert (less.returncode, less.stdout) == (whole.returncode, whole.stdout)
    assert (less.stderr.strip(), whole.stderr.split()) == ("", ["rich.markdown", "rich.traceback"])
    assert "Options" in less.stdout


def test_a_typer_that_needs_more_gets_it() -> None:
    broken = (
        "from hposlurm.cli import screens; screens._UNUSED = {'rich.markdown': 'Other', 'rich.traceback': 'Traceback'}"
    )
    done = screen("--help", change=broken)
    assert done.returncode == 0 and "launch" in done.stdout
    assert done.stderr.split() == ["rich.markdown", "rich.traceback"]


def test_no_annotation_of_a_verb_is_text() -> None:
    """Typer would evaluate it at every start."""
    verbs = [app.registered_callback, *app.registered_commands]
    assert len(verbs) > 10
    assert not [key for verb in verbs for key, hint in verb.callback.__annotations__.items() if isinstance(hint, str)]
