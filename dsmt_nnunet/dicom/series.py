"""From the slices of a CT series to one volume in HU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from dsmt_nnunet.dicom.export import Export, Series, StoredObject, read_export
from dsmt_nnunet.dicom.scan_source import ScanSource, SliceInArchive
from dsmt_nnunet.dicom.slice_grid import SliceGrid, check_stack, numbers_of

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
    """One slice: stored values and how they are turned into HU and placed."""

    stored: NDArray[np.integer]
    slope: float
    intercept: float
    padding: tuple[int, int] | None
    position_mm: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing_mm: tuple[float, float]
    archived: SliceInArchive

    @property
    def normal(self) -> NDArray[np.float64]:
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def looks(self) -> str:
        """Size, pixel spacing and orientation in words."""
        axes = np.round(self.orientation, 3).tolist()
        return f"{self.stored.shape[0]} x {self.stored.shape[1]} pixels of {self.spacing_mm} mm along {axes}"

    @cached_property
    def is_whole(self) -> bool:
        """Whether slope and intercept keep whole numbers whole."""
        return self.slope.is_integer() and self.intercept.is_integer()

    def hu(self) -> NDArray[np.float32]:
        """(Y, X) in HU, padding as air."""
        values = self.stored.astype(np.float32) * np.float32(self.slope) + np.float32(self.intercept)
        if self.padding is not None:
            low, high = sorted(limit * self.slope + self.intercept for limit in self.padding)
            if high < _SCANNER_RANGE_HU[0] or low > _SCANNER_RANGE_HU[1]:
                values[(self.stored >= min(self.padding)) & (self.stored <= max(self.padding))] = AIR_HU
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
            kept.append(Series(images))
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
    first = planes[0]
    _check_uniform(series, planes)
    normal = first.normal
    planes.sort(key=lambda plane: float(plane.position_mm @ normal))
    positions = np.array([plane.position_mm for plane in planes])
    distance_mm = check_stack(series, positions, normal, first.spacing_mm)
    array = np.stack([plane.hu() for plane in planes])
    if all(plane.is_whole for plane in planes) and np.abs(array).max() <= np.iinfo(np.int16).max:
        image = sitk.GetImageFromArray(array.astype(np.int16))
    else:
        image = sitk.GetImageFromArray(array)
    image.SetOrigin(positions[0].tolist())
    image.SetSpacing((first.spacing_mm[1], first.spacing_mm[0], distance_mm))
    image.SetDirection(np.column_stack([first.orientation[:3], first.orientation[3:], normal]).ravel().tolist())
    return CtVolume(image, _source(series, planes), series)


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


def _source(series: Series, planes: Sequence[_Plane]) -> ScanSource:
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


def _planes(item: StoredObject, series: Series) -> Iterator[_Plane]:
    dataset = item.read()
    kind = str(dataset.get("PhotometricInterpretation", ""))
    if kind != "MONOCHROME2":
        raise ValueError(
            f"{series.where}: {item.name} is {kind or 'of unknown photometric interpretation'}; a CT in HU is "
            f"MONOCHROME2 (brighter is denser). It is a screen shot or an inverted copy: export the original series."
        )
    pixels = _pixels(dataset, item, series)
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    if groups is None:
        if len(pixels) > 1:
            raise ValueError(f"{series.where}: {item.name} holds {len(pixels)} frames without their positions.")
        number = dataset.get("InstanceNumber")
        number = None if number is None else int(number)
        yield _plane(pixels[0], number, dataset, dataset, dataset, dataset, dataset, item, series)
        return
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for frame, (stored, own) in enumerate(zip(pixels, groups, strict=True), start=1):
        yield _plane(
            stored,
            frame,
            dataset,
            _group(own, shared, "PlanePositionSequence"),
            _group(own, shared, "PlaneOrientationSequence"),
            _group(own, shared, "PixelMeasuresSequence"),
            _group(own, shared, "PixelValueTransformationSequence"),
            item,
            series,
        )


def _group(own: Dataset, shared: Dataset, name: str) -> Dataset:
    """A functional group of a frame: its own, else the one that all frames share, else an empty one."""
    sequence = own.get(name) or shared.get(name)
    return sequence[0] if sequence else Dataset()


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


def _plane(
    stored: NDArray[np.integer],
    number: int | None,
    dataset: Dataset,
    position: Dataset,
    orientation: Dataset,
    measures: Dataset,
    transformation: Dataset,
    item: StoredObject,
    series: Series,
) -> _Plane:
    missing = [
        name
        for part, name, count in (
            (position, "ImagePositionPatient", 3),
            (orientation, "ImageOrientationPatient", 6),
            (measures, "PixelSpacing", 2),
            (transformation, "RescaleSlope", None),
            (transformation, "RescaleIntercept", None),
        )
        if (numbers_of(part, name, count) is None if count else part.get(name) in (None, ""))
    ]
    if missing:
        raise ValueError(
            f"{series.where}: {item.name} lacks {', '.join(missing)}, or holds no numbers there, without which it has "
            f"no place or no HU. Export the original series."
        )
    padding = dataset.get("PixelPaddingValue")
    row_mm, column_mm = (float(value) for value in measures.PixelSpacing)
    return _Plane(
        stored=stored,
        slope=float(transformation.RescaleSlope),
        intercept=float(transformation.RescaleIntercept),
        padding=None if padding is None else (int(padding), int(dataset.get("PixelPaddingRangeLimit", padding))),
        position_mm=np.array(position.ImagePositionPatient, float),
        orientation=np.array(orientation.ImageOrientationPatient, float),
        spacing_mm=(row_mm, column_mm),
        archived=SliceInArchive(str(dataset.SOPInstanceUID), number, _table_mm(dataset, position)),
    )


def _table_mm(dataset: Dataset, position: Dataset) -> float:
    location = dataset.get("SliceLocation")
    return float(position.ImagePositionPatient[2] if location is None else location)


def _check_uniform(series: Series, planes: Sequence[_Plane]) -> None:
    first = planes[0]
    for plane in planes[1:]:
        same = (
            plane.stored.shape == first.stored.shape
            and np.allclose(plane.orientation, first.orientation, atol=1e-3)
            and np.allclose(plane.spacing_mm, first.spacing_mm, rtol=1e-3)
        )
        if not same:
            raise ValueError(
                f"{series.where}: slices differ in size, pixel spacing or orientation: image {first.archived.number} "
                f"has {first.looks}, image {plane.archived.number} {plane.looks}. Is a localizer among them? Export "
                f"one reconstruction."
            )
