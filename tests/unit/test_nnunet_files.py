from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsmt_nnunet.nnunet_files import (
    CaseFiles,
    Configuration,
    DatasetJson,
    Fingerprint,
    NnunetPlans,
    read_splits,
    resolve_configuration,
)
from tests.unit.small_plans import CONFIGURATION, DATASET_JSON, stock_plans


def test_plans_are_read_and_what_is_unknown_is_carried_along(tmp_path: Path) -> None:
    written = {**stock_plans(patch_size=(8, 16, 24)), "of_another_release": [1]}
    path = tmp_path / "plans.json"
    path.write_text(json.dumps(written), encoding="utf-8")
    plans = NnunetPlans.read(path)
    assert plans.content == json.loads(json.dumps(written))
    assert plans.transpose_forward == (0, 1, 2)
    assert [(channel.mean, channel.std) for channel in plans.intensities] == [(-400.0, 300.0)]
    assert (plans.intensities[0].percentile_00_5, plans.intensities[0].percentile_99_5) == (-1000.0, 200.0)
    configuration = plans.configuration(CONFIGURATION)
    assert configuration.content == written["configurations"][CONFIGURATION]
    assert configuration.patch_size == (8, 16, 24)
    assert configuration.patch_mm == tuple(
        n * mm for n, mm in zip((8, 16, 24), configuration.content["spacing"], strict=True)
    )
    assert configuration.architecture.features_per_stage == (4, 8, 8)
    assert "conv_op" in configuration.architecture.imported


def test_channels_come_in_the_order_of_their_numbers() -> None:
    plans = stock_plans()
    (one,) = plans["foreground_intensity_properties_per_channel"].values()
    channels = {str(number): {**one, "mean": float(number)} for number in (10, *range(10))}
    plans["foreground_intensity_properties_per_channel"] = channels
    assert [channel.mean for channel in NnunetPlans.parse(plans).intensities] == list(range(11))


def test_a_configuration_that_has_not_been_written_yet_holds_arrays() -> None:
    content = stock_plans()["configurations"][CONFIGURATION]
    made = {**content, "spacing": np.array([1.5, 1, 1]), "patch_size": (np.int64(8),) * 3, "batch_size": np.int64(2)}
    configuration = Configuration.parse(CONFIGURATION, made)
    assert configuration.spacing_mm == (1.5, 1.0, 1.0)
    assert configuration.patch_size == (8, 8, 8)
    assert configuration.batch_size == 2


def test_a_configuration_has_what_it_inherits() -> None:
    plans = stock_plans()
    plans["configurations"]["large"] = {"inherits_from": CONFIGURATION, "patch_size": [32, 32, 32]}
    assert resolve_configuration(plans, "large")["patch_size"] == [32, 32, 32]
    large, own = (NnunetPlans.parse(plans).configuration(name) for name in ("large", CONFIGURATION))
    assert (large.name, large.patch_size) == ("large", (32, 32, 32))
    assert large.spacing_mm == own.spacing_mm


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": 32}, r"configuration '3d_fullres': 'patch_size' must be a list, got 32"),
        ({"patch_size": ["a"]}, r"'patch_size\[0\]' must be a finite number, got 'a'"),
        ({"batch_size": math.nan}, "'batch_size' must be a finite number, got nan"),
        ({"batch_size": True}, r"'batch_size' must be a finite number, got True"),
        ({"data_identifier": 3}, r"'data_identifier' must be a text, got 3"),
        ({"architecture": []}, r"'architecture' must be an object with names, got \[\]"),
        ({"architecture": {}}, r"architecture: 'arch_kwargs' is missing; there are: no entries"),
    ],
)
def test_a_configuration_of_another_kind_is_refused(change: dict[str, Any], message: str) -> None:
    plans = stock_plans()
    plans["configurations"][CONFIGURATION].update(change)
    with pytest.raises(ValueError, match=message):
        NnunetPlans.parse(plans).configuration(CONFIGURATION)


def test_an_unknown_configuration_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"'3d_lowres' is missing; there are: .*3d_fullres"):
        NnunetPlans.parse(stock_plans()).configuration("3d_lowres")


def test_a_file_without_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match="holds a list, not an object"):
        DatasetJson.read(path)


def test_a_dataset_json_is_parsed() -> None:
    parsed = DatasetJson.parse(DATASET_JSON)
    assert parsed == DatasetJson(("CT",), ("background", "nodule"), 4, ".nii.gz", DATASET_JSON)


def test_a_fingerprint_gives_the_extents_of_the_scans() -> None:
    parsed = Fingerprint.parse({"shapes_after_crop": [[10, 20, 30], [5, 5, 5]], "spacings": [[2.0, 1, 1], [1, 1, 0.5]]})
    np.testing.assert_array_equal(parsed.extents_mm, [[20, 20, 30], [5, 5, 2.5]])


def test_a_fingerprint_of_flat_images_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'?spacings\[1\]'? must have three numbers, got \[1, 1\]"):
        Fingerprint.parse({"shapes_after_crop": [[10, 20, 30]] * 2, "spacings": [[2.0, 1, 1], [1, 1]]})


def test_the_files_of_a_case_are_parsed() -> None:
    assert CaseFiles.parse({"images": ["a_0000.nii.gz"], "label": "a.nii.gz"}) == CaseFiles(
        ("a_0000.nii.gz",), "a.nii.gz"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"train": ["a"]', "cut off or no JSON"),
        ('{"train": ["a"], "val": ["b"]}', "holds no folds"),
        ("[]", "holds no folds"),
        (
            '[{"train": ["a"], "val": ["b"]}, {"train": ["a"]}]',
            r"Fold 1 .* no cases under \['val'\], it has \['train'\]",
        ),
        ('[{"train": [], "val": ["b"]}]', r"no cases under \['train'\]"),
        ('[{"train": "abc", "val": ["b"]}]', r"no cases under \['train'\]"),
        ('[["a"]]', "Fold 0 .* no cases"),
    ],
)
def test_folds_that_are_none_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "splits_final.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        read_splits(path)
    path.write_text('[{"train": ["a"], "val": ["b"]}]', encoding="utf-8")
    assert read_splits(path) == [{"train": ["a"], "val": ["b"]}]
