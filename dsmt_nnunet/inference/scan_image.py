"""A scan in memory, as nnU-Net's readers give it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dsmt_nnunet.image_files import check_scan_file, voxel_checksum
from dsmt_nnunet.intensities import Window, check_scan

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ScanImage:
    """A scan before anything was done to it.

    Attributes:
        array: (C, Z, Y, X) in the units of the file; its axes are those of the reader that the plans name.
        properties: what that reader notes: spacing, and where the scan lies in the world.
        doubts: what is possible of it, but should be looked at; see `checked`.
    """

    array: Array
    properties: Mapping[str, Any]
    doubts: tuple[str, ...] = ()

    @classmethod
    def read(cls, files: Sequence[str], plans_manager: PlansManager) -> ScanImage:
        """Reads the files of a case, one a channel, as in training.

        Raises:
            ValueError: a file is damaged or no volume, or the channels lie on different grids.
            FileNotFoundError: there is no such file.
        """
        for file in files:
            check_scan_file(file)
        try:
            return cls(*plans_manager.image_reader_writer_class().read_images(list(files)))
        except RuntimeError as error:
            raise ValueError(f"{', '.join(files)} cannot be read: {error}") from error

    def checked(
        self, windows: Sequence[Window], points_mm: Sequence[Sequence[float]] = (), *, force: bool = False
    ) -> ScanImage:
        """The same scan with its doubts, CT channels being in HU, and a nodule possible at each of some positions.

        Args:
            windows: of each channel, in HU; None for other modalities, which may hold anything finite.
            points_mm: world points (x, y, z).
            force: take intensities that do not look like HU.

        Raises:
            ValueError: they are not, or none can.
        """
        return replace(self, doubts=tuple(check_scan(self.array, self.properties, windows, points_mm, force=force)))

    @property
    def checksum(self) -> str:
        """Of the voxels: tells one image from another."""
        return voxel_checksum(self.array)

    @classmethod
    def of_channels(cls, channels: Sequence[sitk.Image], plans_manager: PlansManager) -> ScanImage:
        """Takes 3-D images, one a channel, all on the same grid.

        A model whose reader is not SimpleITK's may expect other axes: then the images pass through that reader.

        Raises:
            ValueError: the channels lie on different grids.
        """
        first = channels[0]
        if any(not _same_grid(first, other) for other in channels[1:]):
            raise ValueError("The channels of a scan must have the same size, spacing, origin and direction.")
        if issubclass(plans_manager.image_reader_writer_class, SimpleITKIO):
            array = np.stack([sitk.GetArrayFromImage(channel) for channel in channels])
            place = {"spacing": first.GetSpacing(), "origin": first.GetOrigin(), "direction": first.GetDirection()}
            return cls(array.astype(np.float32), {"sitk_stuff": place, "spacing": list(first.GetSpacing()[::-1])})
        with tempfile.TemporaryDirectory() as folder:
            files = [str(Path(folder) / f"scan_{number:04d}.nii") for number in range(len(channels))]
            for channel, file in zip(channels, files, strict=True):
                sitk.WriteImage(channel, file)
            return cls.read(files, plans_manager)

    def label_image(self, labels: Array, grid: sitk.Image, plans_manager: PlansManager) -> sitk.Image:
        """Labels of this scan as an image.

        Args:
            labels: (Z, Y, X) in the axes of `array`.
            grid: the image that the scan was taken from.
            plans_manager: of the model.
        """
        if issubclass(plans_manager.image_reader_writer_class, SimpleITKIO):
            image = sitk.GetImageFromArray(labels)
            image.CopyInformation(grid)
            return image
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "labels.nii.gz")
            plans_manager.image_reader_writer_class().write_seg(labels, file, dict(self.properties))
            return sitk.ReadImage(file)


def _same_grid(one: sitk.Image, other: sitk.Image) -> bool:
    return bool(
        one.GetSize() == other.GetSize()
        and np.allclose(one.GetSpacing(), other.GetSpacing())
        and np.allclose(one.GetOrigin(), other.GetOrigin())
        and np.allclose(one.GetDirection(), other.GetDirection())
    )
