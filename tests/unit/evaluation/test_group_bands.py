from __future__ import annotations

import pytest

from dsmt_nnunet.evaluation.group_bands import GroupColumn


def test_an_edge_belongs_to_the_band_above() -> None:
    column = GroupColumn.parse("diameter_mm=8,15")
    assert column.levels(["7.99", "8", "14.9", "15", "", "40"]) == (
        "< 8",
        "8 to < 15",
        "8 to < 15",
        ">= 15",
        "",
        ">= 15",
    )


def test_categories_stay_as_they_are() -> None:
    assert GroupColumn.parse("protocol").levels(["B", "A", ""]) == ("B", "A", "")
    assert GroupColumn.parse("grade").levels(["1", "2", "3"]) == ("1", "2", "3")


@pytest.mark.parametrize("text", ["d=a", "d=3,2", "d=2,2", "d=1,inf"])
def test_edges_that_are_no_rising_numbers_are_refused(text) -> None:
    with pytest.raises(ValueError, match="as in --group diameter_mm=8,15"):
        GroupColumn.parse(text)


def test_words_cannot_be_cut_into_bands_and_many_numbers_must_be() -> None:
    with pytest.raises(ValueError, match="holds 'large'"):
        GroupColumn.parse("size=8").levels(["7", "large"])
    with pytest.raises(ValueError, match="11 different numbers"):
        GroupColumn.parse("size").levels([str(value) for value in range(11)])
