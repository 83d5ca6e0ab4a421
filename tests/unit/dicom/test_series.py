from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.pixels.decoders import JPEGLSLosslessDecoder
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless

from dsmt_nnunet.dicom.export import read_export
from dsmt_nnunet.dicom.series import CtVolume, ct_series, read_ct, read_only_ct
from dsmt_nnunet.dicom.slice_grid import slice_distance_mm
from tests.unit.dicom.conftest import unpack
from tests.unit.dicom.made_series import base, set_pixels, volume, write_ct, write_enhanced_ct


def read(folder: Path) -> CtVolume:
    (series,) = ct_series(read_export(folder))
    return read_ct(series)


def test_slices_are_ordered_by_position_and_each_rescaled_by_its_own(tmp_path: Path) -> None:
    written = write_ct(tmp_path, intercepts=(-1024, -1000, 0, -24))
    result = read(tmp_path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.image), volume())
    assert result.image.GetPixelID() == sitk.sitkInt16
    assert result.image.GetSpacing() == pytest.approx((0.25, 0.5, 3.0))
    assert result.image.GetOrigin() == pytest.approx((-10, 5, 0))
    assert result.source.sop_uids == tuple(dataset.SOPInstanceUID for dataset in written)
    assert slice_distance_mm(result.series) == pytest.approx(3)


def test_itk_reads_the_same_volume(tmp_path: Path) -> None:
    orientation = (0, 1, 0, 0, 0, -1)
    write_ct(tmp_path, shear=0.0, orientation=orientation, heights=(0,) * 4)
    for index, dataset in enumerate(write_ct(tmp_path, orientation=orientation, heights=(0,) * 4)):
        dataset.ImagePositionPatient = [-10 - 2.5 * index, 5, 7]
        dataset.save_as(tmp_path / f"1-{3 - index}", enforce_file_format=True)
    ours = read(tmp_path).image
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    theirs = reader.Execute()
    for index in ((0, 0, 0), (7, 5, 3), (2, 1, 3)):
        point = theirs.TransformIndexToPhysicalPoint(index)
        assert ours[ours.TransformPhysicalPointToIndex(point)] == theirs[index]


@pytest.mark.parametrize("shared_rescale", [True, False])
def test_multi_frame_ct(tmp_path: Path, shared_rescale: bool) -> None:
    write_enhanced_ct(tmp_path / "multi", shared_rescale=shared_rescale)
    result = read(tmp_path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.image), volume(3) // 2 * 2)
    assert result.image.GetSpacing() == pytest.approx((0.25, 0.5, 3.0))


