from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest

from dsmt_nnunet.statistics.named_warnings import SmallSampleWarning
from dsmt_nnunet.statistics.readers.against_model import model_against_readers
from dsmt_nnunet.statistics.readers.merit_covariance import MeritEstimates, estimate_merit
from dsmt_nnunet.statistics.readers.obuchowski_rockette import obuchowski_rockette, single_modality_mean
from dsmt_nnunet.statistics.readers.study import Rating, ReaderStudy

RANDOM, FIXED_READERS, FIXED_CASES = "random readers and cases", "fixed readers", "fixed cases"


@pytest.fixture(scope="module")
def franken(vectors) -> ReaderStudy:
    with (vectors / "franken.csv").open() as stream:
        return ReaderStudy.from_ratings(
            [
                Rating(row["reader"], row["treatment"], row["case"], row["truth"] == "1", float(row["rating"]))
                for row in csv.DictReader(stream)
            ]
        )


@pytest.fixture(scope="module")
def expected(vectors) -> dict:
    return json.loads((vectors / "mrmc.json").read_text())["mrmc_franken"]["expected"]


def assert_same(value: object, reference: object) -> None:
    np.testing.assert_allclose(np.asarray(value, float), np.asarray(reference, float), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("key", "merit", "covariance", "design", "cut"),
    [
        ("auc_delong_random", "auc", "delong", RANDOM, None),
        ("auc_jackknife_random", "auc", "jackknife", RANDOM, None),
        ("auc_unbiased_random", "auc", "unbiased", RANDOM, None),
        ("auc_delong_fixed_readers", "auc", "delong", FIXED_READERS, None),
        ("auc_jackknife_fixed_readers", "auc", "jackknife", FIXED_READERS, None),
        ("auc_fixed_cases", "auc", "delong", FIXED_CASES, None),
        ("sens_at_rating_ge3_jackknife", "sensitivity", "jackknife", RANDOM, 3),
        ("spec_at_rating_ge3_jackknife", "specificity", "jackknife", RANDOM, 3),
    ],
)
def test_franken_from_mrmcaov(franken, expected, key, merit, covariance, design, cut) -> None:
    estimates = estimate_merit(franken, merit, covariance, cut)
    result = obuchowski_rockette(estimates, franken.modalities, franken.readers, design)
    entry = expected[key]
    if entry["vcov_comps"]:
        parts = result.components
        found = (parts.reader, parts.modality_reader, parts.error, parts.cov1, parts.cov2, parts.cov3)
        assert_same(
            found, [entry["vcov_comps"][k] for k in ("reader", "treatment:reader", "Error", "Cov1", "Cov2", "Cov3")]
        )
    equality = entry["test_equality"]["1"]
    assert_same(result.ms_modality, equality["MS(T)"])
    assert_same(result.equality.statistic, equality.get("F", equality.get("X2")))
    assert_same(result.equality.p_value, equality["p-value"])
    if "df2" in equality:
        assert_same(result.equality.df2, equality["df2"])
        assert_same(result.ms_modality_reader, equality["MS(T:R)"])
    for number, reference in entry["test_diffs"].items():
        found = result.differences[int(number) - 1]
        assert_same(
            (found.estimate, found.se, found.p_value), [reference[k] for k in ("Estimate", "StdErr", "p-value")]
        )
        assert_same(found.ci, reference["CI"][0])
        assert_same(found.statistic, reference.get("t", reference.get("z")))
    for number, reference in entry["test_means"].items():
        found = result.means[int(number) - 1]
        assert_same((found.estimate, found.se), (reference["Estimate"], reference["StdErr"]))
        assert_same(found.ci, reference["CI"][0])
        if "df" in reference:
            assert_same(found.df, reference["df"])
    assert len(result.reader_differences) == len(entry.get("reader_test_diffs", {}))
    for number, reference in entry.get("reader_test_diffs", {}).items():
        found = result.reader_differences[int(number) - 1]
        assert_same(
            (found.estimate, found.se, found.p_value), [reference[k] for k in ("Estimate", "StdErr", "p-value")]
        )
        assert_same(found.ci, reference["CI"][0])
    for number, reference in entry.get("reader_means", {}).items():
        t, r = divmod(int(number) - 1, 4)
        assert_same(math.sqrt(estimates.covariance[t, r, t, r]), reference["StdErr"])


def test_franken_reader_values_from_mrmcaov(franken, expected) -> None:
    estimates = estimate_merit(franken)
    assert_same(estimates.values.ravel(), [entry["auc"] for entry in expected["reader_auc"].values()])
    assert_same(estimates.covariance.reshape(8, 8), expected["delong_cov_matrix"])
    for merit, key in (("sensitivity", "sens"), ("specificity", "spec")):
        values = estimate_merit(franken, merit, "jackknife", 3).values.ravel()
        assert_same(values, [entry[key] for entry in expected["reader_operating_points_rating_ge3"].values()])


def test_published_franken_numbers_from_the_components() -> None:
    """Franken et al. 1992 (Van Dyke form) in MRMCaov: F 4.694 on 1 and 3 df, p 0.1188, where Cov2 - Cov3 < 0."""
    aucs = np.array(
        [
            [0.853459972862958, 0.864993215739484, 0.857304387155133, 0.81524197195839],
            [0.849615558570783, 0.843509724106739, 0.840117593848937, 0.814337403889643],
        ]
    )
    covariance = np.full((2, 4, 2, 4), 0.000507435758469027)
    for t in range(2):
        covariance[t, :, t, :] = 0.000479251448162693
        for r in range(4):
            covariance[t, r, 1 - t, r] = 0.000782073023257397
            covariance[t, r, t, r] = 0.00150685498917213
    result = obuchowski_rockette(MeritEstimates(aucs, covariance), ("1", "2"), ("1", "2", "3", "4"))
    assert result.equality.statistic == pytest.approx(4.69405772495711, rel=1e-9)
    assert result.equality.df2 == pytest.approx(3)
    assert result.equality.p_value == pytest.approx(0.11883785748107, rel=1e-8)


