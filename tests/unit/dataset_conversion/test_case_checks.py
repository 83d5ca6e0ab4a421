"""Which nodule a row means, and whose scan an image is."""

from __future__ import annotations

import os
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dsmt_nnunet.dataset_conversion.problems import ConversionError
from dsmt_nnunet.nodules import NoduleTable
from tests.unit.dataset_conversion.hospital import Hospital, cube_mask, lung, to_image
from tests.unit.dataset_conversion.test_cases import written_mask


@pytest.mark.parametrize("flips", [(True, True, False), (False, False, True), (True, False, False)])
def test_a_mask_stored_along_other_axes_is_the_same_mask(hospital: Hospital, flips: tuple[bool, ...]) -> None:
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[1:4, 2:5, 5:9] = 1
    hospital.add_pair().put("a", mask)
    path = hospital.folder / "masks" / "a.nii.gz"
    flipped = sitk.PermuteAxes(sitk.Flip(sitk.ReadImage(str(path)), flips, False), [1, 0, 2])
    sitk.WriteImage(flipped, str(path))
    np.testing.assert_array_equal(written_mask(hospital.convert()), mask)


def test_an_oblique_mask_stays_where_it_is(hospital: Hospital) -> None:
    angle = np.radians(20)
    direction = (np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle), 0, 0, 0, 1)
    mask = cube_mask(2, 4)
    hospital.add_pair().put_mask("a.nii.gz", mask, direction=direction)
    hospital.put_image("a.nii.gz", lung(mask), direction=direction)
    np.testing.assert_array_equal(written_mask(hospital.convert()), mask)


@pytest.mark.parametrize("of_mm", [0.1, 1 / 25.4, 1000])
def test_diameters_in_another_unit_are_no_diameters_in_mm(hospital: Hospital, of_mm: float) -> None:
    hospital.add("a", "AIS", diameter_mm=4.5 * of_mm).add("b", "IAC", diameter_mm=5 * of_mm)
    assert "seem to be in another unit" in hospital.problem()


def test_a_mask_on_lung_is_doubtful(hospital: Hospital, caplog: pytest.LogCaptureFixture) -> None:
    image = lung(cube_mask(3, 3))
    hospital.add_pair().put("a", cube_mask(6, 3), image)
    hospital.convert()
    assert "as lung has" in caplog.text


def test_voxels_in_cm_are_refused(hospital: Hospital) -> None:
    hospital.add_pair()
    hospital.put_image("a.nii.gz", lung(cube_mask()), spacing=(0.1, 0.1, 0.2))
    hospital.put_mask("a.nii.gz", cube_mask(), spacing=(0.1, 0.1, 0.2))
    assert "Is it in cm or m" in hospital.problem()


def test_a_split_by_another_name_is_asked_for(hospital: Hospital) -> None:
    hospital.add_pair().add("c", "IAC")
    for row, word in zip(hospital.rows, ("train", "Training", "test"), strict=True):
        row["set"] = word
    assert "column 'set' holds" in hospital.problem()


def test_labels_of_a_mask_are_not_merged(hospital: Hospital) -> None:
    mask = cube_mask(1, 8, value=1)
    mask[4:6, 4:6, 4:6] = 2
    hospital.add_pair().put("a", mask)
    assert "holds the labels [1, 2] there" in hospital.problem()
    hospital.rows[0].update(x_mm=-46, y_mm=24, z_mm=-292)
    assert "holds the labels [1, 2] there" in hospital.problem()
    hospital.rows[0].update(mask_label=2)
    hospital.rows[1].update(mask_label=1)
    assert written_mask(hospital.convert()).sum() == 8


@pytest.mark.parametrize("position", [(9999, 9999, 9999), (46.0, -24.0, -292.0), (-41.0, 29.0, -282.0)])
def test_a_position_that_is_not_in_the_nodule_is_refused_with_a_label_too(
    hospital: Hospital, position: tuple[float, ...]
) -> None:
    hospital.add_pair()
    for row in hospital.rows:
        row.update(mask_label=1)
    hospital.rows[0].update(zip(("x_mm", "y_mm", "z_mm"), position, strict=True))
    assert "from label 1 of mask 'a', more than 5 mm" in hospital.problem()