def test_localizers_and_other_modalities_are_set_aside(tmp_path: Path) -> None:
    write_ct(tmp_path, series=1)
    write_ct(tmp_path, series=2, heights=(0, 1), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_ct(tmp_path, series=3, Modality="PT")
    plan = base("1.2.3.4", "1.2.840.10008.5.1.4.1.1.481.5", series=4)
    plan.save_as(tmp_path / "plan", enforce_file_format=True)
    assert read(tmp_path).image.GetSize() == (8, 6, 4)


def test_a_missing_slice_is_found_by_its_position(tmp_path: Path) -> None:
    write_ct(tmp_path, heights=(0, 3, 9, 12, 15))
    with pytest.raises(ValueError, match="between 3 and 9 mm they lie 6 mm apart, usually 3"):
        read(tmp_path)


def test_two_phases_in_one_series(tmp_path: Path) -> None:
    write_ct(tmp_path, heights=(0, 3, 3, 6))
    with pytest.raises(ValueError, match="two slices lie at the same position"):
        read(tmp_path)


def test_gantry_tilt(tmp_path: Path) -> None:
    write_ct(tmp_path, shear=0.5)
    with pytest.raises(ValueError, match=r"sheared against each other by 1\.5 mm .* \(gantry tilt\)"):
        read(tmp_path)


def test_inverted_images(tmp_path: Path) -> None:
    write_ct(tmp_path, PhotometricInterpretation="MONOCHROME1")
    with pytest.raises(ValueError, match="is MONOCHROME1; a CT in HU is MONOCHROME2"):
        read(tmp_path)


def test_no_rescale(tmp_path: Path) -> None:
    write_ct(tmp_path, RescaleIntercept=None)
    with pytest.raises(ValueError, match="lacks RescaleIntercept"):
        read(tmp_path)


def test_slices_of_another_size(tmp_path: Path) -> None:
    dataset = write_ct(tmp_path)[0]
    set_pixels(dataset, np.zeros((5, 8), np.int16))
    dataset.save_as(tmp_path / "1-3", enforce_file_format=True)
    with pytest.raises(ValueError, match="slices differ in size"):
        read(tmp_path)


def test_padding_is_air_and_a_padding_value_that_is_tissue_is_left(tmp_path: Path) -> None:
    hu = volume()
    hu[0, 0, 0] = -3024
    write_ct(tmp_path, hu=hu, PixelPaddingValue=-2000)
    assert read(tmp_path).image[0, 0, 0] == -1024
    write_ct(tmp_path, PixelPaddingValue=1024 - 900)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read(tmp_path).image), volume())


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("intercept", [-1024, 0], ids=["unsigned", "signed"])
def test_compressed_slices(tmp_path: Path, syntax: UID, intercept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """JPEG-LS is written by CharLS and read by libjpeg, which is what the extra `dicom` installs."""
    monkeypatch.setattr(
        JPEGLSLosslessDecoder, "_available", {"pylibjpeg": JPEGLSLosslessDecoder._available["pylibjpeg"]}
    )
    hu = np.tile(volume(), (1, 8, 8))  # JPEG-2000 halves an image five times
    for dataset in write_ct(tmp_path / "plain", hu=hu, intercepts=[intercept] * 4):
        if intercept:
            dataset.PixelRepresentation = 0
        dataset.compress(syntax, generate_instance_uid=False)
        (tmp_path / "compressed").mkdir(exist_ok=True)
        dataset.save_as(tmp_path / "compressed" / dataset.SOPInstanceUID, enforce_file_format=True)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read(tmp_path / "compressed").image), hu)


def test_a_fractional_slope_gives_float(tmp_path: Path) -> None:
    write_ct(tmp_path, RescaleSlope=0.5, RescaleIntercept=-1000.5)
    image = read(tmp_path).image
    assert image.GetPixelID() == sitk.sitkFloat32
    assert image[0, 0, 0] == pytest.approx((-900 + 1024) * 0.5 - 1000.5)


def test_positions_with_one_decimal_are_a_regular_stack(tmp_path: Path) -> None:
    heights = [round(0.625 * index, 1) for index in range(5)]
    write_ct(tmp_path / "whole", heights=heights)
    (series,) = ct_series(read_export(tmp_path / "whole"))
    assert read_ct(series).image.GetSpacing()[2] == pytest.approx(heights[-1] / 4)
    write_ct(tmp_path / "lacking", heights=[*heights[:2], *heights[3:]])
    (series,) = ct_series(read_export(tmp_path / "lacking"))
    with pytest.raises(ValueError, match="regular stack"):
        read_ct(series)


def test_the_only_ct_of_a_folder_is_taken(tmp_path: Path) -> None:
    write_ct(tmp_path, series=1)
    write_ct(tmp_path, series=2, Modality="PT", heights=(0, 1))
    assert read_only_ct(tmp_path).image.GetSize() == (8, 6, 4)
    write_ct(tmp_path, series=3, heights=(0, 1))
    with pytest.raises(ValueError, match=r"holds 2 CT series \(of 3 series: CT, 4 files, PT, 2 files, CT, 2 files\)"):
        read_only_ct(tmp_path)


def test_a_folder_without_dicom(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ValueError, match="holds no DICOM object"):
        read_only_ct(tmp_path)


def test_a_folder_as_a_hospital_exports_it(shared_data: Path, tmp_path: Path) -> None:
    """CT, structure set, plan and dose side by side."""
    folder = unpack(shared_data, "LUNG1-003", tmp_path).path
    image = read_only_ct(folder).image
    assert image.GetSize() == (512, 512, 107)
    assert image.GetSpacing() == pytest.approx((0.977, 0.977, 3.0), abs=1e-3)
