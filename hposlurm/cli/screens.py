"""Makes help screens appear sooner: they need less of Rich than Typer imports for them."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType

# Imported at the top of typer.rich_utils (Typer 0.20 to 0.28), with markdown-it and Pygments: a third of all modules
# and of the time. They serve rich_markup_mode="markdown" and pretty exceptions, which cli/main.py does without.
_UNUSED = {"rich.markdown": "Markdown", "rich.traceback": "Traceback"}


def prepare_help(words: Sequence[str]) -> None:
    """Imports the drawing of help screens without what they never use, if these words ask for one.

    A Typer that needs more is left to import it all by itself.
    """
    if not words or not {"-h", "--help"}.isdisjoint(words):
        with contextlib.suppress(ImportError, AttributeError), _stand_ins():
            importlib.import_module("typer.rich_utils")


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    """Puts an empty class into the place of each unused one, until the body has ended."""
    absent = {module: name for module, name in _UNUSED.items() if module not in sys.modules}
    for module, name in absent.items():
        sys.modules[module] = ModuleType(module)
        setattr(sys.modules[module], name, type(name, (), {}))
    try:
        yield
    finally:
        for module in absent:
            del sys.modules[module]
