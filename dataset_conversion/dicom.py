"""Reading the one CT series of a folder as a hospital exports it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dsmt_nnunet.dicom.series import distance_tolerance_mm

_MODALITY = "0008|0060"
_POSITION = "0020|0032"


def read_series(folder: Path) -> sitk.Image:
    """Reads a DICOM folder; where it holds several series, the only one of modality CT.

    Objects that are not images (structure sets, plans) may lie beside the slices.

    Raises:
        ValueError: no series, no or several CT series, an unreadable one, or slices that do not form a regular stack.
    """
    files = _only_series(folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    reader.MetaDataDictionaryArrayUpdateOn()
    try:
        image: sitk.Image = reader.Execute()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"{folder}: the DICOM series cannot be read ({reason}).") from error
    positions = _positions(reader, len(files)) if len(files) > 1 else None
    if positions is not None:
        distance_mm = _check_stack(folder, positions, image)
        image.SetSpacing((*image.GetSpacing()[:2], distance_mm))
    return image


def _only_series(folder: Path) -> tuple[str, ...]:
    series: dict[str, tuple[str, ...]] = {
        series_id: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series_id)
        for series_id in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    }
    if not series:
        raise ValueError(
            f"{folder} holds no DICOM series. Put the slices directly into it, or name the image in a column 'image'."
        )
    ct = [files for files in series.values() if _modality(files[0]) == "CT"]
    if len(ct) == 1:
        return ct[0]
    if len(series) == 1:
        return next(iter(series.values()))
    kinds = ", ".join(f"{_modality(files[0])}, {len(files)} files" for files in series.values())
    raise ValueError(
        f"{folder} holds {len(series)} DICOM series ({kinds}), {len(ct)} of them CT; one CT series is needed. Keep "
        f"only the series that the mask was drawn on."
    )


def _modality(file: str) -> str:
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return "unreadable"
    return reader.GetMetaData(_MODALITY).strip() if reader.HasMetaDataKey(_MODALITY) else "unknown modality"


def _positions(reader: sitk.ImageSeriesReader, count: int) -> NDArray[np.float64] | None:
    """ImagePositionPatient of every slice, (slices, 3), in mm, LPS; None where slices lack it."""
    if not all(reader.HasMetaDataKey(index, _POSITION) for index in range(count)):
        return None
    texts = [reader.GetMetaData(index, _POSITION) for index in range(count)]
    return np.array([[float(value) for value in text.split("\\")] for text in texts])


def _check_stack(folder: Path, positions: NDArray[np.float64], image: sitk.Image) -> float:
    """Distance of the slices in mm, the mean over the stack: single ones are rounded."""
    normal = np.array(image.GetDirection()).reshape(3, 3)[:, 2]
    distances = np.abs(np.diff(positions, axis=0) @ normal)
    usual = float(np.median(distances))
    if usual == 0 or np.max(np.abs(distances - usual)) > distance_tolerance_mm(positions, usual):
        raise ValueError(
            f"{folder}: the slices do not form a regular stack: they lie {distances.min():.3g} to "
            f"{distances.max():.3g} mm apart, usually {usual:.3g}. Slices are missing or doubled; export the series "
            f"again."
        )
    path = positions[-1] - positions[0]
    drift = float(np.linalg.norm(path - (path @ normal) * normal))
    if drift > min(image.GetSpacing()[:2]):
        raise ValueError(
            f"{folder}: the slices are sheared against each other by {drift:.3g} mm over the stack (gantry tilt). "
            f"Resample the series to a straight grid first."
        )
    return float(distances.mean())
