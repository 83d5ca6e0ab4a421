from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from dsmt_nnunet.tasks import UNKNOWN_LABEL
from dsmt_nnunet.training.epoch_metrics import mean_of_defined, smoothed, task_auc
from tests.unit.small_plans import SCHEMA

MULTI, BINARY = SCHEMA.tasks


def random_answers(classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.integers(-1, classes, size=60), softmax(rng.normal(size=(60, classes)), axis=-1)


def test_a_binary_auc_leaves_unknown_labels_out() -> None:
    labels, probabilities = random_answers(2)
    known = labels != UNKNOWN_LABEL
    expected = roc_auc_score(labels[known], probabilities[known, 1])
    assert task_auc(labels, probabilities, BINARY) == pytest.approx(expected)


def test_a_multi_class_auc_is_one_against_the_rest() -> None:
    labels, probabilities = random_answers(3)
    known = labels != UNKNOWN_LABEL
    expected = roc_auc_score(labels[known], probabilities[known], multi_class="ovr", average="macro")
    assert task_auc(labels, probabilities, MULTI) == pytest.approx(expected)


def test_a_class_that_does_not_occur_is_left_out_of_the_mean() -> None:
    labels, probabilities = random_answers(3)
    labels[labels == 2] = 1
    known = labels != UNKNOWN_LABEL
    expected = [roc_auc_score(labels[known] == column, probabilities[known, column]) for column in (0, 1)]
    assert task_auc(labels, probabilities, MULTI) == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("labels", [[0, 0, UNKNOWN_LABEL], [1, 1, 1], [UNKNOWN_LABEL] * 3, []])
def test_with_a_single_class_there_is_no_auc(labels: list[int]) -> None:
    probabilities = np.full((len(labels), 2), 0.5)
    assert math.isnan(task_auc(np.array(labels, dtype=int), probabilities, BINARY))


def test_smoothing_passes_over_what_is_not_defined() -> None:
    assert smoothed([math.nan, 0.5, math.nan, 1.0], smoothing=0.8) == pytest.approx(0.8 * 0.5 + 0.2 * 1.0)
    assert smoothed([0.7, 0.7, 0.7]) == pytest.approx(0.7)
    assert math.isnan(smoothed([math.nan]))
    assert math.isnan(smoothed([]))


def test_means_pass_over_what_is_not_defined() -> None:
    values = np.array([[1.0, np.nan, np.nan], [3.0, 4.0, np.nan]])
    np.testing.assert_array_equal(mean_of_defined(values), [2.0, 4.0, np.nan])
