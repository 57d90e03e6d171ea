"""Looks into the scripts that a command names, as far as they can be read. Executes nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from hposlurm.records.reading import read_begin
from hposlurm.space.names import variable

_MOST_FILES = 20  # enough for a script and the modules beside it; a command is checked in seconds
_MOST_LOOKS = 200  # at paths, most of which are no script: `a.csv`, `json.py` of `import json`
_MOST_BYTES = 256 * 1024  # of one file; a longer one is data or generated
_SUFFIXES = frozenset({".bash", ".jl", ".js", ".lua", ".pl", ".py", ".r", ".sh"})
_SHELL_SUFFIXES = frozenset({".bash", ".sh", ""})
_TEMPLATE_PARTS = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_BETWEEN_WORDS = re.compile(r"[\s;&|()<>'\"`=]+")
_STARTER = re.compile(r"python[\d.]*|torchrun|accelerate|deepspeed|bash|sh|srun|julia|Rscript|node|perl|lua")
_ELSEWHERE = frozenset({"cd", "pushd", "apptainer", "singularity", "docker", "podman", "shifter", "enroot", "-c"})
_IMPORT = re.compile(r"^[ \t]*(?:from|import)[ \t]+\.?([\w.]+)", re.MULTILINE)
_CLIENT_ALIAS = re.compile(r"\bhposlurm(?:\.client|[ \t]+import[ \t]+client)[ \t]+as[ \t]+(\w+)")
_IMPORTS_PARAMS = re.compile(r"\bfrom[ \t]+hposlurm\.client[ \t]+import\b[^\n]*\bparams\b")
_VARIABLE = re.compile(r"\bHPOSLURM_PARAM_(\w*)")


@dataclass(frozen=True, slots=True)
class Scripts:
    """The scripts of a command that could be read."""

    #: As the command names them.
    names: tuple[str, ...] = ()
    #: Their text, and that of shell scripts and Python modules beside them that they use.
    text: str = ""

    def mention(self, *words: str) -> bool:
        """True if one of the words is in the text, as a whole word."""
        return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", self.text) for word in words)

    def read_parameter(self, name: str) -> bool:
        """True if the text reads the parameter from hposlurm: by client.params(), the JSON file, or its variable."""
        return reads_parameter(self.text, name)


def reads_parameter(text: str, name: str) -> bool:
    """True if `text` (a script, or a command) takes a parameter from the client, the JSON file, or its variable."""
    variables = set(_VARIABLE.findall(text))
    if variable(name) in variables or "" in variables or "HPOSLURM_PARAMS_FILE" in text or _IMPORTS_PARAMS.search(text):
        return True
    aliases = {"client", *_CLIENT_ALIAS.findall(text)}
    return "hposlurm" in text and any(re.search(rf"\b{alias}\.params\b", text) for alias in aliases)


def look_into(command: str, directory: Path) -> Scripts:
    """Returns the scripts that `command`, run in `directory`, names by a path or by `-m MODULE`."""
    names: list[str] = []
    texts: dict[Path, str] = {}
    pending = list(_candidates(command, directory))
    is_named = len(pending)  # the first ones are the command's own
    for position, (name, path) in islice(_growing(pending), _MOST_LOOKS):
        if path in texts or len(texts) >= _MOST_FILES or (text := _script_text(path)) is None:
            continue
        texts[path] = text
        if position < is_named:
            names.append(name)
        pending += _used_by(path, text, directory)
    return Scripts(tuple(dict.fromkeys(names)), "\n".join(texts.values()))


def missing_scripts(command: str, directory: Path) -> Iterator[tuple[str, Path]]:
    """Yields the name and path of each script that `command`, run in `directory`, starts and that does not exist.

    Says nothing about a command that changes the directory, or that sees other files (in a container).
    """
    words = [word for word in _BETWEEN_WORDS.split(_TEMPLATE_PARTS.sub("$", command)) if word]
    if _ELSEWHERE.intersection(Path(word).name for word in words):
        return
    starts = bool(words) and Path(words[0]).suffix.lower() in _SUFFIXES  # words after a script are its own arguments
    for word in words:
        if _STARTER.fullmatch(Path(word).name):
            starts = True
        elif starts and word == "-m":
            starts = False
        elif starts and Path(word).suffix.lower() in _SUFFIXES and not set("$~*?[").intersection(word):
            starts = False
            with suppress(OSError, ValueError):
                if not os.path.lexists(directory / word):
                    yield word, directory / word


def _growing(pending: list[tuple[str, Path]]) -> Iterator[tuple[int, tuple[str, Path]]]:
    """Yields the entries with their positions, also those that are added meanwhile."""
    position = 0
    while position < len(pending):
        yield position, pending[position]
        position += 1


def _candidates(command: str, directory: Path) -> Iterator[tuple[str, Path]]:
    words = [word for word in _BETWEEN_WORDS.split(_TEMPLATE_PARTS.sub(" ", command)) if word]
    for before, word in zip(["", *words], words, strict=False):
        if before == "-m" and re.fullmatch(r"\w+(\.\w+)*", word):
            yield from _module_files(word, directory)
        elif "$" not in word and not word.startswith("-") and (Path(word).suffix or "/" in word):
            yield word, directory / word


def _module_files(module: str, directory: Path) -> Iterator[tuple[str, Path]]:
    path = Path(*module.split("."))
    yield module, directory / path.with_suffix(".py")
    yield module, directory / path / "__main__.py"


def _used_by(path: Path, text: str, directory: Path) -> Iterator[tuple[str, Path]]:
    if path.suffix in _SHELL_SUFFIXES:
        yield from _candidates(text, directory)
    elif path.suffix == ".py":
        for module in dict.fromkeys(_IMPORT.findall(text)):
            yield from _module_files(module, path.parent)


def _script_text(path: Path) -> str | None:
    """Returns the text of a script; None if it cannot be read, or is not a script."""
    if path.suffix.lower() not in _SUFFIXES and path.suffix:
        return None
    try:
        data = read_begin(path, _MOST_BYTES)
    except (OSError, ValueError):
        return None
    is_script = bool(path.suffix) or data.startswith(b"#!")
    return data.decode(errors="replace") if is_script and b"\0" not in data else None
