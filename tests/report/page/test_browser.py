"""The report page in a real browser: brushing, sorting, hover, keyboard, and that nothing overflows or calls home."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from hposlurm.records.layout import StudyLayout
from hposlurm.report.page.html import page_html
from hposlurm.report.page.study_page import study_page
from hposlurm.report.records import read_records
from tests import studies
from tests.report.page.test_study_page import conditional_study
from tests.report.played import RUNGS, played

pytestmark = pytest.mark.browser
NOW = studies.BEGIN + 10_000


@pytest.fixture(scope="module")
def browser():
    from tests.browser import chromium

    with chromium() as found:
        yield found


def written(path: Path, *layouts: StudyLayout) -> str:
    pages = [study_page(read_records(layout), NOW) for layout in layouts]
    path.write_bytes(page_html(pages, created_at=NOW, version="1"))
    return path.as_uri()


@pytest.fixture(scope="module")
def urls(tmp_path_factory):
    """Pages of studies of several kinds, by name."""
    folder = tmp_path_factory.mktemp("pages")
    asha = StudyLayout(played(folder / "asha", {"algorithm": "asha", **RUNGS}, 40)[0])
    conditional = conditional_study(folder)
    evil = studies.make_study(folder, "evil", n_trials=3)
    studies.add_wave(evil, range(3))
    image = "<img src=x onerror=\"document.title='broken in'\">"
    studies.write_journal(evil, 0, studies.completed(0, 1.5, steps=3, **{image: 2.0}))
    studies.write_journal(evil, 1, studies.failed(1, reason=image, tail=[image, "</script><script>alert(1)</script>"]))
    empty = studies.make_study(folder, "empty")
    infeasible = studies.make_study(folder, "infeasible", n_trials=2)
    studies.add_wave(infeasible, range(2))
    studies.write_journal(infeasible, 0, studies.completed(0, 1.5))
    studies.write_journal(infeasible, 1, [studies.start(1), studies.end("infeasible", studies.BEGIN + 60)])
    return {
        "infeasible": written(folder / "infeasible.html", infeasible),
        "empty": written(folder / "empty.html", empty),
        "wide": written(folder / "wide.html", wide_study(folder)),
        "asha": written(folder / "asha.html", asha),
        "conditional": written(folder / "conditional.html", conditional),
        "evil": written(folder / "evil.html", evil),
        "several": written(folder / "several.html", asha, conditional, evil),
    }


def wide_study(runs: Path) -> StudyLayout:
    """A running study with many parameters and long names, and with trials that wait, run and were stopped."""
    names = [f"a_rather_long_name_of_a_parameter_{n}" for n in range(30)]
    lines = "".join(f"  {name}: {{{{type: float, min: 0.0, max: 1.0}}}}\n" for name in names)
    head, _, rest = studies.SPEC.partition("  bs:")
    layout = studies.make_study(runs, "a-study-with-quite-a-long-name", spec=f"{head}{lines}  bs:{rest}")
    params = [{**{name: (n + k) % 7 / 7 for k, name in enumerate(names)}, "bs": 1, "lr": 10.0**-n} for n in range(6)]
    studies.add_wave(layout, [studies.assignment(n, each) for n, each in enumerate(params)])
    for number in range(3):
        studies.write_journal(layout, number, studies.completed(number, 1.0 + number, steps=3))
    studies.write_journal(layout, 3, [studies.start(3), studies.report(1, eval_loss=9.0)])
    stopped = studies.end("pruned", studies.BEGIN + 50, reason="place 9 of 9 " * 30, metrics={"eval_loss": 9.0})
    studies.write_journal(layout, 4, [studies.start(4), studies.report(1, eval_loss=9.0), stopped])
    return layout


@pytest.fixture
def show(browser, urls):
    """`show(name, fragment="", …)` opens a page; in the end nothing may have been logged or asked for."""
    from contextlib import ExitStack

    from tests.browser import opened

    with ExitStack() as stack:
        seen = []

        def open_page(name: str, fragment: str = "", **options):
            seen.append(stack.enter_context(opened(browser, urls[name] + fragment, **options)))
            return seen[-1].page

        yield open_page
        assert [each.errors for each in seen if each.errors] == []
        assert [each.requests for each in seen if each.requests] == []


def until(page, condition: str) -> None:
    """Waits until an expression is true. Playwright's own way needs `eval`, which the page's policy forbids."""
    end = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(10)


def walk_through(page) -> None:
    """Scrolls to the end, so that every figure is drawn."""
    page.evaluate("for (const own of report.CHARTS) own.stage.scrollIntoView()")
    page.evaluate("for (const own of report.CHARTS) { own.isSeen = true; own.redraw(); }")
    until(page, "report.CHARTS.every((own) => own.width > 0 && own.isDrawn !== false)")


@pytest.mark.parametrize("name", ["asha", "conditional", "empty", "evil", "several", "wide"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_overflows_and_every_figure_is_drawn(show, name, width, scheme):
    page = show(name, width=width, scheme=scheme)
    walk_through(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = """() => [...document.querySelectorAll('main *, header *, footer *')].filter((each) =>
        !each.closest('.scroll, .grid, pre, .unseen') && each.getBoundingClientRect().right > innerWidth + 1)
        .map((each) => each.outerHTML.slice(0, 200))"""
    assert page.evaluate(beyond) == []
    empty = """() => report.CHARTS.filter((own) => {
        const data = own.base.getContext('2d').getImageData(0, 0, own.base.width, own.base.height).data;
        return !data.some((value) => value);
    }).map((own) => own.id)"""
    assert page.evaluate(empty) == []
    assert page.evaluate("document.documentElement.dataset.theme") == scheme


def test_what_a_trial_writes_stays_text(show):
    page = show("evil")
    assert page.title() == "evil – hposlurm report"
    assert page.locator("img").count() == 0
    assert "onerror" in page.locator("#section-failures").inner_text()


def numbers(page) -> list[int]:
    """The trials of the first rows of the table."""
    return page.evaluate(
        "[...document.querySelectorAll('tr[data-trial] td:first-child')].map((e) => Number(e.innerText))"
    )


def brush(page, key: str, begin: float, end: float) -> None:
    """Drags along an axis of the parallel coordinates, from one share of its height to another."""
    page.locator("#chart-parallel").scroll_into_view_if_needed()
    until(page, "report.CHARTS.find((own) => own.id === 'parallel').isDrawn")
    x, top, bottom = page.evaluate(
        """(key) => { const own = report.CHARTS.find((each) => each.id === 'parallel');
            const box = own.stage.getBoundingClientRect();
            const { x } = own.axes.find((each) => each.axis.key === key);
            return [box.left + x, box.top + own.box.top, box.top + own.box.bottom]; }""",
        key,
    )
    page.mouse.move(x, bottom + begin * (top - bottom))
    page.mouse.down()
    page.mouse.move(x, bottom + (begin + end) / 2 * (top - bottom))
    page.mouse.move(x, bottom + end * (top - bottom))
    page.mouse.up()


def test_a_brush_filters_the_table_and_is_in_the_link(show):
    page = show("conditional")
    assert sorted(numbers(page)) == [0, 1, 2, 3, 4, 5]
    brush(page, "optimizer", 0.6, 1.0)  # the upper of two choices
    assert sorted(numbers(page)) == [1, 3, 5]
    assert "brush.optimizer=" in page.url
    assert "3 of 6 trials selected" in page.locator(".chips").inner_text()
    again = show("conditional", "#" + page.url.split("#")[1])
    assert sorted(numbers(again)) == [1, 3, 5]
    page.locator(".chip").click()
    assert sorted(numbers(page)) == [0, 1, 2, 3, 4, 5] and "#" not in page.url


def test_a_brush_up_to_the_end_keeps_the_trial_at_the_end(show):
    page = show("conditional")
    brush(page, "value.acc", 0.5, 1.0)
    assert 5 in numbers(page) and 0 not in numbers(page)


@pytest.mark.parametrize("value", [0.1234449, 0.1234451, 1.0, 123449.0, -0.98765, 3.01169e-05])
def test_the_ends_of_a_brush_are_rounded_outwards(show, value):
    low, high = show("conditional").evaluate("(value) => [outward(value, -1), outward(value, 1)]", value)
    assert low <= value <= high and high - low <= 2e-3 * abs(value)


def test_a_click_on_the_inactive_tick_keeps_the_trials_in_which_a_parameter_is_inactive(show):
    page = show("conditional")
    page.locator("#chart-parallel").scroll_into_view_if_needed()
    until(page, "report.CHARTS.find((own) => own.id === 'parallel').isDrawn")
    x, y = page.evaluate(
        """() => { const own = report.CHARTS.find((each) => each.id === 'parallel');
            const box = own.stage.getBoundingClientRect();
            const axis = own.axes.find((each) => each.axis.key === 'momentum');
            return [box.left + axis.x, box.top + axis.y(0)]; }"""
    )
    page.mouse.click(x, y)
    assert sorted(numbers(page)) == [0, 2, 4]
    assert "momentum is inactive" in page.locator(".chips").inner_text()


DRAWN = """(id) => {
    const own = report.CHARTS.find((each) => each.id === id);
    const pen = CanvasRenderingContext2D.prototype;
    const { fillText, fill } = pen;
    const found = { texts: [], fills: [] };
    pen.fillText = function (text, ...rest) { found.texts.push(text); return fillText.call(this, text, ...rest); };
    pen.fill = function (...rest) { found.fills.push(this.fillStyle); return fill.call(this, ...rest); };
    own.isSeen = true;
    own.redraw();
    Object.assign(pen, { fillText, fill });
    return found;
}"""


def test_a_logarithmic_axis_is_one_and_says_so_and_inactive_has_a_tick(show):
    page = show("conditional")
    walk_through(page)
    texts = page.evaluate(DRAWN, "parallel")["texts"]
    assert texts.count("inactive") == texts.count("lr (log)") > 0  # of momentum only
    ends, middle = page.evaluate(
        """() => { const own = report.CHARTS.find((each) => each.id === 'parallel');
            const { scale } = own.axes.find((each) => each.axis.key === 'lr');
            return [[scale(1e-6), scale(1)], scale(1e-3)]; }"""
    )
    assert middle == pytest.approx(sum(ends) / 2)


def test_a_brush_is_drawn_in_all_figures(show):
    page = show("conditional")
    walk_through(page)
    own = "report.CHARTS.find((own) => own.id === 'parallel')"
    assert page.evaluate(f"[...{own}.lines.keys()].length") == 6
    page.evaluate("setBrush('optimizer', '1:1')")
    until(page, f"[...{own}.lines.keys()].sort().join() === '1,3,5'")
    assert "3 trials of 6 selected" in page.evaluate(f"{own}.stage.getAttribute('aria-label')")


def test_the_timeline_draws_idle_gpus_and_each_attempt(show):
    page = show("asha")
    walk_through(page)
    idle = page.evaluate(
        "() => { const pen = document.createElement('canvas').getContext('2d');"
        " pen.fillStyle = colour('idle'); return pen.fillStyle; }"
    )
    assert idle in page.evaluate(DRAWN, "load-0")["fills"]
    counts = "[report.CHARTS.find((own) => own.id === 'lanes-0').marks.length, PAGE.studies[0].timeline.rows.length]"
    drawn, attempts = page.evaluate(counts)
    assert drawn == attempts >= 40


def test_each_rung_has_its_correlation_in_the_figure_and_in_the_table(show):
    page = show("asha")
    walk_through(page)
    rungs = page.evaluate("PAGE.studies[0].rungs.rungs.map((rung) => rung.correlation)")
    known = [f"{value:.2f}" for value in rungs if value is not None]
    assert known
    texts = page.evaluate(DRAWN, "rungs-0")["texts"]
    assert [text for text in texts if text.startswith("r = ")] == [f"r = {value}" for value in known]
    assert page.locator("#section-rungs table").first.locator(".share").all_inner_texts() == known


def test_a_range_can_be_typed(show):
    page = show("conditional")
    page.locator("details.typed summary").click()
    page.locator("details.typed select").select_option("lr")
    page.locator("details.typed input").first.fill("1e-2")
    page.locator("details.typed button").click()
    assert sorted(numbers(page)) == [1, 3, 5]


def test_columns_sort_and_unsort_and_missing_values_come_last(show):
    page = show("conditional")
    ranked = numbers(page)
    button = page.locator("th button[data-key=ms]")
    button.click()
    assert numbers(page) == [0, 2, 1, 3, 4, 5]
    assert page.locator("th:has(button[data-key=ms])").get_attribute("aria-sort") == "ascending"
    button.press("Enter")  # the keyboard stays where it was
    assert numbers(page) == [5, 4, 3, 1, 0, 2] and page.url.endswith("#sort=-ms")
    button.press("Enter")
    assert numbers(page) == ranked and "#" not in page.url
    page.locator("th button[data-key=momentum]").click()
    assert {*numbers(page)[:3]} == {1, 3, 5}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [("acc>0.75", [3, 4, 5]), ("optimizer=sgd acc<0.9", [1, 3]), ("n3", [3]), ("state=complete", [0, 1, 2, 3, 4, 5])],
)
def test_the_search_compares_columns_and_looks_for_words(show, words, wanted):
    page = show("conditional")
    page.locator("#search").fill(words)
    assert sorted(numbers(page)) == wanted


def test_constant_columns_are_hidden_until_they_are_wanted(show):
    page = show("conditional")
    assert page.locator("th button[data-key=attempts]").count() == 0
    page.get_by_label("columns that are the same in every trial, too").check()
    assert page.locator("th button[data-key=attempts]").count() == 1 and "all=1" in page.url


def test_hover_shows_the_whole_configuration_and_marks_the_trial_everywhere(show):
    page = show("conditional")
    page.locator("#chart-pareto").scroll_into_view_if_needed()
    until(page, "report.CHARTS.find((own) => own.id === 'pareto').marks.length > 0")
    x, y = page.evaluate(
        """() => { const own = report.CHARTS.find((each) => each.id === 'pareto');
            const box = own.stage.getBoundingClientRect(); const mark = own.marks.find((each) => each.trial === 3);
            return [box.left + mark.x, box.top + mark.y]; }"""
    )
    page.mouse.move(x, y)
    text = page.locator("#tip").inner_text()
    assert all(word in text for word in ("trial 3", "optimizer", "sgd", "momentum", "0.9", "acc", "0.8"))
    assert page.evaluate("report.hovered()") == 3
    assert page.locator("tr.hovered").get_attribute("data-trial") == "3"
    top = """() => { const { top } = report.CHARTS.find((each) => each.id === 'pareto');
        return top.getContext('2d').getImageData(0, 0, top.width, top.height).data.some((value) => value); }"""
    assert page.evaluate(top)
    page.mouse.click(x, y)
    dialog = page.locator("dialog.details")
    assert "trial 3" in dialog.inner_text()
    page.keyboard.press("Escape")
    assert dialog.count() == 0


def test_the_keyboard_goes_through_the_trials_of_a_figure(show):
    page = show("asha")
    stage = page.locator("#chart-progress")
    stage.focus()
    until(page, "report.CHARTS.find((own) => own.id === 'progress').marks.length > 0")
    page.keyboard.press("ArrowRight")
    said = page.locator("#live").inner_text()
    assert said.startswith("trial ") and "COMPLETE" in said
    page.keyboard.press("Enter")
    assert said.split(" · ")[0] in page.locator("dialog.details").inner_text()


def test_figures_have_a_table_and_a_text(show):
    page = show("asha")
    walk_through(page)
    labels = page.locator(".stage").evaluate_all("all => all.map((each) => each.getAttribute('aria-label'))")
    assert all(len(label) > 20 for label in labels)
    page.locator("#section-progress summary").click()
    assert page.locator("#section-progress tbody tr").count() > 3


def test_the_theme_can_be_switched_and_is_in_the_link(show):
    page = show("asha", scheme="light")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before and "theme=dark" in page.url
    assert show("asha", "#theme=dark").evaluate("document.documentElement.dataset.theme") == "dark"


def test_the_axis_of_the_best_value_can_be_switched(show):
    page = show("asha")
    page.locator("label:has-text('Against') select").select_option("trials")
    assert "x=trials" in page.url
    walk_through(page)
    own = "report.CHARTS.find((own) => own.id === 'progress')"
    assert "trials" in page.evaluate(f"{own}.stage.getAttribute('aria-label')")


def test_only_the_rows_on_the_screen_are_in_the_document(browser, tmp_path):
    from tests.browser import opened

    layout = studies.study_of_completed(tmp_path, 600)
    with opened(browser, written(tmp_path / "page.html", layout)) as found:
        page = found.page
        assert page.locator("tr[data-trial]").count() < 60
        grid = page.locator(".grid")
        assert page.locator("table.trials").get_attribute("aria-rowcount") == "601"
        grid.evaluate("each => { each.scrollTop = each.scrollHeight; }")
        until(page, "document.querySelector('tr[aria-rowindex=\"601\"]') !== null")
        assert found.errors == []


CONTRAST = """(pairs) => {
    const probe = document.createElement('i');
    document.body.append(probe);
    const channel = (value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    const light = (name) => {
        probe.style.color = `var(--${name})`;
        const [r, g, b] = getComputedStyle(probe).color.match(/[\\d.]+/g).map((part) => channel(Number(part)));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
    };
    const ratio = (a, b) => Math.max(light(a), light(b)) / Math.min(light(a), light(b));
    return pairs.filter(([a, b, least]) => ratio(a, b) < least).map(([a, b]) => [a, b, ratio(a, b)]);
}"""
TEXTS = ["text", "muted", "link", "accent", "state-complete", "state-fail", "state-running", "state-paused"]
MARKS = ["bar", "state-pruned", *(f"series-{n}" for n in range(6))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_marks_have_enough_contrast(show, scheme):
    """WCAG 2.2 wants 4.5 to 1 for text and 3 to 1 for graphical objects."""
    pairs = [*((name, "panel", 4.5) for name in TEXTS), *((name, "panel", 3) for name in MARKS)]
    pairs += [("warning", "warning-bg", 4.5), ("text", "bg", 4.5), ("muted", "bg", 4.5), ("on-bar", "bar", 4.5)]
    assert show("asha", scheme=scheme).evaluate(CONTRAST, pairs) == []


def test_the_best_value_is_named_by_its_place_and_by_the_number_of_its_trial(show):
    text = show("asha").locator("#section-overview").inner_text()
    best = re.search(r"came from the (\d+)(st|nd|rd|th) of \d+ to end \(trial (\d+)\)", text)
    assert best is not None
    assert f"trial {best[3]}" in show("asha").locator("#section-overview .card .figure").inner_text()


def test_the_search_names_a_column_that_there_is_not(show):
    page = show("asha")
    walk_through(page)
    page.locator("#search").fill("lernrate>1e-5")
    until(page, "document.body.innerText.includes('there is no column lernrate')")


def test_the_legend_of_the_attempts_has_each_outcome_that_is_drawn(show):
    page = show("infeasible")
    walk_through(page)
    legend = page.locator(".keys", has_text="completed").last.inner_text()
    assert "infeasible" in legend and "running" not in legend
