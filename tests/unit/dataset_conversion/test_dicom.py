from __future__ import annotations

import itertools
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dsmt_nnunet.dataset_conversion.dicom import read_series

UID = "1.2.826.0.1.3680043.10.1"
_numbers = itertools.count(1)


def write_series(
    folder: Path,
    positions: Sequence[tuple[float, float, float]],
    modality: str = "CT",
    series: int = 1,
) -> None:
    """Writes one slice a position, named in no order of use."""
    folder.mkdir(exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for index, position in enumerate(positions):
        number = next(_numbers)
        piece = sitk.GetImageFromArray(np.full((1, 6, 8), index - 800, np.int16))
        piece.SetSpacing((0.5, 0.5, 3.0))
        tags = {
            "0008|0018": f"{UID}.{series}.{number}",
            "0008|0060": modality,
            "0020|000d": UID,
            "0020|000e": f"{UID}.{series}",
            "0020|0013": str(index),
            "0020|0032": "\\".join(map(str, position)),
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0028|1052": "0",
            "0028|1053": "1",
        }
        for key, value in tags.items():
            piece.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{1000 - number}.dcm"))
        writer.Execute(piece)


def stack(heights: Sequence[float], shift: float = 0.0) -> list[tuple[float, float, float]]:
    return [(-10.0, 5.0 + shift * index, height) for index, height in enumerate(heights)]


def test_slices_are_sorted_by_position(tmp_path: Path) -> None:
    write_series(tmp_path, stack([10, 4, 7, 1]))
    image = read_series(tmp_path)
    assert image.GetSize() == (8, 6, 4)
    assert image.GetSpacing() == pytest.approx((0.5, 0.5, 3.0))
    assert image.GetOrigin() == pytest.approx((-10, 5, 1))
    assert sitk.GetArrayFromImage(image)[:, 0, 0].tolist() == [-797, -799, -798, -800]


def test_the_only_ct_series_is_taken(tmp_path: Path) -> None:
    write_series(tmp_path, stack([1, 2]), series=1)
    write_series(tmp_path, stack([1, 2, 3]), modality="PT", series=2)
    assert read_series(tmp_path).GetSize() == (8, 6, 2)


def test_several_ct_series_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path, stack([1, 2]), series=1)
    write_series(tmp_path, stack([1, 2, 3]), series=2)
    with pytest.raises(ValueError, match=r"holds 2 DICOM series \(CT, [23] files, CT, [23] files\), 2 of them CT"):
        read_series(tmp_path)


def test_no_series(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ValueError, match="holds no DICOM series"):
        read_series(tmp_path)


@pytest.mark.parametrize("heights", [[1, 4, 10, 13], [1, 4, 4, 7, 10]])
def test_missing_and_doubled_slices(tmp_path: Path, heights: list[float]) -> None:
    write_series(tmp_path, stack(heights))
    with pytest.raises(ValueError, match="do not form a regular stack"):
        read_series(tmp_path)


def test_gantry_tilt(tmp_path: Path) -> None:
    write_series(tmp_path, stack([1, 4, 7, 10], shift=1.0))
    with pytest.raises(ValueError, match="sheared against each other by 3 mm"):
        read_series(tmp_path)


def test_a_folder_as_a_hospital_exports_it(shared_data: Path, tmp_path: Path) -> None:
    """CT, structure set, plan and dose side by side."""
    with tarfile.open(shared_data / "ct-dicom" / "LUNG1-003.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    folder = next(path.parent for path in tmp_path.rglob("*.dcm"))
    image = read_series(folder)
    assert len(list(folder.iterdir())) == 110
    assert image.GetSize() == (512, 512, 107)
    assert image.GetSpacing() == pytest.approx((0.977, 0.977, 3.0), abs=1e-3)


def test_positions_with_one_decimal_are_a_regular_stack_of_the_mean_distance(tmp_path: Path) -> None:
    write_series(tmp_path, stack([round(0.625 * index, 1) for index in range(9)]))
    assert read_series(tmp_path).GetSpacing()[2] == pytest.approx(5.0 / 8)


def test_a_slice_is_missing_whatever_the_rounding(tmp_path: Path) -> None:
    write_series(tmp_path, stack([round(0.625 * index, 1) for index in range(9) if index != 4]))
    with pytest.raises(ValueError, match="regular stack"):
        read_series(tmp_path)
