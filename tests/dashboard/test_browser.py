"""The live page in a real browser: it shows the study, a trial that ends meanwhile, and logs no errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hposlurm.records.layout import StudyLayout
from tests.publish.results import begun, grown

pytestmark = pytest.mark.browser


@pytest.fixture
def layout(tmp_path: Path) -> StudyLayout:
    return begun(tmp_path / "runs")


@pytest.fixture
def address(layout: StudyLayout) -> Iterator[str]:
    command = [sys.executable, "-m", "hposlurm", "dashboard", str(layout.root), "--every", "0.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_the_page_shows_the_study_and_a_trial_that_ends_meanwhile(layout: StudyLayout, address: str) -> None:
    from tests.browser import chromium, opened

    with chromium() as browser, opened(browser, address) as found:
        page = found.page
        page.get_by_text("demo").first.wait_for(timeout=60_000)
        assert "token" not in page.url
        page.get_by_text("demo").first.click()
        page.goto(f"{address.partition('/?')[0]}/dashboard/studies/0/trials")
        page.get_by_text("Trial 4").first.wait_for(timeout=60_000)
        complete = page.get_by_text("Complete", exact=True)
        known = complete.count()  # in the list, and of the trial that is chosen
        grown(layout)
        end = time.monotonic() + 90
        while complete.count() < known + 2:
            assert time.monotonic() < end
            page.wait_for_timeout(100)
        if picture := os.environ.get("HPOSLURM_SCREENSHOTS"):
            page.screenshot(path=f"{picture}/dashboard.png")
        assert found.errors == []
        base = address.partition("/?")[0]
        assert [url for url in found.requests if not url.startswith((base, "data:", "blob:"))] == []