def make_study(n_modalities: int = 2, n_readers: int = 3, n_cases: int = 30) -> ReaderStudy:
    rng = np.random.default_rng(4)
    y_true = np.arange(n_cases) % 3 == 0
    ratings = np.round(rng.normal(size=(n_modalities, n_readers, n_cases)) + y_true, 1)
    names = [tuple(f"{kind}{k}" for k in range(n)) for kind, n in (("m", n_modalities), ("r", n_readers))]
    return ReaderStudy(names[0], names[1], y_true, ratings)


def test_jackknife_equals_leaving_out_each_case() -> None:
    study = make_study()
    values = []
    for case in range(len(study.y_true)):
        keep = np.arange(len(study.y_true)) != case
        part = ReaderStudy(study.modalities, study.readers, study.y_true[keep], study.ratings[:, :, keep])
        values.append(estimate_merit(part).values.ravel())
    n_cases = len(values)
    expected = np.cov(np.array(values).T) * (n_cases - 1) ** 2 / n_cases
    found = estimate_merit(study, method="jackknife").covariance.reshape(6, 6)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_modalities_that_are_equal_are_not_different() -> None:
    study = make_study()
    twice = ReaderStudy(("a", "b"), study.readers, study.y_true, np.stack([study.ratings[0]] * 2))
    result = obuchowski_rockette(estimate_merit(twice), twice.modalities, twice.readers)
    assert result.differences[0].p_value == 1.0
    assert (result.equality.statistic, result.equality.p_value) == (0.0, 1.0)


def test_one_modality_has_a_mean_and_no_test() -> None:
    study = make_study(n_modalities=1)
    estimates = estimate_merit(study)
    result = obuchowski_rockette(estimates, study.modalities, study.readers)
    assert result.equality is None
    direct = single_modality_mean("m0", estimates.values[0], estimates.covariance[0, :, 0, :], RANDOM)
    assert result.means[0] == direct


def test_one_reader_is_fixed_not_random() -> None:
    study = make_study(n_readers=1)
    with pytest.raises(ValueError, match="two readers"):
        obuchowski_rockette(estimate_merit(study), study.modalities, study.readers)
    result = obuchowski_rockette(estimate_merit(study), study.modalities, study.readers, FIXED_READERS)
    assert result.differences[0].se > 0


def test_model_equal_to_every_reader_differs_by_nothing() -> None:
    study = make_study()
    score = study.ratings[0, 0]
    result = model_against_readers(study.y_true, score, np.stack([score, score]))
    assert result.difference == pytest.approx(0, abs=1e-12)
    other = model_against_readers(study.y_true, score, study.ratings[1])
    assert other.difference == pytest.approx(other.model_auc - other.mean_reader_auc)
    assert other.ci[0] < other.difference < other.ci[1]
    assert 0 < other.p_value <= 1


def test_incomplete_or_repeated_ratings_are_named() -> None:
    ratings = [Rating(r, m, c, c == "1", 1.0) for r in "ab" for m in "xy" for c in "123"]
    with pytest.raises(ValueError, match="reader 'b', modality 'y', case '3'"):
        ReaderStudy.from_ratings(ratings[:-1])
    with pytest.raises(ValueError, match="Two ratings"):
        ReaderStudy.from_ratings([*ratings, ratings[0]])
    with pytest.raises(ValueError, match="positive in one row"):
        ReaderStudy.from_ratings([*ratings[:-1], Rating("b", "y", "3", True, 1.0)])
    with pytest.raises(ValueError, match="two cases of each class"):
        estimate_merit(ReaderStudy.from_ratings(ratings))


def test_patients_replace_cases_in_the_covariance() -> None:
    study = make_study()
    copied = ReaderStudy(
        study.modalities, study.readers, np.repeat(study.y_true, 3), np.repeat(study.ratings, 3, axis=2)
    )
    patients = np.repeat(np.arange(len(study.y_true)), 3)
    once, whole = estimate_merit(study), estimate_merit(copied, clusters=patients)
    np.testing.assert_allclose(whole.covariance, once.covariance, rtol=1e-8)
    assert estimate_merit(copied).covariance[0, 0, 0, 0] < 0.5 * once.covariance[0, 0, 0, 0]
    model = study.ratings[0, 0]
    pair = (study.ratings[1], np.repeat(study.ratings[1], 3, axis=1))
    expected = model_against_readers(study.y_true, model, pair[0])
    found = model_against_readers(copied.y_true, np.repeat(model, 3), pair[1], clusters=patients)
    assert found.p_value == pytest.approx(expected.p_value)
    with pytest.raises(ValueError, match="need the covariance 'delong'"):
        estimate_merit(copied, method="jackknife", clusters=patients)
    for merit in ("sensitivity", "specificity"):
        once = estimate_merit(study, merit, "jackknife", 0.5)
        whole = estimate_merit(copied, merit, "jackknife", 0.5, patients)
        np.testing.assert_allclose(whole.covariance, once.covariance, rtol=1e-8, atol=1e-15)


def test_few_readers_are_said_to_be_few() -> None:
    study = make_study()
    with pytest.warns(SmallSampleWarning, match="2 readers stand for all"):
        model_against_readers(study.y_true, study.ratings[0, 0], study.ratings[1, :2])
