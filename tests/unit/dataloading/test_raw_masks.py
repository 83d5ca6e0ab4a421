"""What a hand-made mask must be, whoever preprocessed it: nnU-Net looks at its voxels alone."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from dsmt_nnunet.dataloading.raw_masks import check_nodules, check_scans, read_mask
from dsmt_nnunet.image_files import scan_digest
from dsmt_nnunet.nodules import Nodule, NoduleTable

SIZE = 16


def mask_array(value: float = 1) -> np.ndarray:
    array = np.zeros((SIZE, SIZE, SIZE), np.float32)
    array[4:8, 5:9, 6:11] = value
    return array


def image_of(array: np.ndarray, **geometry: Any) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.get("spacing", (0.8, 0.8, 1.5)))
    image.SetOrigin(geometry.get("origin", (-20.0, 30.0, -100.0)))
    return image


def read(folder: Path, mask: sitk.Image | bytes) -> np.ndarray:
    scan, drawn = folder / "scan.nii.gz", folder / "a.nii.gz"
    sitk.WriteImage(image_of(mask_array() * 900 - 850), str(scan))
    if isinstance(mask, bytes):
        drawn.write_bytes(mask)
    else:
        sitk.WriteImage(mask, str(drawn))
    array, properties = SimpleITKIO().read_images([str(scan)])
    return read_mask(str(drawn), (0, 1), SimpleITKIO(), array.shape[1:], properties)


def test_a_mask_of_its_image_is_read(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(tmp_path, image_of(mask_array())), mask_array())


def test_an_empty_mask_is_one(tmp_path: Path) -> None:
    assert not read(tmp_path, image_of(mask_array(0))).any()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (image_of(mask_array(0.999)), r"holds \[0.999\], but dataset.json declares the labels \[0, 1\]"),
        (image_of(mask_array(255)), r"holds \[255.0\]"),
        (image_of(mask_array(-1)), r"holds \[-1.0\]"),
        (sitk.DICOMOrient(image_of(mask_array()), "RPI"), "does not lie on its image: corners are"),
        (image_of(mask_array(), spacing=(0.8, 0.8, 1.6)), "does not lie on its image"),
        (image_of(mask_array(), origin=(0.0, 0.0, 0.0)), "does not lie on its image"),
        (image_of(mask_array()[1:]), r"has \(15, 16, 16\) voxels \(z, y, x\), its image \(16, 16, 16\)"),
    ],
)
def test_what_is_no_mask_of_the_image_is_refused(tmp_path: Path, mask: sitk.Image, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path, mask)


def test_a_mask_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    sitk.WriteImage(image_of(mask_array()), str(tmp_path / "whole.nii"))
    content = (tmp_path / "whole.nii").read_bytes()
    with pytest.raises(ValueError, match="cannot be read"):
        read(tmp_path, gzip.compress(content[:-2000]))


def test_a_mask_of_everything_is_no_nodule() -> None:
    image = (mask_array() * 900 - 850).astype(np.float32)
    stuff = {"spacing": (1.0, 1.0, 1.0), "origin": (0.0, 0.0, 0.0), "direction": tuple(np.eye(3).ravel())}
    properties = {"sitk_stuff": stuff, "spacing": [1.0, 1.0, 1.0]}
    assert check_nodules(image, mask_array(), properties, [(8.0, 7.0, 6.0)]) == []
    with pytest.raises(ValueError, match=r"the mask at \(8.0, 7.0, 6.0\): the nodule fills 100% of the image"):
        check_nodules(image, np.ones_like(image), properties, [(8.0, 7.0, 6.0)])


def table(*patients: str) -> NoduleTable:
    return NoduleTable(tuple(Nodule(f"c{n}", "1", who, (0.0, 0.0, 0.0)) for n, who in enumerate(patients)))


def test_a_scan_is_of_one_patient(caplog: pytest.LogCaptureFixture) -> None:
    scan = np.random.default_rng(0).integers(-1000, 400, (4, 5, 6)).astype(np.float32)
    same = scan.transpose(2, 0, 1)[::-1]
    scans = {"c0": scan_digest(scan), "c1": scan_digest(same), "c2": scan_digest(scan + 1), "c3": None, "c4": None}
    with pytest.raises(ValueError, match=r"'c0' \(patient 'P1'\) and 'c1' \(patient 'P2'\) hold the same voxels"):
        check_scans(scans, table("P1", "P2", "P3", "P4", "P5"))
    check_scans(scans, table("P1", "p-1", "P3", "P4", "P5"))
    assert "'c0' and 'c1' hold the same voxels" in caplog.text
