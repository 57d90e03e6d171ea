"""Applies overlay files and `--set` settings to a study file, before it is validated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hposlurm.errors import Problem
from hposlurm.spec import document


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `base` with `overlay` applied: mappings are merged, lists and single values are replaced.

    A parameter's definition is replaced as a whole if the overlay changes its kind: an old `min` has no meaning beside
    new `choices`.
    """
    return _merge(base, overlay, ())


def _merge(base: Mapping[str, Any], overlay: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    result = dict(base)
    for key, value in overlay.items():
        here = (*path, key)
        old = base.get(key)
        is_new_kind = len(here) == 2 and here[0] == "parameters" and _changes_kind(old, value)
        if isinstance(old, dict) and isinstance(value, dict) and not is_new_kind:
            result[key] = _merge(old, value, here)
        else:
            result[key] = value
    return result


def _changes_kind(old: Any, new: Any) -> bool:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return True
    if "type" in new:
        return True
    is_range = any(key in new for key in ("min", "max", "step", "log"))
    return ("choices" in new and "choices" not in old) or (is_range and "choices" in old)


def apply_setting(data: dict[str, Any], setting: str) -> Problem | None:
    """Sets one `a.b.c=value` in `data`. Returns the problem if that is impossible.

    The value is YAML. A number in the path is an index of a list, from 0. A dot may be part of a key that exists, as in
    parameters.optimizer.lr.max. The validation reports unknown keys.
    """
    path, equals, text = setting.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        return Problem("--set", f"{setting!r} is not of the form key=value, such as search.seed=7")
    value, problems = document.parse_text(text)
    if problems:
        return Problem(f"--set {path}", f"the value {text!r} is not YAML: {problems[0].message}")
    target: Any = data
    depth = 0
    while depth < len(keys):
        where = ".".join(keys[:depth])
        key, width = _key_at(target, keys[depth:])
        depth += width
        is_last = depth == len(keys)
        if isinstance(target, list):
            if not key.isascii() or not key.isdigit() or int(key[:9]) >= len(target):
                return Problem(
                    f"--set {path}", f"{where} is a list of {len(target)}; {key!r} is not an index of it (from 0)"
                )
            index = int(key)
            if is_last:
                target[index] = value
            target = target[index]
        elif isinstance(target, dict):
            if is_last:
                target[key] = value
            elif target.get(key) is None:
                target[key] = {}
            target = target[key]
        else:
            return Problem(f"--set {path}", f"{where} is {target!r}, which has no keys")
    return None


def _key_at(target: Any, keys: list[str]) -> tuple[str, int]:
    """Returns the next key of a path and how many parts of it that is: the longest key of `target`, else one part."""
    widths = range(len(keys), 1, -1) if isinstance(target, dict) else ()
    width = next((width for width in widths if ".".join(keys[:width]) in target), 1)
    return ".".join(keys[:width]), width
