"""Puts the page's data, script and style into one HTML file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from importlib.resources import files
from typing import Any

from hposlurm.report.page.study_page import StudyPage

#: The files of the script, in the order in which they are joined.
SCRIPTS = (
    "core.js",
    "state.js",
    "scales.js",
    "chart.js",
    "hover.js",
    "trials.js",
    "details.js",
    "overview.js",
    "progress.js",
    "curves.js",
    "parallel.js",
    "brushing.js",
    "parameters.js",
    "slices.js",
    "contour.js",
    "pareto.js",
    "timeline.js",
    "rungs.js",
    "lineage.js",
    "table.js",
    "failures.js",
    "provenance.js",
    "main.js",
)
_STYLES = ("page.css", "figures.css")
# Inside of a script element only these could end it or begin markup; DEL is no control character of JSON
_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\x7f"}


def page_html(
    studies: Sequence[StudyPage], *, created_at: float, version: str, refresh_s: float | None = None
) -> bytes:
    """Returns the page; with `refresh_s` a browser loads it again after so many seconds."""
    script, style = _joined(SCRIPTS), _joined(_STYLES)
    title = html.escape(", ".join(study.head.study for study in studies))
    policy = (
        f"default-src 'none'; script-src '{_hash_of(script)}'; style-src '{_hash_of(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    data = {"version": version, "created_at": created_at, "refresh_s": refresh_s, "studies": list(studies)}
    parts = {"policy": policy, "title": title, "style": style, "data": data_json(data), "script": script}
    # in one pass: what a trial wrote may look like a mark itself
    return re.sub(r"\{\{ (\w+) \}\}", lambda mark: parts[mark[1]], _source("page.html")).encode()


def data_json(data: object) -> str:
    """Returns JSON that may stand in a script element: nothing in it can end the element or begin markup."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False, default=_plain).translate(_UNSAFE)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} has no place on the page")


def _hash_of(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _joined(names: Sequence[str]) -> str:
    return "\n" + "\n".join(map(_source, names))


def _source(name: str) -> str:
    return (files("hposlurm.report.page") / name).read_text(encoding="utf-8")
