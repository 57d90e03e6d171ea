"""Figures as files: each in three formats, and a clear word where matplotlib is missing."""

from __future__ import annotations

import re

import pytest

from hposlurm.errors import RequestError
from hposlurm.records.layout import StudyLayout
from hposlurm.report.page.figures import FORMATS, check_figures, write_figures
from hposlurm.report.page.study_page import study_page
from hposlurm.report.records import read_records
from tests import studies
from tests.report.page.test_study_page import conditional_study
from tests.report.played import RUNGS, played

matplotlib = pytest.importorskip("matplotlib")
MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def page(layout):
    return study_page(read_records(layout), studies.BEGIN + 10_000)


@pytest.fixture
def svg_only(monkeypatch):
    """Most of the time goes into the fonts of PDF files."""
    monkeypatch.setattr("hposlurm.report.page.figures.FORMATS", ("svg",))


def names(paths):
    return {path.stem for path in paths}


def test_each_figure_is_there_in_each_format(tmp_path):
    asha = page(StudyLayout(played(tmp_path, {"algorithm": "asha", **RUNGS}, 40)[0]))
    files = write_figures(tmp_path / "figures", [asha])
    found = names(files)
    assert {"best-so-far-hours", "best-so-far-trials", "curves", "slices", "timeline", "rungs"} <= found
    assert {"parallel-coordinates", "importance", "contour"} <= found
    assert sorted(tmp_path.joinpath("figures").iterdir()) == files
    assert len(files) == len(found) * len(FORMATS)
    for path in files:
        assert path.read_bytes().startswith(MAGIC[path.suffix[1:]])


@pytest.mark.usefixtures("svg_only")
def test_several_studies_share_what_has_the_same_axes(tmp_path):
    one = page(studies.study_of_completed(tmp_path, 6, name="one", steps=2))
    two = page(studies.study_of_completed(tmp_path, 6, name="two", steps=2))
    found = names(write_figures(tmp_path / "figures", [one, two]))
    assert {"curves", "slices", "best-so-far-gpu-hours", "timeline-one", "timeline-two"} <= found
    text = (tmp_path / "figures" / "best-so-far-gpu-hours.svg").read_text()
    assert ">one<" in text and ">two<" in text


@pytest.mark.usefixtures("svg_only")
def test_two_objectives_have_a_figure_each_and_a_front(tmp_path):
    found = names(write_figures(tmp_path / "figures", [page(conditional_study(tmp_path))]))
    assert {"slices-acc", "slices-ms", "pareto-front", "best-so-far-hours-acc", "best-so-far-hours-ms"} <= found


@pytest.mark.usefixtures("svg_only")
def test_a_population_has_its_schedules(tmp_path):
    search = {"algorithm": "pbt", "population_size": 4, "perturbation_interval": 3, "max_resource": 9}
    lr = {"type": "float", "min": 1e-4, "max": 1.0, "log": True, "mutable": True}
    root, _ = played(tmp_path, search, None, parameters={"x": {**lr}, "y": {"type": "float", "min": 0.0, "max": 1.0}})
    found = page(StudyLayout(root))
    assert "schedules" in names(write_figures(tmp_path / "figures", [found]))


def test_the_same_study_gives_the_same_files(tmp_path, monkeypatch):
    monkeypatch.setattr("hposlurm.report.page.figures.FORMATS", ("svg", "pdf"))  # a PNG has no date
    found = page(studies.study_of_completed(tmp_path, 2, steps=2))
    first, second = (write_figures(tmp_path / name, [found]) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.usefixtures("svg_only")
def test_a_name_is_neither_a_formula_nor_a_path(tmp_path):
    spec = studies.SPEC.replace("eval_loss", "x/loss").replace("[1, 2]", "['$a_1$', '$b']")
    layout = studies.make_study(tmp_path, spec=spec.replace("objectives:\n", "objectives:\n  - {{name: other}}\n"))
    objectives = ("other", "x/loss")
    params = [{"bs": "$a_1$" if n % 2 else "$b", "lr": 10.0**-n} for n in range(5)]
    studies.add_wave(layout, [studies.assignment(n, each) for n, each in enumerate(params)], objectives=objectives)
    for number in range(5):
        values = dict.fromkeys(objectives, 1.0 + number)
        first = studies.start(number)
        reports = [studies.report(step, first["t"] + step, **values) for step in (1, 2)]
        studies.write_journal(
            layout, number, [first, *reports, studies.end("complete", first["t"] + 60, metrics=values)]
        )
    files = write_figures(tmp_path / "figures", [page(layout)])
    assert {path.parent for path in files} == {tmp_path / "figures"}
    assert all(re.fullmatch(r"[\w.-]+", path.name) for path in files)
    assert ">$a_1$<" in (tmp_path / "figures" / "slices-x-loss.svg").read_text()


def test_without_matplotlib_the_request_is_refused_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("hposlurm.report.page.figures.find_spec", lambda _: None)
    with pytest.raises(RequestError, match=r"pip install 'hposlurm\[report\]'"):
        check_figures(tmp_path / "figures")


def test_a_place_that_cannot_be_a_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "none" / "figures"):
        with pytest.raises(RequestError, match="cannot write figures"):
            check_figures(place)
