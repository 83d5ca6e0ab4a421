from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from dsmt_nnunet.statistics.multiplicity import holm


def test_values_of_r_p_adjust() -> None:
    """R: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm") = 0.05 0.08 0.09 0.09 0.09."""
    family = holm(dict(zip("abcde", (0.01, 0.02, 0.03, 0.04, 0.05), strict=True)), "5 readers")
    assert list(family.adjusted.values()) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert family.sentence == "p values adjusted by Holm over 5 tests: 5 readers."


@pytest.mark.parametrize("p_values", [[0.5, 0.01, 0.01, 0.9, 0.02], [0.04], [1.0, 0.0, 0.3, 0.3]])
def test_values_of_statsmodels_in_any_order_and_with_ties(p_values: list[float]) -> None:
    family = holm({str(number): value for number, value in enumerate(p_values)}, "tests")
    np.testing.assert_allclose(list(family.adjusted.values()), multipletests(p_values, method="holm")[1])


def test_what_was_not_tested_does_not_count() -> None:
    family = holm({"a": 0.02, "b": math.nan, "c": 0.5}, "tasks")
    assert family.n_tests == 2
    assert family.adjusted["a"] == pytest.approx(0.04)
    assert math.isnan(family.adjusted["b"])


def test_one_test_says_that_nothing_was_adjusted() -> None:
    assert holm({"a": 0.02}, "one score").adjusted == {"a": 0.02}
    assert "nothing to adjust" in holm({"a": 0.02}, "one score").sentence
    assert holm({}, "none").n_tests == 0


def test_over_what_must_be_said() -> None:
    with pytest.raises(ValueError, match="over what"):
        holm({"a": 0.1}, " ")
    with pytest.raises(ValueError, match=r"'a' must lie in 0 to 1, got 1\.5"):
        holm({"a": 1.5}, "x")
