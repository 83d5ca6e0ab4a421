from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from dsmt_nnunet import image_files


def image(value: int = 7) -> sitk.Image:
    return sitk.GetImageFromArray(np.full((4, 5, 6), value, np.int16))


def test_an_image_comes_back_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    image_files.write_image(path, image())
    assert image_files.is_whole_image(path)
    image_files.check_whole_image(path)
    assert [found.name for found in tmp_path.iterdir()] == ["a.nii.gz"]


def test_a_full_disk_that_shows_only_when_flushed_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        image_files.write_image(tmp_path / "a.nii.gz", image())
    assert not list(tmp_path.iterdir())


def test_voxels_that_come_back_otherwise_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = sitk.WriteImage

    def failing(written: sitk.Image, path: str) -> None:
        write(image(0), path)

    monkeypatch.setattr(sitk, "WriteImage", failing)
    with pytest.raises(OSError, match="other voxels"):
        image_files.write_image(tmp_path / "a.nii.gz", image())
    assert not list(tmp_path.iterdir())


def test_half_an_image_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    noise = np.random.default_rng(0).integers(0, 1000, (20, 20, 20)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path))
    assert image_files.is_whole_image(path)
    path.write_bytes(path.read_bytes()[:3000])
    assert not image_files.is_whole_image(path)
    path.write_bytes(b"")
    assert not image_files.is_whole_image(path)
    with pytest.raises(OSError, match="not written whole"):
        image_files.check_whole_image(path)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_a_nifti_file_is_whole_to_its_last_voxel(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    noise = np.random.default_rng(0).integers(0, 1000, (20, 20, 20)).astype(np.int16)
    image_files.write_image(path, sitk.GetImageFromArray(noise))
    image_files.check_image_file(path)
    content = gzip.decompress(path.read_bytes()) if ending == ".nii.gz" else path.read_bytes()
    path.write_bytes(gzip.compress(content[:-1]) if ending == ".nii.gz" else content[:-1])
    with pytest.raises(ValueError, match="cannot be read"):
        image_files.check_image_file(path)


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:-5] + b"12345"])
def test_the_checksum_at_the_end_of_a_compressed_file_is_looked_at(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "a.nii.gz"
    image_files.write_image(path, image())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="cannot be read"):
        image_files.check_image_file(path)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd"])
def test_a_header_that_names_more_voxels_than_a_scan_has_is_damaged(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_files, "MOST_VOXELS", 119)
    image_files.write_image(tmp_path / f"a{ending}", image())
    with pytest.raises(ValueError, match="names 120 voxels"):
        image_files.check_image_file(tmp_path / f"a{ending}")


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (42, b"\xff\xff"),
        (42, b"\xff\x7f\xff\x7f\xff\x7f"),
        (70, b"\xff\xff"),
        (108, b"\0\0\xc0\x7f"),
        (108, b"\xff\xff\x7f\x7f"),
    ],
    ids=["negative side", "huge sides", "type", "offset that is no number", "huge offset"],
)
@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_a_damaged_header_is_told_with_its_file(at: int, value: bytes, ending: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    image_files.write_image(path, image())
    content = bytearray(path.read_bytes())
    content[at : at + len(value)] = value
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    with pytest.raises(ValueError, match=path.name):
        image_files.check_image_file(path)
    assert not image_files.is_whole_image(path)


@pytest.mark.parametrize("read", [image_files.read_image, image_files.read_mask])
def test_what_a_file_lacks_is_not_read_as_zeros(tmp_path: Path, read: Callable[[Path], sitk.Image]) -> None:
    noise = np.random.default_rng(0).integers(0, 200, (40, 50, 60)).astype(np.uint8)
    path = tmp_path / "a.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path))
    assert (sitk.GetArrayFromImage(read(path)) == noise).all()
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.raises(ValueError, match=r"a\.nii\.gz cannot be read .* Is it complete"):
        read(path)


@pytest.mark.parametrize("voxels", [np.full((4, 5, 6), -1000, np.int16), np.full((4, 5, 6), 0.5, np.float32)])
def test_a_ct_and_probabilities_are_no_mask(tmp_path: Path, voxels: np.ndarray) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / "a.nii.gz"))
    with pytest.raises(ValueError, match="is no mask: labels are whole numbers"):
        image_files.read_mask(tmp_path / "a.nii.gz")


def nifti(path: Path, pixdim: float = 1.0, size: float = 1.0, shift: float = 0.0) -> Path:
    """An image whose sform differs from its qform as told."""
    qform, sform = np.diag([1.0, 1.0, 2.0, 1.0]), np.diag([1.0, 1.0, 2.0 * size, 1.0])
    sform[0, 3] = shift
    own = nibabel.Nifti1Image(np.arange(120, dtype=np.int16).reshape(4, 5, 6), qform)
    own.set_qform(qform, 1)
    own.set_sform(sform, 1)
    content = bytearray(own.to_bytes())
    content[76 + 12 : 76 + 16] = np.float32(2.0 * pixdim).tobytes()
    path.write_bytes(gzip.compress(bytes(content)))
    return path


def test_a_header_that_says_one_thing_is_fine(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image_files.check_image_file(nifti(tmp_path / "a.nii.gz", shift=0.4))
    assert not caplog.text


@pytest.mark.parametrize("pixdim", [0.0, -1.0, np.nan])
def test_a_voxel_size_that_is_none_is_refused(tmp_path: Path, pixdim: float) -> None:
    with pytest.raises(ValueError, match="its header gives the voxel size"):
        image_files.check_image_file(nifti(tmp_path / "a.nii.gz", pixdim))


def test_a_header_of_two_voxel_sizes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"two voxel sizes, .*2\.0\] \(qform\) and .*4\.0\] mm \(sform\)"):
        image_files.check_image_file(nifti(tmp_path / "a.nii.gz", size=2.0))


def test_a_header_of_two_places_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image_files.check_image_file(nifti(tmp_path / "a.nii.gz", shift=50.0))
    assert "two places that are 50 mm apart" in caplog.text
