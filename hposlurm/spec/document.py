"""Reads YAML with positions and by the rules of YAML 1.2, and writes it with all digits.

YAML 1.1, which PyYAML reads, takes `1e-5` for text, `1:30:00` for 5400 and `no` for false. Study files are read by the
rules of YAML 1.2 (plus `<<` merge keys): text that looks like a number is a number, and only true and false are truth
values.
"""

from __future__ import annotations

import errno
import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hposlurm.errors import Problem
from hposlurm.records.reading import read_whole
from hposlurm.spec.yaml_errors import in_words

if TYPE_CHECKING:
    import yaml

_LARGEST_FROZEN = 2 * 2**20  # bytes: that many take a second, and MAX_NODES have fewer
MAX_BYTES = 500_000  # of a file that a person names; a study file has some thousand
MAX_NODES = 100_000  # of one file with its aliases expanded: a few lines of nested aliases can expand to billions

_NULL, _BOOL, _INT, _FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))
_STR, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_RESOLVERS = (
    (_NULL, re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    (_BOOL, re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    (_INT, re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"), list("-+0123456789")),
    (
        _FLOAT,
        re.compile(
            r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
        ),
        list("-+0123456789."),
    ),
    (_MERGE, re.compile(r"<<"), ["<"]),
)


def read(path: Path, *, regular: bool = False) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Returns the mapping in the YAML file at `path`, and its problems.

    None if there is no mapping to continue with. With `regular` only a regular file is read: one that a person names
    may be a pipe, one in a study directory may not.
    """
    try:
        text = read_whole(path, _LARGEST_FROZEN).decode("utf-8") if regular else _beginning(path).decode("utf-8")
    except UnicodeDecodeError as error:
        return None, [Problem("", f"{path} is not UTF-8 text (byte {error.start})")]
    except OSError as error:
        return None, [Problem("", f"{path} cannot be read: {error.strerror or error}")]
    except ValueError as error:  # a null byte in the path itself
        return None, [Problem("", f"{str(path)!r} cannot be read: {error}")]
    data, problems = parse_text(text)
    if problems or isinstance(data, dict):
        return data if isinstance(data, dict) else None, problems
    what = "is empty" if data is None else f"holds a {type(data).__name__}"
    return None, [Problem("", f"{path} {what}; a study file is a mapping of keys such as `name:` and `parameters:`")]


def _beginning(path: Path) -> bytes:
    """Returns the content of a file that a person names. Raises OSError if it has more than MAX_BYTES."""
    with path.open("rb") as file:
        found = file.read(MAX_BYTES + 1)
    if len(found) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"it is too large; a study file has at most {MAX_BYTES:,} bytes")
    return found


def parse_text(text: str) -> tuple[Any, list[Problem]]:
    """Returns the value of `text`, of dict, list, str, int, float, bool and None only, and its problems."""
    import yaml

    builder = _Builder()
    try:
        node = yaml.compose(text, Loader=_loader())
        if node is None:
            return None, []
        _check_size(node)
        value = builder.build(node, "")
    except yaml.MarkedYAMLError as error:
        return None, [Problem("", in_words(error, text))]
    except yaml.YAMLError as error:
        return None, [Problem("", f"not YAML: {' '.join(str(error).split())}")]
    except RecursionError:
        return None, [Problem("", "not readable: nested too deeply")]
    except _TooLargeError as error:
        return None, [Problem("", str(error))]
    return value, builder.problems


class _TooLargeError(Exception):
    """Aliases that contain themselves or multiply."""


@functools.cache
def _loader() -> type[yaml.SafeLoader]:
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # as in PyYAML
        nodes = 0

        def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
            self.nodes += 1
            if self.nodes > MAX_NODES:  # before the rest is read, which takes seconds
                raise _TooLargeError(f"too large: more than {MAX_NODES} values")
            return super().compose_node(parent, index)

    for tag, pattern, first in _RESOLVERS:
        whole = re.compile(rf"(?:{pattern.pattern})\Z")
        for character in first:
            Loader.yaml_implicit_resolvers.setdefault(character, []).append((tag, whole))
    return Loader


def _check_size(root: yaml.Node) -> None:
    """Raises _TooLargeError if aliases make the document endless or too large."""
    sizes: dict[int, int | None] = {}

    def size(node: yaml.Node) -> int:
        if id(node) in sizes:
            known = sizes[id(node)]
            if known is None:
                line = node.start_mark.line + 1
                raise _TooLargeError(f"line {line}: an alias (*name) contains itself")
            return known
        sizes[id(node)] = None
        children = node.value if isinstance(node.value, list) else []
        total = 1
        for child in children:
            total += sum(map(size, child)) if isinstance(child, tuple) else size(child)
        sizes[id(node)] = total
        return total

    if size(root) > MAX_NODES:
        raise _TooLargeError(f"too large: more than {MAX_NODES} values with all aliases (*name) written out")


class _Builder:
    """Builds plain values from nodes and collects the problems, so that all problems of a file are found at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def build(self, node: yaml.Node, path: str) -> Any:
        import yaml

        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, _join(path, i)) for i, child in enumerate(node.value)]
        convert = _SCALARS.get(node.tag)
        if convert is None:
            self._problem(path, node, f"the tag {node.tag} is not allowed here")
            return None
        try:
            return convert(str(node.value))
        except ValueError:
            self._problem(path, node, f"{_short(node.value)} cannot be read as a number")
            return None

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        import yaml

        result: dict[str, Any] = {}
        lines: dict[str, int] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _MERGE:
                merged.append(value_node)
                continue
            if key_node.tag != _STR:
                what = _short(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "here"
                self._problem(path, key_node, f"the key {what} is not text; put it in quotes")
                continue
            key = str(key_node.value)
            if key in lines:
                where = f"on line {lines[key]} and on line {line}"
                self.problems.append(Problem(_join(path, key), f"is given twice, {where}; keep one of them"))
                continue
            lines[key] = line
            result[key] = self.build(value_node, _join(path, key))
        for source in merged:
            self._merge(result, source, path)
        return result

    def _merge(self, result: dict[str, Any], source: yaml.Node, path: str) -> None:
        import yaml

        sources = source.value if isinstance(source, yaml.SequenceNode) else [source]
        for part in sources:
            if not isinstance(part, yaml.MappingNode):
                self._problem(path, source, "`<<` needs a mapping")
                continue
            for key, value in self._mapping(part, path).items():
                result.setdefault(key, value)

    def _problem(self, path: str, node: yaml.Node, message: str) -> None:
        mark = node.start_mark
        self.problems.append(Problem(path, f"line {mark.line + 1}, column {mark.column + 1}: {message}"))


def _int(text: str) -> int:
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    _STR: str,
    _INT: _int,
    _FLOAT: _float,
    _BOOL: lambda text: text.lower() == "true",
    _NULL: lambda text: None,  # noqa: ARG005
}


def dump(data: Mapping[str, Any]) -> str:
    """Returns YAML that both this module and YAML 1.1 readers read back as `data`; floats keep all digits."""
    import yaml

    return str(yaml.dump(data, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=10_000))


@functools.cache
def _dumper() -> type[yaml.SafeDumper]:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes text that YAML 1.1 (`no`, `1:30`; inherited) or YAML 1.2 (`1e-5`; added here) would misread."""

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # a list used twice is written twice
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar(_STR, value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    for tag, pattern, first in _RESOLVERS:
        if tag != _MERGE:
            Dumper.add_implicit_resolver(tag, re.compile(rf"(?:{pattern.pattern})\Z"), first)
    return Dumper


def _join(path: str, key: str | int) -> str:
    return f"{path}.{key}" if path else str(key)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"
