"""What was drawn on a CT, structure sets and segmentations, as masks on the grid of that CT."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dsmt_nnunet.dicom.contours import StructureMask, fill_contours
from dsmt_nnunet.dicom.export import Export, Series
from dsmt_nnunet.dicom.series import CtVolume

RTSTRUCT = "RTSTRUCT"
SEG = "SEG"
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")

FRACTION_INSIDE = 0.5
"""Voxels of a fractional segmentation count from this share (or probability) on."""
GRID_TOLERANCE = 0.05
"""How far voxels of a segmentation may lie from those of the CT, in voxels."""


def structures_of(export: Export, ct: Series) -> tuple[Series, ...]:
    """Structure sets and segmentations that refer to a CT series by its UID.

    Those that name no series are taken where they share the CT's frame of reference.
    """
    frame = ct.text("FrameOfReferenceUID")
    return tuple(
        series
        for series in export.series
        if series.modality in (RTSTRUCT, SEG)
        and (
            ct.uid in series.referenced_series
            or (
                not series.referenced_series
                and frame
                and series.text("FrameOfReferenceUID") == frame
                and series.patient_id == ct.patient_id
            )
        )
    )


def read_structures(series: Series, ct: CtVolume, pattern: str = "*") -> list[StructureMask]:
    """Reads the structures of one series whose names match a pattern.

    Args:
        series: of modality RTSTRUCT or SEG.
        ct: the CT on which they were drawn.
        pattern: as `matches` has it.

    Raises:
        ValueError: another modality, or a structure that does not fit the CT; the message names it.
    """
    if series.modality not in (RTSTRUCT, SEG):
        raise ValueError(f"{series.where}: modality {series.modality} holds no structures; {RTSTRUCT} and {SEG} do.")
    read = _rtstruct if series.modality == RTSTRUCT else _segmentation
    structures: list[StructureMask] = []
    for item in series.objects:
        with item.named(series.where):
            structures += read(item.read(), ct, pattern)
    return structures


def structure_names(series: Series) -> list[str]:
    """Names of the structures of a series, those without any contour too."""
    names = []
    for item in series.objects:
        with item.named(series.where):
            dataset = item.read()
            names += [str(roi.get("ROIName", "")) for roi in dataset.get("StructureSetROISequence") or ()]
            names += [str(segment.get("SegmentLabel", "")) for segment in dataset.get("SegmentSequence") or ()]
    return names


def contoured_names(series: Series) -> list[str]:
    """Names of the structures of a structure set that have a contour; none of segmentations: pixels would tell."""
    names = []
    for item in series.objects:
        with item.named(series.where):
            dataset = item.read()
            contours = dataset.get("ROIContourSequence") or ()
            drawn = {int(own.ReferencedROINumber) for own in contours if _has_contour(own)}
            rois = dataset.get("StructureSetROISequence") or ()
            names += [str(roi.get("ROIName", "")) for roi in rois if int(roi.ROINumber) in drawn]
    return names


def _has_contour(roi: Dataset) -> bool:
    return any(contour.ContourGeometricType in CLOSED for contour in roi.get("ContourSequence") or ())


def matches(name: str, pattern: str) -> bool:
    """Whether a name matches a pattern: `*` stands for anything, `|` for or; upper and lower case are the same."""
    parts = (".*".join(re.escape(piece) for piece in part.strip().split("*")) for part in pattern.split("|"))
    return re.fullmatch("|".join(parts), name.strip(), re.IGNORECASE) is not None


def _rtstruct(dataset: Dataset, ct: CtVolume, pattern: str) -> Iterator[StructureMask]:
    contours = {
        int(item.ReferencedROINumber): item.get("ContourSequence") or ()
        for item in dataset.get("ROIContourSequence") or ()
    }
    for roi in dataset.get("StructureSetROISequence") or ():
        name = str(roi.get("ROIName", ""))
        closed = [
            _points_mm(contour, name)
            for contour in contours.get(int(roi.ROINumber), ())
            if contour.ContourGeometricType in CLOSED
        ]
        if closed and matches(name, pattern):
            yield fill_contours(closed, ct.image, name)


def _points_mm(contour: Dataset, name: str) -> NDArray[np.float64]:
    """(N, 3), the corners of a contour."""
    values = np.array(contour.ContourData, float)
    if len(values) % 3 or not np.isfinite(values).all():
        raise ValueError(
            f"structure '{name}': a contour holds {len(values)} values, which are not three numbers a point. Export it "
            f"again."
        )
    return values.reshape(-1, 3)


def _segmentation(dataset: Dataset, ct: CtVolume, pattern: str) -> Iterator[StructureMask]:
    kind = str(dataset.get("SegmentationType", ""))
    if kind not in ("BINARY", "FRACTIONAL"):
        raise ValueError(
            f"segmentations are BINARY or FRACTIONAL, this one is {kind or 'not named'}; export it as one of them."
        )
    pixels = np.asarray(dataset.pixel_array)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    inside = pixels > 0 if kind == "BINARY" else pixels / int(dataset.MaximumFractionalValue) >= FRACTION_INSIDE
    shared = dataset.SharedFunctionalGroupsSequence[0]
    frames = dataset.PerFrameFunctionalGroupsSequence
    if len(frames) != len(inside):
        raise ValueError(f"the segmentation has {len(inside)} frames and places for {len(frames)}. Export it again.")
    described = {int(segment.SegmentNumber) for segment in dataset.SegmentSequence}
    if strange := {_segment_number(frame, shared) for frame in frames} - described:
        raise ValueError(f"frames belong to segments {sorted(strange)}, which it does not describe. Export it again.")
    for segment in dataset.SegmentSequence:
        name = str(segment.get("SegmentLabel", ""))
        if not matches(name, pattern):
            continue
        number = int(segment.SegmentNumber)
        columns, rows, slices = ct.image.GetSize()
        voxels = [
            _place(frame_inside, frame, shared, ct.image, name)
            for frame_inside, frame in zip(inside, frames, strict=True)
            if _segment_number(frame, shared) == number and frame_inside.any()
        ]
        found = np.unique(np.concatenate(voxels), axis=0) if voxels else np.zeros((0, 3), np.intp)
        yield StructureMask(name, found, (slices, rows, columns))


def _segment_number(frame: Dataset, shared: Dataset) -> int:
    identified = frame.get("SegmentIdentificationSequence") or shared.SegmentIdentificationSequence
    return int(identified[0].ReferencedSegmentNumber)


def _place(
    inside: NDArray[np.bool_], frame: Dataset, shared: Dataset, image: sitk.Image, name: str
) -> NDArray[np.intp]:
    """Voxels of the CT, (N, 3), z, y, x, that are the pixels of one frame."""
    rows, columns = np.nonzero(inside)
    position = np.array((frame.get("PlanePositionSequence") or shared.PlanePositionSequence)[0].ImagePositionPatient)
    axes = np.array(
        (frame.get("PlaneOrientationSequence") or shared.PlaneOrientationSequence)[0].ImageOrientationPatient, float
    )
    spacing = (frame.get("PixelMeasuresSequence") or shared.PixelMeasuresSequence)[0].PixelSpacing
    points_mm = (
        position.astype(float)
        + columns[:, None] * float(spacing[1]) * axes[:3]
        + rows[:, None] * float(spacing[0]) * axes[3:]
    )
    to_voxel = np.linalg.inv(np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing()))
    voxels = (points_mm - np.array(image.GetOrigin())) @ to_voxel.T
    index: NDArray[np.intp] = np.rint(voxels).astype(np.intp)
    step = np.abs(to_voxel @ np.column_stack([float(spacing[1]) * axes[:3], float(spacing[0]) * axes[3:]]))
    if np.abs(voxels - index).max() > GRID_TOLERANCE or np.abs(step.max(axis=0) - 1).max() > 1e-3:
        raise ValueError(
            f"segment '{name}' is not on the grid of the CT (its pixels are {[float(value) for value in spacing]} mm, "
            f"the CT's voxels {[round(value, 4) for value in image.GetSpacing()]} mm). Export it on the CT's grid."
        )
    if index.min() < 0 or np.any(index >= np.array(image.GetSize())):
        raise ValueError(f"segment '{name}' reaches beyond the CT. Was it drawn on another series?")
    return index[:, ::-1]
