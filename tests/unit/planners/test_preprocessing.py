from __future__ import annotations

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from batchgenerators.utilities.file_and_folder_operations import load_json, save_json

from dsmt_nnunet.dataset_conversion.raw_dataset import RawDatasetWriter
from dsmt_nnunet.intensities import FORCE_VARIABLE
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.plan import PLAN_KEY
from dsmt_nnunet.planners import planning, preprocessing
from dsmt_nnunet.planners.preprocessing import check_preprocessed, preprocess_test_cases, preprocess_what_is_missing
from dsmt_nnunet.tasks import ClassificationSchema, Task
from tests.unit.small_plans import CONFIGURATION, SCHEMA, small_plan, stock_plans

NAME = "Dataset901_Tiny"
CASES = 3


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the cases go."""
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    image = sitk.GetImageFromArray(np.full((8, 8, 8), -700, dtype=np.int16))
    mask = sitk.GetImageFromArray(np.pad(np.ones((2, 2, 2), dtype=np.uint8), 3))
    with RawDatasetWriter(901, "Tiny", SCHEMA, raw_folder=tmp_path / "raw") as writer:
        for number in range(CASES):
            nodule = Nodule(f"c{number}", "1", f"p{number}", (3.5, 3.5, 3.5), labels={"invasiveness": None})
            writer.add_case(f"c{number}", image, mask, [nodule], "train")
    base = tmp_path / "preprocessed" / NAME
    base.mkdir(parents=True)
    save_json(stock_plans(patch_size=(8, 8, 8)), str(base / "nnUNetPlans.json"), sort_keys=False)

    # Of nnU-Net's own it is only asked to copy the reference masks.
    monkeypatch.setattr(preprocessing, "preprocess_dataset", lambda *_, **__: None)
    return base / "nnUNetPlans_3d_fullres"


def run(folder: Path, **options: Any) -> int:
    return preprocess_what_is_missing(901, "nnUNetPlans", folder, **options)


def test_what_is_done_is_kept(folder: Path) -> None:
    assert run(folder) == CASES
    assert {path.name for path in folder.iterdir()} == {
        f"c{number}{ending}" for number in range(CASES) for ending in (".b2nd", "_seg.b2nd", ".pkl")
    }, "no stray file, or nnU-Net cannot tell the format"
    assert run(folder) == 0
    assert run(folder, clean=True) == CASES


def test_an_interrupted_case_is_done_again_and_the_others_are_kept(folder: Path) -> None:
    run(folder)
    (folder / "c1.pkl").unlink()
    before = (folder / "c0.b2nd").stat().st_mtime_ns
    assert run(folder) == 1
    assert (folder / "c1.pkl").is_file()
    assert (folder / "c0.b2nd").stat().st_mtime_ns == before


def test_a_changed_image_is_preprocessed_again(folder: Path, tmp_path: Path) -> None:
    run(folder)
    os.utime(tmp_path / "raw" / NAME / "imagesTr" / "c2_0000.nii.gz", (1, 1))
    contexts = folder.with_name(f"{folder.name}_context")
    contexts.mkdir()
    for name in ("c1", "c2"):
        (contexts / f"{name}.json").touch()
    assert run(folder) == 1
    assert [path.name for path in contexts.iterdir()] == ["c1.json"], "its context volume is made again too"


@pytest.mark.parametrize("change", [{"spacing": [2.0, 2.0, 2.0]}, {"normalization_schemes": ["ZScoreNormalization"]}])
def test_other_plans_start_anew(folder: Path, change: dict[str, Any]) -> None:
    run(folder)
    path = folder.parent / "nnUNetPlans.json"
    plans = load_json(str(path))
    plans["configurations"][CONFIGURATION].update(change)
    save_json(plans, str(path), sort_keys=False)
    assert run(folder) == CASES


def test_cases_of_other_files_or_plans_are_not_trained_on(folder: Path, tmp_path: Path) -> None:
    raw, plans = tmp_path / "raw" / NAME, load_json(str(folder.parent / "nnUNetPlans.json"))
    assert check_preprocessed(folder, plans, raw) == "", "nnU-Net's own preprocessing leaves no recipe"
    run(folder)
    assert check_preprocessed(folder, plans, raw) == check_preprocessed(folder, plans, tmp_path) == ""
    other = deepcopy(plans)
    other["foreground_intensity_properties_per_channel"]["0"]["mean"] += 1
    with pytest.raises(ValueError, match=r"other plans: they differ in intensities. Run 'dsmt plan' again"):
        check_preprocessed(folder, other, None)
    mask = raw / "labelsTr" / "c2.nii.gz"
    os.utime(mask, (1, 1))
    assert "The files of 1 cases (c2) in Dataset901_Tiny have another time" in check_preprocessed(folder, plans, raw)
    mask.write_bytes(mask.read_bytes() + b" ")
    with pytest.raises(ValueError, match="The image or mask of 1 cases is another than was preprocessed: c2"):
        check_preprocessed(folder, plans, raw)


def test_a_case_that_is_gone_is_taken_away(folder: Path, tmp_path: Path) -> None:
    run(folder)
    raw = tmp_path / "raw" / NAME
    (raw / "imagesTr" / "c0_0000.nii.gz").unlink()
    (raw / "labelsTr" / "c0.nii.gz").unlink()
    assert run(folder) == 0
    assert not list(folder.glob("c0*"))


def test_test_cases_are_preprocessed_again_when_they_or_the_plans_change(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FORCE_VARIABLE, "1")  # the images are constant
    raw = tmp_path / "raw" / NAME
    for split in ("images", "labels"):
        (raw / f"{split}Tr").rename(raw / f"{split}Ts")
    path = folder.parent / "nnUNetPlans.json"
    plans = load_json(str(path))
    plans[PLAN_KEY] = small_plan(plans).to_block()
    save_json(plans, str(path), sort_keys=False)

    def again() -> list[str]:
        before = {file.name: file.stat().st_mtime_ns for file in test_folder.glob("*.b2nd")}
        assert preprocess_test_cases(raw, folder.parent, "nnUNetPlans") == test_folder
        return [
            file.name
            for file in sorted(test_folder.glob("c?.b2nd"))
            if before.get(file.name) != file.stat().st_mtime_ns
        ]

    test_folder = folder.with_name(f"{folder.name}_test")
    assert len(again()) == CASES
    assert again() == []
    os.utime(raw / "imagesTs" / "c1_0000.nii.gz", (1, 1))
    assert again() == ["c1.b2nd"]
    plans["configurations"][CONFIGURATION]["spacing"] = [2.0, 2.0, 2.0]
    save_json(plans, str(path), sort_keys=False)
    assert len(again()) == CASES


def test_the_fingerprint_of_other_files_is_made_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned = []

    def extract(dataset_id: int, extractor: type, clean: bool, **_: Any) -> None:
        cleaned.append(clean)
        (folder.parent / "dataset_fingerprint.json").write_text("{}")

    monkeypatch.setattr(planning, "extract_fingerprint_dataset", extract)
    for _ in range(2):
        planning._extract_fingerprint(901, NAME, 1, False, False)
    os.utime(tmp_path / "raw" / NAME / "imagesTr" / "c2_0000.nii.gz", (1, 1))
    for _ in range(2):
        planning._extract_fingerprint(901, NAME, 1, False, False)
    (folder.parent / planning.FINGERPRINT_SOURCES).unlink()
    planning._extract_fingerprint(901, NAME, 1, False, False)
    assert cleaned == [False, False, True, False, True]


def test_folds_with_a_patient_on_both_sides_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "splits_final.json"
    folds = [{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]
    apart = NoduleTable(tuple(Nodule(case, "1", f"p{case}", (0, 0, 0)) for case in "ab"))
    together = NoduleTable(tuple(Nodule(case, "1", "p", (0, 0, 0)) for case in "ab"))
    for _ in range(2):
        planning._write_splits(path, folds, apart)
    with pytest.raises(ValueError, match="Fold 0 has 1 patients in training and in validation"):
        planning._write_splits(path, folds, together)


def test_the_first_fold_that_can_be_trained_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    schema = ClassificationSchema((Task("t", ("low", "high")),), "t")
    labels = {"a": "low", "b": "high", "c": "low"}
    table = NoduleTable(tuple(Nodule(case, "1", case, (0, 0, 0), labels={"t": labels[case]}) for case in "abc"))
    whole, halves = {"train": ["a", "b"], "val": ["c"]}, {"train": ["a", "c"], "val": ["b"]}
    assert planning._first_fold([halves, whole], table, schema) == "1"
    assert "The training cases of fold 0 show {'low': 2} of t" in capsys.readouterr().out
    assert planning._first_fold([halves, halves], table, schema) == planning.ALL_CASES
