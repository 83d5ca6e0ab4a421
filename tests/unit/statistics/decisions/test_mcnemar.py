from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from dsmt_nnunet.statistics.decisions.mcnemar import mcnemar, mcnemar_from_counts, newcombe_paired_interval


def test_every_reference_value_from_r(table_vectors) -> None:
    entries = table_vectors["mcnemar"]["expected"]
    assert len(entries) >= 18
    for name, entry in entries.items():
        counts = [entry[key] for key in ("a_both_right", "b_only_first_right", "c_only_second_right", "d_both_wrong")]
        result = mcnemar_from_counts(*counts)
        assert result.difference == pytest.approx(entry["diff"], abs=1e-9), name
        assert result.ci == pytest.approx(entry["ci95_tango_score"], abs=1e-6), name
        assert newcombe_paired_interval(*counts) == pytest.approx(entry["ci95_newcombe10"], abs=1e-9), name
        assert result.p_exact == pytest.approx(entry["p_exact"], rel=1e-9), name
        assert result.p_mid == pytest.approx(entry["p_midp"], rel=1e-9), name
        if name == "no_discordant":
            continue
        assert result.chi2 == pytest.approx(entry["chisq"], rel=1e-9, abs=1e-12), name
        assert result.p_value == pytest.approx(entry["p"], rel=1e-8), name
        assert result.chi2_corrected == pytest.approx(entry["chisq_cc"], rel=1e-9, abs=1e-12), name
        assert result.p_corrected == pytest.approx(entry["p_cc"], rel=1e-8), name


def test_no_discordant_case_is_p_1_everywhere() -> None:
    result = mcnemar_from_counts(40, 0, 0, 10)
    assert (result.p_exact, result.p_mid, result.p_value, result.p_corrected) == (1.0, 1.0, 1.0, 1.0)
    assert math.isnan(result.chi2_corrected)
    assert result.ci == pytest.approx((-0.0713476, 0.0713476), abs=1e-6)


def test_without_cases_there_is_no_test() -> None:
    result = mcnemar([], [])
    assert all(math.isnan(value) for value in (result.p_exact, result.p_mid, result.p_value, result.p_corrected))


def test_interval_and_p_never_contradict_each_other() -> None:
    """Newcombe's interval and the exact test do: 5 against 0 of 50."""
    rng = np.random.default_rng(0)
    for counts in rng.multinomial(60, (0.6, 0.15, 0.08, 0.17), size=300).tolist():
        result = mcnemar_from_counts(*counts)
        assert (result.p_value < 0.05) == (not result.ci[0] <= 0 <= result.ci[1]), counts
    few = mcnemar_from_counts(35, 5, 0, 10)
    assert few.p_value < 0.05 < few.p_exact
    assert few.ci[0] > 0


def test_tango_1998_as_published() -> None:
    """Fagerland, Lydersen and Laake, Statistics in Medicine 2014; 33: 2850: airways before and after a transplant."""
    assert mcnemar_from_counts(1, 1, 7, 12).ci == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_equal_discordant_counts_have_a_corrected_statistic_of_0() -> None:
    result = mcnemar_from_counts(40, 7, 7, 10)
    assert (result.chi2_corrected, result.p_corrected, result.p_exact, result.p_mid) == (0.0, 1.0, 1.0, 1.0)


def test_newcombe_1998_method_10_as_published() -> None:
    """Statistics in Medicine 1998; 17: 2635, table II, counts 36, 12, 2, 0: 0.0569 to 0.3404."""
    assert newcombe_paired_interval(36, 12, 2, 0) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_counts_come_from_decisions_and_agree_with_statsmodels() -> None:
    first = np.array([1, 1, 1, 0, 0, 1, 1, 1, 1, 0], dtype=bool)
    second = np.array([1, 0, 0, 1, 0, 0, 1, 0, 0, 0], dtype=bool)
    result = mcnemar(first, second)
    assert (result.both_right, result.only_first_right, result.only_second_right, result.both_wrong) == (2, 5, 1, 2)
    assert result.p_exact == pytest.approx(statsmodels_mcnemar([[2, 5], [1, 2]], exact=True).pvalue)


def test_no_case_is_nan_and_other_cases_are_refused() -> None:
    assert math.isnan(mcnemar([], []).difference)
    with pytest.raises(ValueError, match="same cases"):
        mcnemar([True], [True, False])
