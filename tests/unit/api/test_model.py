from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import torch

import dsmt_nnunet as dsmt
from dsmt_nnunet.api.examples import example_scan
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.predictions.results import read_case
from tests.unit.small_plans import SCHEMA

IMAGE, CENTRE = example_scan()
PLACE = {"spacing_mm": IMAGE.GetSpacing(), "origin_mm": IMAGE.GetOrigin()}
CHECKPOINT = Path("fold_0") / "checkpoint_final.pth"


def answers(prediction: dsmt.Prediction) -> Any:
    return [nodule.tasks for nodule in prediction.nodules]


def test_every_kind_of_image_has_the_same_answer(model: dsmt.Model, tmp_path: Path) -> None:
    expected = model.predict(IMAGE, CENTRE)
    array = sitk.GetArrayFromImage(IMAGE)
    sitk.WriteImage(IMAGE, str(tmp_path / "scan.nii.gz"))
    place: dict[str, Any] = {"spacing_mm": IMAGE.GetSpacing(), "origin_mm": IMAGE.GetOrigin()}
    for given, options in ((array, place), (tmp_path / "scan.nii.gz", {}), (str(tmp_path / "scan.nii.gz"), {})):
        prediction = model.predict(given, CENTRE, **options)
        np.testing.assert_array_equal(prediction.mask_array, expected.mask_array)
        for own, other in zip(answers(prediction), answers(expected), strict=True):
            for task in own:
                assert own[task].probabilities == pytest.approx(other[task].probabilities, abs=1e-6)
    # float32 of NIfTI headers
    assert prediction.mask.GetOrigin() == pytest.approx(IMAGE.GetOrigin())


def test_a_dicom_folder_is_read(model: dsmt.Model, tmp_path: Path) -> None:
    image = sitk.Cast(IMAGE, sitk.sitkInt16)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number in range(image.GetDepth()):
        plane = image[:, :, number]
        x, y, z = image.TransformIndexToPhysicalPoint((0, 0, number))
        for tag, value in (
            ("0008|0060", "CT"),
            ("0020|000d", "1.2.826.0.1.3680043.2.1125"),
            ("0020|000e", "1.2.826.0.1.3680043.2.1125.1"),
            ("0020|0032", f"{x}\\{y}\\{z}"),
            ("0020|0037", "1\\0\\0\\0\\1\\0"),
            ("0020|0013", str(number)),
            ("0028|1052", "0"),
            ("0028|1053", "1"),
        ):
            plane.SetMetaData(tag, value)
        writer.SetFileName(str(tmp_path / f"{number:02d}.dcm"))
        writer.Execute(plane)
    prediction = model.predict(tmp_path, CENTRE)
    expected = model.predict(image, CENTRE)
    assert answers(prediction)[0]["invasiveness"].probabilities == pytest.approx(
        answers(expected)[0]["invasiveness"].probabilities, abs=1e-4
    )


def test_the_command_gives_the_same(model: dsmt.Model, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    sitk.WriteImage(IMAGE, str(source / "c_0000.nii.gz"))
    NoduleTable((Nodule("c", "1", "p", CENTRE),)).write(source / "nodules.csv", SCHEMA)
    model._predictor.predict_from_files_sequential(str(source), str(tmp_path / "out"))
    model.predict(source / "c_0000.nii.gz", CENTRE, case_id="c").write(tmp_path / "own")
    assert read_case(tmp_path / "own" / "c.json") == read_case(tmp_path / "out" / "c.json")
    own, other = (sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name / "c.nii.gz"))) for name in ("own", "out"))
    np.testing.assert_array_equal(own, other)


def test_nodules_keep_names_and_order(model: dsmt.Model) -> None:
    other = (CENTRE[0] + 3, CENTRE[1], CENTRE[2])
    named = model.predict(IMAGE, {"b": other, "a": CENTRE})
    assert [nodule.nodule_id for nodule in named.nodules] == ["b", "a"]
    numbered = model.predict(IMAGE, np.array([other, CENTRE]))
    assert [nodule.nodule_id for nodule in numbered.nodules] == ["1", "2"]
    assert answers(numbered) == answers(named)


