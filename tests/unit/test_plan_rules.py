from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nnunetv2.preprocessing.normalization.default_normalization_schemes import CTNormalization

from dsmt_nnunet.plan_rules import background_share, check_configuration, context_windows, derive_plan, padding_values
from tests.unit.small_plans import CONFIGURATION, DATASET_JSON, SCHEMA, stock_plans


@pytest.mark.parametrize("residual", [False, True])
def test_a_plan_is_derived_from_stock_plans(residual: bool) -> None:
    plan = derive_plan(stock_plans(residual=residual), CONFIGURATION, DATASET_JSON)
    assert plan.schema == SCHEMA
    assert plan.heads.lateral_features == 8
    assert plan.context.windows == ((-1024.0, 300.0),)
    assert plan.training.task_weights == {"texture": 0.5, "invasiveness": 1.0}


def test_a_plan_is_derived_from_an_inherited_configuration() -> None:
    plans = stock_plans()
    plans["configurations"]["large"] = {"inherits_from": CONFIGURATION, "patch_size": [32, 32, 32]}
    assert derive_plan(plans, "large", DATASET_JSON) == derive_plan(plans, CONFIGURATION, DATASET_JSON)


def test_a_data_set_without_classes_is_refused() -> None:
    dataset_json = {key: value for key, value in DATASET_JSON.items() if key != "classification"}
    with pytest.raises(ValueError, match="no 'classification' block"):
        derive_plan(stock_plans(), CONFIGURATION, dataset_json)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"patch_size": [64, 64]}, "is 2-D"), ({"previous_stage": "3d_lowres"}, "second stage of a cascade")],
)
def test_configurations_that_cannot_be_used_are_refused(change: dict[str, Any], message: str) -> None:
    configuration = {**stock_plans()["configurations"][CONFIGURATION], **change}
    with pytest.raises(ValueError, match=message):
        check_configuration(configuration, "some")


def test_the_padding_value_is_what_the_preprocessor_makes_of_air() -> None:
    plans = stock_plans()
    statistics = plans["foreground_intensity_properties_per_channel"]["0"]
    air = np.full((2, 2, 2), -1024.0, dtype=np.float32)
    normalised = CTNormalization(False, statistics).run(air)
    assert padding_values(plans, plans["configurations"][CONFIGURATION]) == pytest.approx((normalised[0, 0, 0],))


def test_other_modalities_have_no_fixed_padding_and_no_window() -> None:
    plans = stock_plans()
    configuration = {**plans["configurations"][CONFIGURATION], "normalization_schemes": ["ZScoreNormalization"]}
    assert padding_values(plans, configuration) == (None,)
    assert context_windows(configuration) == (None,)


def test_stock_plans_get_what_the_planner_would_choose_where_it_is_free() -> None:
    whole = derive_plan(stock_plans(patch_size=(48, 64, 64)), CONFIGURATION, {**DATASET_JSON, "numTraining": 4000})
    assert (whole.context.grid, whole.context.features) == (64, (32, 64, 128, 256))
    assert (whole.training.iterations_per_epoch, whole.training.background_share) == (250, 0.25)
    crops = stock_plans(patch_size=(48, 64, 64))
    crops["original_median_shape_after_transp"] = [20, 50, 50]
    derived = derive_plan(crops, CONFIGURATION, {**DATASET_JSON, "numTraining": 4})
    assert derived.context.field_of_view_mm == 40.0
    assert derived.context.features == (32, 64)
    assert (derived.training.iterations_per_epoch, derived.training.background_share) == (40, 0.0)


@pytest.mark.parametrize(
    ("scan", "patch", "expected"),
    [((300, 400, 400), (60, 60, 60), 0.25), ((60, 60, 60), (60, 60, 60), 0.0), ((10, 50, 50), (60, 60, 60), 0.0)],
)
def test_only_scans_have_patches_drawn_anywhere(scan: Any, patch: Any, expected: float) -> None:
    assert background_share(scan, patch) == expected
    assert 0 < background_share((120, 120, 60), (60, 60, 60)) < 0.25


def test_crops_without_a_nodule_are_shown_as_often_as_there_are() -> None:
    crop = (50, 50, 50)
    assert [background_share(crop, crop, share) for share in (0.0, 0.1, 0.9)] == [0.0, 0.1, 0.25]
