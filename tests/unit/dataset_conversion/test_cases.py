"""What is checked in the files, and which voxels become which nodule."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dsmt_nnunet.nodules import NoduleTable
from tests.unit.dataset_conversion.hospital import LUNG_HU, ORIGIN, SIZE, SPACING, Hospital, cube_mask, lung

CORNER = np.array(ORIGIN)


def centre_mm(corner: int, side: int) -> np.ndarray:
    """Centre of `cube_mask(corner, side)`."""
    return CORNER + (corner + (side - 1) / 2) * np.array(SPACING)


def nodules(folder: Path, case_id: str = "a") -> list[tuple[float, ...]]:
    return [nodule.centre_mm for nodule in NoduleTable.read(folder / "nodules.csv").by_case()[case_id]]


def written_mask(folder: Path, case_id: str = "a") -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labelsTr" / f"{case_id}.nii.gz")))


TWO = cube_mask(1, 2, 1) + cube_mask(6, 3, 2)


def test_missing_files(hospital: Hospital) -> None:
    hospital.add_pair().add("c", files=False)
    image, mask = hospital.problems()
    assert image.startswith("line 4, case 'c': there is no 'c' in")
    assert "images:" in image
    assert "masks:" in mask


def test_files_that_a_column_names(hospital: Hospital) -> None:
    hospital.add_pair().add("c", files=False, image="scan.mha", mask="drawn")
    hospital.put_image("scan.mha", lung(cube_mask()))
    hospital.put_mask("drawn.nrrd", cube_mask())
    assert {path.name for path in (hospital.convert() / "imagesTr").iterdir()} == {
        f"{name}_0000.nii.gz" for name in "abc"
    }


def test_ambiguous_files(hospital: Hospital) -> None:
    hospital.add_pair().put_image("a.mha", lung(cube_mask()))
    assert "'a' is ambiguous in" in (problem := hospital.problem())
    assert "['a.mha', 'a.nii.gz']" in problem


def test_an_image_in_two_files_is_one_image(hospital: Hospital) -> None:
    hospital.add_pair()
    (hospital.folder / "images" / "a.nii.gz").unlink()
    hospital.put_image("a.img", lung(cube_mask()))
    assert {path.name for path in (hospital.folder / "images").glob("a.*")} == {"a.hdr", "a.img"}
    hospital.convert()


@pytest.mark.parametrize("file", ["a.nii.gz", "a.nii", "a.mha", "a.nrrd"])
@pytest.mark.filterwarnings("ignore")
def test_files_that_were_cut_off(hospital: Hospital, file: str) -> None:
    hospital.add_pair()
    (hospital.folder / "images" / "a.nii.gz").unlink()
    noise = np.random.default_rng(0).normal(-500, 300, (SIZE, SIZE, SIZE)).astype(np.int16)
    path = hospital.put_image(file, noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert f"{file} cannot be read (" in hospital.problem()


def test_files_that_are_no_images(hospital: Hospital) -> None:
    hospital.add_pair()
    (hospital.folder / "masks" / "a.nii.gz").write_text("not found")
    assert "a.nii.gz cannot be read (" in hospital.problem()


def test_one_image_is_one_case(hospital: Hospital) -> None:
    hospital.add_pair().add("c", image="a.nii.gz")
    assert "is the image of case 'a' too" in hospital.problem()


def test_4d_images(hospital: Hospital) -> None:
    hospital.add_pair()
    volume = sitk.ReadImage(str(hospital.folder / "images" / "a.nii.gz"))
    sitk.WriteImage(sitk.JoinSeries([volume, volume]), str(hospital.folder / "images" / "a.nii.gz"))
    assert "a.nii.gz is 4-D (size (10, 10, 10, 2))" in hospital.problem()


def test_a_fourth_axis_of_length_one_is_dropped(hospital: Hospital) -> None:
    hospital.add_pair()
    path = str(hospital.folder / "images" / "a.nrrd")
    volume = sitk.ReadImage(str(hospital.folder / "images" / "a.nii.gz"))
    (hospital.folder / "images" / "a.nii.gz").unlink()
    sitk.WriteImage(sitk.JoinSeries([volume]), path)
    assert sitk.ReadImage(path).GetDimension() == 4
    hospital.convert()


def test_2d_images(hospital: Hospital) -> None:
    hospital.add_pair().put_image("a.nii.gz", np.full((8, 8), -800, np.int16), spacing=(1, 1), origin=(0, 0))
    assert "is 2-D" in hospital.problem()


def test_colour_images(hospital: Hospital) -> None:
    hospital.add_pair()
    colour = sitk.GetImageFromArray(np.zeros((SIZE, SIZE, SIZE, 3), np.uint8), isVector=True)
    sitk.WriteImage(colour, str(hospital.folder / "images" / "a.nii.gz"))
    assert "3 components" in hospital.problem()


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        ({"spacing": (1.01, 1.0, 2.0)}, "spacing (image (1, 1, 2), mask (1.01, 1, 2))"),
        ({"origin": (-50.0, 20.0, -300.1)}, "origin (image (-50, 20, -300), mask (-50, 20, -300.1))"),
    ],
)
def test_masks_on_another_grid(hospital: Hospital, geometry: dict[str, tuple[float, ...]], message: str) -> None:
    hospital.add_pair().put_mask("a.nii.gz", cube_mask(), **geometry)
    problem = hospital.problem()
    assert f"not on the grid of its image: {message} differ by more than 0.05 mm" in problem


def test_masks_of_another_size(hospital: Hospital) -> None:
    hospital.add_pair().put_mask("a.nii.gz", cube_mask()[1:])
    assert "size (image (10, 10, 10), mask (10, 10, 9))" in hospital.problem()


def test_masks_with_another_direction(hospital: Hospital) -> None:
    path = hospital.add_pair().put_mask("a.nii.gz", cube_mask())
    mask = sitk.ReadImage(str(path))
    mask.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(mask, str(path))
    assert "origin (image (-50, 20, -300), mask (-59, 11, -300))" in hospital.problem()


def test_a_grid_that_differs_by_rounding_is_the_same_grid(hospital: Hospital) -> None:
    hospital.add_pair().put_mask("a.nii.gz", cube_mask(), spacing=(1.0004, 1.0, 2.0), origin=(-50.01, 20.0, -300.0))
    assert (hospital.convert() / "dataset.json").is_file()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (cube_mask() * 0, "the mask is empty"),
        (cube_mask() * 0 + 1, "has no background"),
        (cube_mask() * 0.37, "not whole numbers (such as 0.37)"),
        (cube_mask().astype(np.int16) - 1, "negative values (down to -1)"),
        (np.where(cube_mask() > 0, np.nan, 0), "27 voxels are NaN or infinite"),
    ],
)
def test_values_of_masks(hospital: Hospital, mask: np.ndarray, message: str) -> None:
    hospital.add_pair().put_mask("a.nii.gz", mask)
    assert message in hospital.problem()


def ramp(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, SIZE**3, dtype=np.float32).reshape(SIZE, SIZE, SIZE)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (ramp(-800, -800), "the image is constant (-800)"),
        (ramp(0, 1), "from 0 to 1, but lung lies below -200 HU. It looks normalised to 0..1"),
        (ramp(0, 255), "It looks like an 8-bit export"),
        (ramp(0, 4095), "rescale intercept (usually -1024) seems not to be applied"),
        (ramp(-2.5, 3), "It looks normalised (mean 0"),
        (ramp(-2000, -900), "voxels above -500 HU"),
        (ramp(-5000, 1000), "outside of -4096 to 32767"),
        (ramp(-1000, 40000), "outside of -4096 to 32767"),
    ],
)
def test_values_that_cannot_be_hu(hospital: Hospital, image: np.ndarray, message: str) -> None:
    hospital.add_pair().put_image("a.nii.gz", image)
    assert message in hospital.problem()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("file", ["a.nii.gz", "a.mha"])
def test_images_with_values_that_are_no_numbers(hospital: Hospital, file: str, value: float) -> None:
    hospital.add_pair()
    (hospital.folder / "images" / "a.nii.gz").unlink()
    hospital.put_image(file, np.where(cube_mask() > 0, value, LUNG_HU))
    assert "27 voxels are NaN or infinite" in hospital.problem()


@pytest.mark.parametrize("padding", [-1024, -2048, -3024])
def test_padding_is_left_as_it_is(hospital: Hospital, padding: int) -> None:
    image = lung(cube_mask())
    image[0] = padding
    hospital.add_pair().put_image("a.nii.gz", image)
    written = sitk.ReadImage(str(hospital.convert() / "imagesTr" / "a_0000.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), image)


def test_the_whole_mask_of_a_single_row_is_the_nodule(hospital: Hospital) -> None:
    hospital.add_pair().put_mask("a.nii.gz", cube_mask(2, 4, 3))
    folder = hospital.convert()
    np.testing.assert_allclose(nodules(folder)[0], centre_mm(2, 4))
    np.testing.assert_array_equal(written_mask(folder), cube_mask(2, 4))


def test_positions_follow_the_direction_of_the_image(hospital: Hospital) -> None:
    direction = (0.0, -1.0, 0.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0)
    mask = np.zeros((SIZE, SIZE, SIZE), np.uint8)
    mask[1:3, 4:7, 7:9] = 1
    mask[8, 4, 1] = 1
    centre_xyz = np.array([7.5, 5.0, 1.5])
    expected = CORNER + np.reshape(direction, (3, 3)) @ (centre_xyz * SPACING)
    hospital.add("b", "IAC").add("a", **dict(zip(("x_mm", "y_mm", "z_mm"), expected, strict=True)))
    hospital.put("a", mask)
    for kind in ("images", "masks"):
        path = str(hospital.folder / kind / "a.nii.gz")
        volume = sitk.ReadImage(path)
        volume.SetDirection(direction)
        sitk.WriteImage(volume, path)
    np.testing.assert_allclose(nodules(hospital.convert())[0], expected)


def test_mask_labels_choose_the_nodules_and_leave_the_other_labels_out(hospital: Hospital) -> None:
    hospital.add("a", "AIS", mask_label=2).add("a", "IAC", mask_label="1.0")
    organ = np.zeros_like(TWO)
    organ[0, 0, 0] = 9
    hospital.put_mask("a.nii.gz", TWO + organ)
    folder = hospital.convert()
    np.testing.assert_allclose(nodules(folder), [centre_mm(6, 3), centre_mm(1, 2)])
    np.testing.assert_array_equal(written_mask(folder), TWO > 0)


def test_a_mask_label_that_does_not_occur(hospital: Hospital) -> None:
    hospital.add("a", mask_label=1).add("b", "IAC", mask_label=5)
    assert "mask_label 5 does not occur in mask 'b'; it holds [1]" in hospital.problem()


def test_positions_choose_the_components(hospital: Hospital) -> None:
    for position, pathology in ((centre_mm(6, 3) + 0.4, "AIS"), (centre_mm(1, 2) - (4, 0, 0), "IAC")):
        hospital.add("a", pathology, **dict(zip(("x_mm", "y_mm", "z_mm"), position, strict=True)))
    hospital.put_mask("a.nii.gz", np.minimum(TWO, 1))
    folder = hospital.convert()
    np.testing.assert_allclose(nodules(folder), [centre_mm(6, 3), centre_mm(1, 2)])
    np.testing.assert_array_equal(written_mask(folder), TWO > 0)


def test_a_position_chooses_one_nodule_of_a_mask_and_the_others_stay_in_it(hospital: Hospital) -> None:
    x, y, z = centre_mm(6, 3)
    hospital.add_pair().rows[0].update(x_mm=x, y_mm=y, z_mm=z)
    hospital.put_mask("a.nii.gz", TWO)
    folder = hospital.convert()
    np.testing.assert_allclose(nodules(folder), [centre_mm(6, 3)])
    np.testing.assert_array_equal(written_mask(folder), TWO > 0)


def test_a_position_far_from_the_mask(hospital: Hospital) -> None:
    x, y, z = centre_mm(6, 3)
    hospital.add_pair().rows[0].update(x_mm=-x, y_mm=-y, z_mm=z)
    hospital.put_mask("a.nii.gz", TWO)
    assert (
        "mm from the nearest part of mask 'a', more than 5 mm. Positions are x, y, z in mm, LPS" in hospital.problem()
    )


def test_masks_of_their_own(hospital: Hospital) -> None:
    hospital.add("a", "AIS", mask="one").add("a", "IAC", mask="two")
    hospital.put_mask("one.nii.gz", cube_mask(1, 2))
    hospital.put_mask("two.nii.gz", cube_mask(6, 3))
    folder = hospital.convert()
    np.testing.assert_allclose(nodules(folder), [centre_mm(1, 2), centre_mm(6, 3)])
    np.testing.assert_array_equal(written_mask(folder), TWO > 0)


def test_nodules_do_not_share_voxels(hospital: Hospital) -> None:
    hospital.add("a", "AIS", mask="one").add("a", "IAC", mask="two")
    hospital.put_mask("one.nii.gz", cube_mask(1, 3))
    hospital.put_mask("two.nii.gz", cube_mask(3, 3))
    assert "line 3, case 'a': nodule '2' shares 1 voxels with nodule '1' (line 2)" in hospital.problem()


def test_diameter_is_the_one_given_or_that_of_a_sphere_of_the_same_volume(hospital: Hospital) -> None:
    hospital.add("a", "AIS", diameter_mm="4,5").add("b", "IAC", diameter_mm="")
    diameters = [nodule.diameter_mm for nodule in NoduleTable.read(hospital.convert() / "nodules.csv").nodules]
    volume_mm3 = 27 * 2
    assert diameters == pytest.approx([4.5, 2 * (volume_mm3 * 3 / 4 / np.pi) ** (1 / 3)], abs=0.005)


@pytest.mark.parametrize(
    ("cells", "mask", "message"),
    [
        ({"diameter_mm": 1.4}, cube_mask(), "diameter_mm is 1.4, but the mask has the volume of a sphere of 4.7 mm"),
        ({}, TWO > 0, "the mask falls into parts, the largest holds 77% of it"),
    ],
)
def test_what_the_user_should_look_at(
    hospital: Hospital, caplog: pytest.LogCaptureFixture, cells: dict[str, float], mask: np.ndarray, message: str
) -> None:
    hospital.add_pair().rows[0].update(cells)
    hospital.put("a", mask.astype(np.uint8))
    with caplog.at_level(logging.WARNING):
        hospital.convert()
    (text,) = caplog.messages
    assert message in text


def test_touching_nodules_are_pointed_out(hospital: Hospital, caplog: pytest.LogCaptureFixture) -> None:
    hospital.add("a", "AIS", mask_label=1).add("a", "IAC", mask_label=2)
    hospital.put("a", cube_mask(1, 3, 1) + cube_mask(4, 3, 2))
    hospital.convert()
    assert caplog.messages == [
        "case 'a': nodules '1' and '2' touch, so that they are one component of the written mask."
    ]


def test_one_component_far_from_the_position_is_not_the_nodule(hospital: Hospital) -> None:
    hospital.add("a", "AIS", x_mm=9999, y_mm=9999, z_mm=9999).add("b", "IAC", x_mm="", y_mm="", z_mm="")
    assert "mm from the nearest part" in hospital.problem()


def test_a_mask_on_air_is_refused(hospital: Hospital) -> None:
    hospital.add_pair()
    image = lung(cube_mask()).copy()
    image[cube_mask() > 0] = -1000
    image[:2] = 30
    hospital.put_image("a.nii.gz", image)
    assert "no tissue" in hospital.problem()


def test_look_alike_patients_are_a_question_and_across_splits_an_error(hospital: Hospital) -> None:
    hospital.add("a", "AIS", patient_id="A01").add("b", "IAC", patient_id="a01")
    assert "look like one person" in hospital.problem()
    folder = hospital.convert(look_alike_patients="same")
    assert {row["patient_id"] for row in csv.DictReader((folder / "nodules.csv").open())} == {"A01"}
    folder = hospital.convert(look_alike_patients="different", overwrite=True)
    assert {row["patient_id"] for row in csv.DictReader((folder / "nodules.csv").open())} == {"A01", "a01"}


def test_look_alike_patients_in_train_and_test_are_refused(hospital: Hospital) -> None:
    hospital.add("a", "AIS", patient_id="1", split="train").add("c", "IAC", patient_id="3", split="train")
    hospital.add("b", "IAC", patient_id="01", split="test")
    assert "train and in test" in hospital.problem(look_alike_patients="different")
