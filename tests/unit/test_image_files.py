from __future__ import annotations

import errno
import os
from pathlib import Path

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
