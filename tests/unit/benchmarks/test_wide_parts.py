from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.real_nodules import Cohort
from benchmarks.wide_parts import GROUPS, WHOLE, Change, changes, group_of, out_of_fold, table
from dsmt_nnunet.descriptors import DESCRIPTORS
from tests.unit.benchmarks.test_real_nodules import cohort

ALL_SIZES = (0.0, 100.0)
NAMES = ("diameter_mm", "sphericity", "hu_mean", "edge_drop", "around_0_3_hu", "spicule_sd", "local_sd", "empty")


@pytest.fixture(scope="module")
def size_tells() -> Cohort:
    """Eight descriptors, of which the size alone tells the answer, and two covariates that say nothing."""
    return replace(cohort(telling=1.0), covariates=2)


def test_every_descriptor_belongs_to_one_group() -> None:
    assert [name for name in DESCRIPTORS if group_of(name) is None] == ["empty"]
    for name in DESCRIPTORS:
        assert sum(name.startswith(starts) for starts in GROUPS.values()) == (name != "empty"), name


def test_without_what_tells_the_answer_nothing_is_known(size_tells: Cohort) -> None:
    rows = {row.part: row for row in table([size_tells], lambda own: changes(own, NAMES, ALL_SIZES), ALL_SIZES)}
    assert rows[WHOLE].auc > 0.85
    assert 0.35 < rows["without size"].auc < 0.65
    assert rows["without size"].ci[1] < 0
    assert rows["without size"].p_value < 0.01
    assert 0.35 < rows["covariates alone"].auc < 0.65
    for part in ("without shape", "without covariates", "0-1 labels", "decided nodules alone"):
        assert rows[part].auc == pytest.approx(rows[WHOLE].auc, abs=0.03), part


def test_only_nodules_that_teach_are_learnt_from(size_tells: Cohort) -> None:
    few = np.arange(len(size_tells.nodules)) % 7 == 0
    assert not np.allclose(out_of_fold(size_tells, Change(teaches=few)), out_of_fold(size_tells, Change()))
    everybody = np.ones(len(few), dtype=bool)
    np.testing.assert_array_equal(out_of_fold(size_tells, Change(teaches=everybody)), out_of_fold(size_tells, Change()))
