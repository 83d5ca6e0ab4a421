"""A small hospital: images, masks and a table on disk, each of which a test can spoil."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from dsmt_nnunet.dataset_conversion.problems import ConversionError
from dsmt_nnunet.dataset_conversion.table import convert_table

LUNG_HU = -850
TISSUE_HU = 30
SIZE = 10
SPACING = (1.0, 1.0, 2.0)
ORIGIN = (-50.0, 20.0, -300.0)


def to_image(
    array: np.ndarray,
    spacing: Sequence[float] = SPACING,
    origin: Sequence[float] = ORIGIN,
    direction: Sequence[float] | None = None,
) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    if direction is not None:
        image.SetDirection(direction)
    return image


def cube_mask(corner: int = 3, side: int = 3, value: int = 1) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE, SIZE), np.uint8)
    mask[(slice(corner, corner + side),) * 3] = value
    return mask


def lung(mask: np.ndarray) -> np.ndarray:
    """HU of tissue in lung, with a grain of 29 values."""
    grain = np.arange(mask.size).reshape(mask.shape) % 29
    return (np.where(mask > 0, TISSUE_HU, LUNG_HU) + grain - 14).astype(np.int16)


@dataclass
class Hospital:
    """Rows of a table, with an image and a mask for each case unless a test says otherwise."""

    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("images", "masks"):
            (self.folder / name).mkdir()

    def add(self, case_id: str = "a", pathology: str = "AIS", files: bool = True, **cells: Any) -> Hospital:
        """Adds a row; the files too, unless they are there."""
        self.rows.append({"case_id": case_id, "pathology": pathology, **cells})
        if files and not (self.folder / "images" / f"{case_id}.nii.gz").exists():
            self.put(case_id, cube_mask())
        return self

    def add_pair(self) -> Hospital:
        """Two ordinary cases, one of each class."""
        return self.add("a", "AIS").add("b", "IAC")

    def put(self, name: str, mask: np.ndarray, image: np.ndarray | None = None) -> None:
        own = lung(mask)
        own[-1, -1, -1] += zlib.crc32(name.encode()) % 100  # no two scans are the same
        self.put_image(f"{name}.nii.gz", own if image is None else image)
        self.put_mask(f"{name}.nii.gz", mask)

    def put_image(self, file: str, array: np.ndarray, **geometry: Any) -> Path:
        return self._write("images", file, array, geometry)

    def put_mask(self, file: str, array: np.ndarray, **geometry: Any) -> Path:
        return self._write("masks", file, array, geometry)

    def _write(self, kind: str, file: str, array: np.ndarray, geometry: dict[str, Any]) -> Path:
        path = self.folder / kind / file
        sitk.WriteImage(to_image(array, **geometry), str(path))
        return path

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    def write_table(self) -> Path:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        lines = [";".join(columns)] + [";".join(str(row.get(name, "")) for name in columns) for row in self.rows]
        path = self.folder / "labels.csv"
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    def convert(self, **options: Any) -> Path:
        return convert_table(
            self.write_table(),
            self.folder / "images",
            self.folder / "masks",
            501,
            "Nodules",
            raw_folder=self.raw,
            **options,
        )

    def problems(self, **options: Any) -> list[str]:
        """What the conversion complains about; nothing must have been written."""
        with pytest.raises(ConversionError) as caught:
            self.convert(**options)
        assert not self.raw.exists()
        return [str(problem) for problem in caught.value.problems]

    def problem(self, **options: Any) -> str:
        """The only problem."""
        (problem,) = self.problems(**options)
        return problem
