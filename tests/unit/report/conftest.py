"""Fixtures: a cohort, and its page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dsmt_nnunet.report import figure_style, section
from dsmt_nnunet.report.page import write_report
from tests.unit.report.cohort import Cohort, make_cohort, page_options


@pytest.fixture(scope="session", autouse=True)
def _quick_fonts() -> Iterator[None]:
    """Type 3 fonts in PDF: subsetting the TrueType fonts that users get takes longer than all the rest of a figure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(figure_style._STYLE, "pdf.fonttype", 3)
        yield


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return make_cohort(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def page(cohort: Cohort) -> Path:
    return write_report([cohort.metrics], cohort.metrics.parent / "page.html", page_options(cohort))


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the figures out, where a test looks at the rest of the page."""
    monkeypatch.setattr(section, "_figure_list", lambda *_: [])
