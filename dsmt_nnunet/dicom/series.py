"""From the slices of a CT series to one volume in HU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from dsmt_nnunet.dicom.export import Export, Series, StoredObject, read_export
from dsmt_nnunet.dicom.planes import PlaneHeader, check_planes, plane_headers
from dsmt_nnunet.dicom.scan_source import ScanSource
from dsmt_nnunet.dicom.slice_grid import SliceGrid

CT = "CT"
LOCALIZER = "LOCALIZER"

AIR_HU = -1024
_SCANNER_RANGE_HU = (-1024.0, 3071.0)
"""What a 12 bit CT measures. A padding value inside of it cannot be told from tissue and is left as it is."""


@dataclass(frozen=True)
class CtVolume:
    """One CT volume.

    Attributes:
        image: 3-D, HU, int16 where all values are whole numbers that fit, else float32; its third axis rises along the
            normal of the slices.
        source: its slices in the archive, in the order of the image's third axis.
        series: where it comes from.
    """

    image: sitk.Image
    source: ScanSource
    series: Series

    @property
    def grid(self) -> SliceGrid:
        """Where its voxels lie."""
        return SliceGrid(
            series=self.series,
            sop_uids=self.source.sop_uids,
            size=self.image.GetSize(),
            spacing_mm=self.image.GetSpacing(),
            origin_mm=np.array(self.image.GetOrigin()),
            axes=np.array(self.image.GetDirection()).reshape(3, 3),
        )


@dataclass(frozen=True)
class _Plane:
    """One slice with its pixels, (Y, X) as stored."""

    header: PlaneHeader
    stored: NDArray[np.integer]

    def hu(self) -> NDArray[np.float32]:
        """(Y, X) in HU, padding as air."""
        header = self.header
        values = self.stored.astype(np.float32) * np.float32(header.slope) + np.float32(header.intercept)
        if header.padding is not None:
            low, high = sorted(limit * header.slope + header.intercept for limit in header.padding)
            if high < _SCANNER_RANGE_HU[0] or low > _SCANNER_RANGE_HU[1]:
                values[(self.stored >= min(header.padding)) & (self.stored <= max(header.padding))] = AIR_HU
        return values


def is_localizer(item: StoredObject) -> bool:
    """Whether an image is a localizer (scout, topogram)."""
    kinds = item.header.get("ImageType")
    return kinds is not None and LOCALIZER in ([kinds] if isinstance(kinds, str) else list(kinds))


def ct_series(export: Export) -> tuple[Series, ...]:
    """The CT series of an export, without localizers."""
    kept = []
    for series in export.series:
        images = tuple(item for item in series.objects if not is_localizer(item) and "Rows" in item.header)
        images = tuple(filter(_is_ct, images)) or images  # a screen shot among them is none
        if series.modality == CT and images:
            kept.append(replace(series, objects=images))
    return tuple(kept)


def _is_ct(item: StoredObject) -> bool:
    return item.header.SOPClassUID in (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)


def read_ct(series: Series) -> CtVolume:
    """Reads a CT series, single frames or a multi-frame (enhanced) object.

    Slices are ordered by their position; rescale slope and intercept are those of each slice. Padding that lies outside
    of what a scanner measures becomes -1024 HU.

    Args:
        series: as `ct_series` gives it.

    Raises:
        ValueError: no grey-scale CT with rising densities, slices of different size or orientation, missing or doubled
            slices, a tilted gantry, or pixels that cannot be decoded.
    """
    planes: list[_Plane] = []
    for item in series.objects:
        with item.named(series.where):
            planes += _planes(item, series)
    order, distance_mm = check_planes(series, [plane.header for plane in planes])
    planes = [planes[index] for index in order]
    first = planes[0].header
    array = np.stack([plane.hu() for plane in planes])
    if all(plane.header.is_whole for plane in planes) and np.abs(array).max() <= np.iinfo(np.int16).max:
        image = sitk.GetImageFromArray(array.astype(np.int16))
    else:
        image = sitk.GetImageFromArray(array)
    axes = [first.orientation[:3], first.orientation[3:], first.normal]
    image.SetOrigin(first.position_mm.tolist())
    image.SetSpacing((first.spacing_mm[1], first.spacing_mm[0], distance_mm))
    image.SetDirection(np.column_stack(axes).ravel().tolist())
    return CtVolume(image, _source(series, [plane.header for plane in planes]), series)


def read_only_ct(folder: Path) -> CtVolume:
    """Reads the CT of a folder that holds one CT series; localizers and other modalities may lie beside it.

    Args:
        folder: of one scan, as an archive exported it.

    Raises:
        ValueError: no DICOM object, no or several CT series, or one that `read_ct` refuses.
    """
    export = read_export(folder)
    found = ct_series(export)
    if len(found) != 1:
        kinds = ", ".join(f"{one.modality or 'unknown modality'}, {len(one.objects)} files" for one in export.series)
        raise ValueError(
            f"{folder} holds {len(found)} CT series (of {len(export.series)} series: {kinds}); one is needed. Keep "
            f"only the series that the mask was drawn on, or convert the whole export with 'dsmt convert dicom'."
        )
    return read_ct(found[0])


def _source(series: Series, planes: Sequence[PlaneHeader]) -> ScanSource:
    return ScanSource(
        study_uid=series.study_uid,
        series_uid=series.uid,
        frame_of_reference_uid=series.text("FrameOfReferenceUID"),
        series_number=series.text("SeriesNumber"),
        sop_uids=tuple(plane.archived.sop_uid for plane in planes),
        numbers=tuple(plane.archived.number for plane in planes),
        table_mm=tuple(plane.archived.table_mm for plane in planes),
        positions_mm=tuple(_triple(plane.position_mm) for plane in planes),
    )


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    first, second, third = values.tolist()
    return first, second, third


def _planes(item: StoredObject, series: Series) -> list[_Plane]:
    dataset = item.read()
    headers = plane_headers(item, series, dataset)
    pixels = _pixels(dataset, item, series)
    return [_Plane(header, stored) for header, stored in zip(headers, pixels, strict=True)]


def _pixels(dataset: Dataset, item: StoredObject, series: Series) -> NDArray[np.integer]:
    """(frames, Y, X), as stored."""
    try:
        pixels = np.asarray(dataset.pixel_array)
    except (RuntimeError, ValueError, AttributeError, NotImplementedError) as error:
        syntax = dataset.file_meta.TransferSyntaxUID.name
        raise ValueError(
            f"{series.where}: the pixels of {item.name} ({syntax}) cannot be read: {error}. For compressed images "
            f"install the decoders: pip install 'dsmt-nnunet[dicom]'."
        ) from error
    return pixels[None] if pixels.ndim == 2 else pixels
