"""The page as a file: self-contained, and closed against whatever a trial writes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hposlurm.report.page.html import SCRIPTS, data_json, page_html
from hposlurm.report.page.study_page import study_page
from hposlurm.report.records import read_records
from tests import studies

NOW = studies.BEGIN + 10_000
PACKAGE = Path(__file__).parents[3] / "hposlurm" / "report" / "page"
EVIL = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>\x1b[31m\x00\u2028\u202e"


class Elements(HTMLParser):
    """All elements of a page with their attributes, and the texts in scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append((self.found[-1][0] if self.found else "", data))


def page_of(*layouts) -> str:
    pages = [study_page(read_records(layout), NOW) for layout in layouts]
    return page_html(pages, created_at=NOW, version="1").decode()


def elements_of(page: str) -> Elements:
    found = Elements()
    found.feed(page)
    return found


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)[1])


@pytest.fixture
def evil_study(tmp_path):
    """A study whose trials write markup wherever text of theirs is kept."""
    layout = studies.make_study(tmp_path, n_trials=3)
    studies.add_wave(layout, range(3))
    records = studies.completed(0, 1.5, **{EVIL: 3.0})
    records[0]["host"] = EVIL
    studies.write_journal(layout, 0, records)
    studies.write_journal(layout, 1, studies.failed(1, reason=EVIL, tail=["{{ script }}", EVIL]))
    layout.wave(0).script().write_text(f"#!/bin/bash\n{EVIL}\n")
    return layout


def test_nothing_that_a_trial_writes_becomes_markup(evil_study, tmp_path):
    page = page_of(evil_study)
    plain = page_of(studies.study_of_completed(tmp_path, 2, name="plain"))
    assert [tag for tag, _ in elements_of(page).found] == [tag for tag, _ in elements_of(plain).found]
    data = data_of(page)["studies"][0]
    assert "alert(2)" in data["failures"][0]["reason"]  # it is still told
    assert "alert(1)" in data["provenance"]["files"][1]["text"]
    assert "{{ script }}" in data["failures"][0]["tail"][0]
    assert "\x1b" not in json.dumps(data, ensure_ascii=False) and "\u202e" not in json.dumps(data, ensure_ascii=False)


def test_the_browser_may_load_nothing_and_run_only_this_script_and_style(evil_study):
    page = page_of(evil_study)
    found = elements_of(page)
    policy = next(
        attrs["content"] for tag, attrs in found.found if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    for tag, mark in (("script", "<script>"), ("style", "<style>")):
        text = page.split(mark)[-1].split(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    linked = [attrs for _, attrs in found.found if {"src", "srcset", "action"} & attrs.keys()]
    assert linked == [] and not re.search(r"url\(|@import|https?://", page)


def test_text_of_a_study_reaches_the_page_as_text_only():
    sources = {name: (PACKAGE / name).read_text() for name in SCRIPTS}
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc"
    )
    assert {name: forbidden.findall(text) for name, text in sources.items() if forbidden.search(text)} == {}


def test_every_file_of_the_page_is_part_of_it_and_fits_into_one_head():
    assert sorted(path.name for path in PACKAGE.glob("*.js")) == sorted(SCRIPTS)
    lengths = {path.name: len(path.read_text().splitlines()) for path in PACKAGE.iterdir() if path.is_file()}
    assert {name: n for name, n in lengths.items() if n > 300} == {}


def test_no_two_functions_of_the_script_share_a_name():
    """In one script the later one would silently take the place of the other."""
    text = "\n".join((PACKAGE / name).read_text() for name in SCRIPTS)
    found = re.findall(r"^(?:async )?function (\w+)", text, re.MULTILINE)
    assert len(found) > 100 and [name for name in found if found.count(name) > 1] == []


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_any_data_survives_inside_of_a_script_element(data):
    text = data_json(data)
    assert not re.search(r"[<>&\x00-\x1f\x7f-\U0010ffff]", text)
    assert json.loads(text) == data