def test_without_positions_the_scan_is_searched(model: dsmt.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def bright(data: torch.Tensor, region: Any = None) -> torch.Tensor:
        return torch.stack([-data[0], data[0]])

    monkeypatch.setattr(model._predictor, "_segment", bright)
    prediction = model.predict(IMAGE)
    assert prediction.nodules[0].centre_mm == pytest.approx(CENTRE, abs=0.5)
    assert prediction.mask_array[8, 22, 18] == 1
    assert prediction.mask_array[0, 0, 0] == 0


@pytest.mark.parametrize(
    ("image", "positions", "options", "message"),
    [
        (sitk.GetArrayFromImage(IMAGE), CENTRE, {}, "spacing_mm"),
        (IMAGE, CENTRE, {"spacing_mm": (1, 1, 1)}, "brings its own"),
        (IMAGE[:, :, 3], CENTRE, {}, "3-D"),
        ([IMAGE, IMAGE], CENTRE, {}, "needs 1 channels, got 2"),
        (IMAGE + 1024, CENTRE, {}, "not in HU"),
        (IMAGE, (0.0, 0.0, 9000.0), {}, "inside the scan"),
        (IMAGE, (0.0, 0.0), {}, "three finite numbers"),
        (IMAGE, [], {}, "three finite numbers"),
        (IMAGE, (float("nan"), 0.0, 0.0), {}, "three finite numbers"),
        (IMAGE, "here", {}, "three finite numbers"),
        (IMAGE, pd.Series(CENTRE, ["z_mm", "y_mm", "x_mm"]), {}, "in the order x, y, z"),
        (IMAGE, [pd.Series(CENTRE, ["Z", "Y", "X"])], {}, "in the order x, y, z"),
        (IMAGE, pd.DataFrame([CENTRE], columns=["y_mm", "x_mm", "z_mm"]), {}, "in the order x, y, z"),
        (IMAGE, [True, True, True], {}, "three finite numbers"),
        (IMAGE, [CENTRE, CENTRE], {}, "'1' and '2' are at one place"),
        (IMAGE, {1: CENTRE, "1": CENTRE}, {}, "a text of its own"),
        (IMAGE, {" ": CENTRE}, {}, "a text of its own"),
        (IMAGE, {"None": CENTRE}, {}, "which says that there is none"),
        (np.ma.masked_less(sitk.GetArrayFromImage(IMAGE), -900), CENTRE, PLACE, "masked array"),
        (sitk.GetArrayFromImage(IMAGE), CENTRE, {**PLACE, "spacing_mm": "1 1 1"}, "spacing_mm must be three"),
        (sitk.GetArrayFromImage(IMAGE), CENTRE, {**PLACE, "spacing_mm": 1.0}, "spacing_mm must be three"),
        (sitk.GetArrayFromImage(IMAGE), CENTRE, {**PLACE, "spacing_mm": (1, 0, 1)}, "three positive"),
        (sitk.GetArrayFromImage(IMAGE), CENTRE, {**PLACE, "origin_mm": (1, 0)}, "origin_mm must be three"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    model: dsmt.Model, image: Any, positions: Any, options: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.predict(image, positions, **options)


def test_what_is_no_image_is_named_whatever_is_said_of_its_place(model: dsmt.Model) -> None:
    for image in (sitk.GetArrayFromImage(IMAGE).tolist(), torch.zeros(4, 4, 4), None):
        with pytest.raises(
            TypeError, match=r"An image is a SimpleITK image, a NumPy array.*; got (list|Tensor|NoneType)"
        ):
            model.predict(image, CENTRE, **PLACE)  # type: ignore[arg-type]


def test_other_intensities_can_be_forced(model: dsmt.Model) -> None:
    assert len(model.predict(IMAGE + 1024, CENTRE, force_intensities=True).nodules) == 1


def test_an_unknown_task_is_not_explained(model: dsmt.Model) -> None:
    with pytest.raises(ValueError, match="no task 'colour'"):
        model.explain(IMAGE, CENTRE, task="colour")


def test_a_covariate_unlike_those_of_the_training_is_told(folder: Path) -> None:
    own = dsmt.load_model(folder, folds="0", device="cpu", mirroring=False)
    head = own._predictor.networks[0].task_heads[1].wide
    head.mean[head.measured], head.scale[head.measured] = 63.0, 9.0
    doubts = {age: own.predict(IMAGE, CENTRE, covariates={"age": age}).case.doubts for age in (1960, 63)}
    assert doubts[1960] == doubts[63], "it does not count"
    head.weight[:, head.measured] = 0.1
    told = own.predict(IMAGE, CENTRE, covariates={"age": 1960}).case.doubts
    assert "age is 1960, and was 63 (standard deviation 9) in training, in years" in told[-1]
    for covariates in ({"age": 81}, {"sex": "male"}, {}):
        assert own.predict(IMAGE, CENTRE, covariates=covariates).case.doubts == doubts[63]
    with pytest.raises(TypeError, match="a mapping of name to value, got str"):
        own.predict(IMAGE, CENTRE, covariates="age")  # type: ignore[arg-type]


def test_a_device_that_there_is_not_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("gpu", "cuda:0"):
        with pytest.raises(ValueError, match=rf"one of \['cpu'.*got '{name}'"):
            dsmt.load_model(folder, device=name)


def test_covariates_are_told_for_all_nodules_or_for_each(model: dsmt.Model) -> None:
    assert [own.name for own in model.covariates] == ["age", "sex"]
    positions = {"left": CENTRE, "right": (CENTRE[0] + 3, CENTRE[1], CENTRE[2])}
    for given, left, right in (
        (None, {"age": None, "sex": None}, {"age": None, "sex": None}),
        ({"age": 63}, {"age": 63.0, "sex": None}, {"age": 63.0, "sex": None}),
        ({"left": {"sex": "male"}}, {"age": None, "sex": "male"}, {"age": None, "sex": None}),
    ):
        told = model.predict(IMAGE, positions, covariates=given).nodules
        assert [dict(nodule.covariates) for nodule in told] == [left, right]
    for wrong, message in (
        ({"cea": 3}, "no covariates of the model"),
        ({"age": "old"}, "finite number in years"),
        ({"top": {"age": 63}}, r"covariates name \['top'\], which are no nodules"),
        ({"left": {"age": 63}, "sex": "male"}, r"\['sex'\], which are no nodules"),
    ):
        with pytest.raises(ValueError, match=message):
            model.predict(IMAGE, positions, covariates=wrong)


def test_what_is_searched_for_is_told_of_the_patient(model: dsmt.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model._predictor, "_segment", lambda data, region=None: torch.stack([-data[0], data[0]]))
    assert model.predict(IMAGE, covariates={"age": 63}).nodules[0].covariates == {"age": 63.0, "sex": None}
    with pytest.raises(ValueError, match="searched for"):
        model.predict(IMAGE, covariates={"1": {"age": 63}})


def test_the_table_of_the_input_folder_tells_them(model: dsmt.Model, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    sitk.WriteImage(IMAGE, str(source / "c_0000.nii.gz"))
    x, y, z = CENTRE
    (source / "nodules.csv").write_text(f"case_id,x_mm,y_mm,z_mm,age\nc,{x},{y},{z},63\n")
    model._predictor.predict_from_files_sequential(str(source), str(tmp_path / "out"))
    assert read_case(tmp_path / "out" / "c.json").nodules[0].covariates == {"age": 63.0, "sex": None}
    (source / "nodules.csv").write_text(f"case_id,x_mm,y_mm,z_mm,sex\nc,{x},{y},{z},x\n")
    with pytest.raises(ValueError, match="case 'c': covariate sex is 'x'"):
        model._predictor.predict_from_files_sequential(str(source), str(tmp_path / "other"))


@pytest.mark.parametrize("case_id", ["plans", "../../evil", "", "a/b"])
def test_a_case_is_called_what_a_file_may_be_called(model: dsmt.Model, case_id: str) -> None:
    with pytest.raises(ValueError, match="a case_id"):
        model.predict(IMAGE, CENTRE, case_id=case_id)


@pytest.mark.parametrize("unit", [0.1, 0.001, 100])
def test_a_voxel_size_in_another_unit_is_refused(model: dsmt.Model, unit: float) -> None:
    image = sitk.Image(IMAGE)
    image.SetSpacing([value * unit for value in IMAGE.GetSpacing()])
    with pytest.raises(ValueError, match="Is it in cm or m"):
        model.predict(image, image.TransformIndexToPhysicalPoint((18, 22, 8)))


@pytest.mark.parametrize(
    "place",
    [
        {"direction": (2, 0, 0, 0, 1, 0, 0, 0, 1)},
        {"direction": (1, 0, 0)},
        {"origin_mm": (0, 0)},
        {"origin_mm": (np.nan, 0, 0)},
    ],
)
def test_where_an_array_lies_must_be_a_place(model: dsmt.Model, place: dict[str, Any]) -> None:
    known = {"spacing_mm": IMAGE.GetSpacing(), "origin_mm": IMAGE.GetOrigin()}
    with pytest.raises(ValueError, match=r"direction must|origin_mm must"):
        model.predict(sitk.GetArrayFromImage(IMAGE), CENTRE, **{**known, **place})


def test_complex_numbers_are_no_image(model: dsmt.Model) -> None:
    array = sitk.GetArrayFromImage(IMAGE).astype(complex)
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(IMAGE)
    with pytest.raises(ValueError, match="one real number"):
        model.predict(image, CENTRE)


def test_spacing_in_the_order_of_the_array_is_doubted(model: dsmt.Model) -> None:
    array = sitk.GetArrayFromImage(IMAGE)
    assert model.predict(array, CENTRE, **PLACE).case.doubts == ()
    swapped = model.predict(array, CENTRE, spacing_mm=IMAGE.GetSpacing()[::-1], origin_mm=IMAGE.GetOrigin())
    assert any("1.5 x 1 mm across the body and 1 mm along it" in doubt for doubt in swapped.case.doubts)


def test_an_image_whose_slices_are_stored_otherwise_is_not_doubted(model: dsmt.Model) -> None:
    turned = sitk.PermuteAxes(IMAGE, (2, 0, 1))
    assert turned.GetSpacing() != IMAGE.GetSpacing()
    assert model.predict(turned, CENTRE).case.doubts == ()


def test_predictions_replace_no_reference_masks(model: dsmt.Model, tmp_path: Path) -> None:
    (tmp_path / "labelsTs").mkdir()
    (tmp_path / "dataset.json").write_text("{}")
    prediction = model.predict(IMAGE, CENTRE, case_id="c")
    with pytest.raises(ValueError, match="folder of nnU-Net's own"):
        prediction.write(tmp_path / "labelsTs")
    with pytest.raises(ValueError, match="is a file"):
        prediction.write(tmp_path / "dataset.json")
    assert list((tmp_path / "labelsTs").iterdir()) == []