@pytest.mark.parametrize(("cell", "value"), [("patient_id", "q"), ("split", "test")])
def test_one_scan_is_not_two_patients_and_not_in_two_splits(hospital: Hospital, cell: str, value: str) -> None:
    hospital.add_pair().add("c", "IAC", files=False, **{"patient_id": "a", "split": "train", cell: value})
    for row in hospital.rows[:2]:
        row.update(patient_id=row["case_id"], split="train")
    array = lung(cube_mask())
    array[-1, -1, -1] += 5
    hospital.put("a", cube_mask(), array)
    hospital.put("c", cube_mask(), array)
    assert any("has voxel by voxel the values of case 'a'" in problem for problem in hospital.problems())


def large(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A nodule of 7 x 7 x 7 voxels with a grain of its own in lung, (12, 12, 12), and its mask."""
    mask = np.zeros((12, 12, 12), np.uint8)
    mask[2:9, 2:9, 2:9] = 1
    grain = np.random.default_rng(seed).integers(-40, 40, mask.shape)
    return (np.where(mask, 30, -850) + grain).astype(np.int16), mask


@pytest.mark.parametrize("changed", ["axes", "cut"])
def test_a_scan_that_was_saved_otherwise_is_the_same_scan(hospital: Hospital, changed: str) -> None:
    for case_id, seed in (("a", 1), ("b", 2)):
        image, mask = large(seed)
        hospital.put(case_id, mask, image)
    image, mask = large(1)
    same = (image.transpose(2, 0, 1), mask.transpose(2, 0, 1)) if changed == "axes" else (image[1:], mask[1:])
    hospital.put("c", same[1], same[0])
    hospital.add("a", "AIS").add("b", "IAC").add("c", "IAC")
    problems = hospital.problems()
    assert all(problem.startswith("line 4, case 'c'") for problem in problems)
    assert "has voxel by voxel the values of case 'a'" in problems[0]


def test_a_scan_that_is_two_cases_of_a_patient_is_told(hospital: Hospital, caplog: pytest.LogCaptureFixture) -> None:
    for case_id in "abc":
        image, mask = large(0 if case_id == "b" else 1)
        hospital.put(case_id, mask, image)
        hospital.add(case_id, "AIS" if case_id == "a" else "IAC", patient_id=f"p{case_id == 'b'}")
    hospital.convert()
    assert "has voxel by voxel the values of case 'a'. One scan is one case." in caplog.text


def test_a_voxel_far_from_the_nodule_does_not_move_its_centre(
    hospital: Hospital, caplog: pytest.LogCaptureFixture
) -> None:
    image, mask = large(1)
    nodule = mask.copy()
    mask[11, 11, 0] = 1
    hospital.put("a", mask, image)
    hospital.add("a").add("b", "IAC")
    folder = hospital.convert()
    found = NoduleTable.read(folder / "nodules.csv").by_case()["a"][0]
    index = np.argwhere(nodule).mean(axis=0)[::-1]
    assert found.centre_mm == pytest.approx(to_image(image).TransformContinuousIndexToPhysicalPoint(index.tolist()))
    assert "1 voxels of its mask lie apart, up to 7 mm away" in caplog.text


def test_values_that_are_no_labels_are_not_taken_for_others(hospital: Hospital) -> None:
    hospital.add_pair().put_mask("a.nii.gz", cube_mask().astype(np.float64) * (2**32 + 1))
    assert "the mask holds 4.29497e+09, which is no label" in hospital.problem()


def test_two_images_of_a_case_are_not_chosen_between(hospital: Hospital) -> None:
    hospital.add_pair().put_image("a_0000.nii.gz", lung(cube_mask(2)))
    assert "'a' is ambiguous" in hospital.problem()


def test_accents_are_found_however_a_system_writes_them(hospital: Hospital) -> None:
    hospital.add("a", image="e\u0301").add("b", "IAC", image="b")
    (hospital.folder / "images" / "a.nii.gz").rename(hospital.folder / "images" / "\u00e9.nii.gz")
    assert hospital.convert().is_dir()


def test_further_channels_are_not_dropped(hospital: Hospital) -> None:
    hospital.add_pair()
    for case_id in "ab":
        (hospital.folder / "images" / f"{case_id}.nii.gz").rename(hospital.folder / "images" / f"{case_id}_0000.nii.gz")
    assert (hospital.convert() / "dataset.json").is_file()
    hospital.put_image("a_0001.nii.gz", lung(cube_mask()))
    with pytest.raises(ConversionError, match=r"further channels beside it \(a_0001\.nii\.gz\)"):
        hospital.convert(overwrite=True)


def test_a_folder_is_listed_once_however_many_cases_it_has(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    hospital.add_pair()
    listed, scandir = [], os.scandir

    def noted(path: Any = ".") -> Any:
        listed.append(os.path.basename(str(path)))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noted)
    monkeypatch.setattr(os, "listdir", lambda path=".": [entry.name for entry in noted(path)])
    hospital.convert()
    assert listed.count("images") == listed.count("masks") == 1


def test_a_table_reads_no_file_outside_of_its_folder(hospital: Hospital) -> None:
    hospital.add_pair()
    outside = hospital.folder / "elsewhere"
    outside.mkdir()
    (hospital.folder / "images" / "a.nii.gz").rename(outside / "scan.nii.gz")
    for name in ("../elsewhere/scan.nii.gz", str(outside / "scan"), "sub/../../elsewhere/scan"):
        hospital.rows[0].update(image=name)
        hospital.rows[1].update(image="b")
        assert "leads out of" in hospital.problem()
    hospital.rows[0].update(image="../elsewhere/scan.nii.gz")
    assert (hospital.convert(images_anywhere=True) / "dataset.json").is_file()


@pytest.mark.parametrize("modality", ["RTSTRUCT", "SEG"])
def test_a_structure_set_is_called_by_its_name(hospital: Hospital, modality: str) -> None:
    hospital.add_pair()
    (hospital.folder / "masks" / "a.nii.gz").unlink()
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, "1.2.840.10008.5.1.4.1.1.481.3"
    dataset = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    dataset.Modality, dataset.SOPInstanceUID = modality, "1.2.3"
    dataset.save_as(hospital.folder / "masks" / "a.dcm")
    assert f"is a DICOM {modality}, not an image" in hospital.problem()


def test_a_header_that_names_more_voxels_than_there_can_be_is_refused(hospital: Hospital) -> None:
    path = hospital.add_pair().folder / "images" / "a.nii"
    (hospital.folder / "images" / "a.nii.gz").unlink()
    header = nibabel.Nifti1Header()
    header.set_data_shape((32767, 32767, 32767))
    header.set_data_dtype(np.int16)
    path.write_bytes(header.binaryblock + bytes(4))
    assert "its header names" in hospital.problem()


@pytest.mark.parametrize("mask", ["no file", "zeros"])
def test_a_scan_without_a_nodule_is_a_case(hospital: Hospital, mask: str) -> None:
    hospital.add_pair().add("c", files=False, nodule_id="None", patient_id="P9", pathology="")
    hospital.put_image("c.nii.gz", lung(cube_mask(6)))  # a vessel
    if mask == "zeros":
        hospital.put_mask("c.nii.gz", np.zeros_like(cube_mask()))
    folder = hospital.convert()
    assert not written_mask(folder, "c").any()
    table = NoduleTable.read(folder / "nodules.csv")
    assert [(case.case_id, case.patient_id) for case in table.empty] == [("c", "P9")]
    assert len(table) == 2


def test_a_scan_without_a_nodule_shows_none_and_has_no_answer(hospital: Hospital) -> None:
    hospital.add_pair().add("c", nodule_id="none", pathology="")
    assert "says that the case holds no nodule, but 27 voxels of" in hospital.problem()
    hospital.rows[-1]["pathology"] = "IAC"
    assert any("the row has ['pathology']" in problem for problem in hospital.problems())
    hospital.rows[-1].update(pathology="", case_id="b")
    assert any("but it has 2 rows" in problem for problem in hospital.problems())
