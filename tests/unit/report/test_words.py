"""Numbers, names and warnings as the page writes them."""

from __future__ import annotations

import math

import pytest

from dsmt_nnunet.report import numbers
from dsmt_nnunet.report.figure_style import inline_svg
from dsmt_nnunet.report.panel import key_of
from dsmt_nnunet.report.plain_warnings import PLAIN_WORDS, plain_warnings
from dsmt_nnunet.statistics import named_warnings
from dsmt_nnunet.statistics.named_warnings import NamedWarning

BASES = {"EvaluationWarning", "UndefinedMetricWarning"}


def test_every_warning_has_plain_words() -> None:
    names = {
        name
        for name, item in vars(named_warnings).items()
        if isinstance(item, type) and issubclass(item, named_warnings.EvaluationWarning)
    }
    assert names - BASES == set(PLAIN_WORDS)


def test_warnings_of_one_name_stand_together() -> None:
    entries = [
        NamedWarning("SmallSampleWarning", "a", "x"),
        NamedWarning("New", "b", "y"),
        NamedWarning("SmallSampleWarning", "c", "z"),
    ]
    small, new = plain_warnings(entries)
    assert small.entries == (("a", "x"), ("c", "z"))
    assert new.meaning == "New"


def test_undefined_numbers_are_words() -> None:
    assert numbers.shown(None) == "not defined"
    assert numbers.with_interval(0.9, (0.8, math.nan), 2) == "0.90"
    assert numbers.with_interval(0.9, (0.8, 1.0), 2) == "0.90 (0.80 to 1.00)"
    assert numbers.p_value(0.0004) == "<0.001"
    assert numbers.p_value(None) == "not defined"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("bubble_lucency", "Bubble lucency"), ("diameter_mm", "Diameter (mm)"), ("nnU-Net", "nnU-Net")],
)
def test_names_are_readable(name: str, expected: str) -> None:
    assert numbers.readable(name) == expected


def test_key_has_no_special_characters() -> None:
    assert key_of("../Metrics of Réné") == "metrics-of-r-n"
    assert key_of("??") == "x"


def test_inline_svg_has_its_own_ids() -> None:
    text = '<?xml version="1.0"?>\n<svg width="10pt" height="5pt" viewBox="0 0 10 5">'
    text += '<defs><style type="text/css">*{x:y}</style></defs>'
    text += '<g id="a" clip-path="url(#b)"><use xlink:href="#a"/></g></svg>'
    inline = inline_svg(text, "fig", 'a "b"')
    assert inline.startswith('<svg role="img" aria-label="a &quot;b&quot;"')
    assert 'id="fig-a"' in inline
    assert "url(#fig-b)" in inline
    assert 'href="#fig-a"' in inline
    assert "style" not in inline
    assert "10pt" not in inline
