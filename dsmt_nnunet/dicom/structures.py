"""What was drawn on a CT, structure sets and segmentations, as masks on the grid of that CT."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dsmt_nnunet.dicom.contours import StructureMask, fill_contours
from dsmt_nnunet.dicom.export import Export, Series
from dsmt_nnunet.dicom.series import CtVolume
from dsmt_nnunet.dicom.texts import text_of

RTSTRUCT = "RTSTRUCT"
SEG = "SEG"
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
BINARY, FRACTIONAL, LABELMAP = "BINARY", "FRACTIONAL", "LABELMAP"

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
    check_frame(drawn_structures(series), ct.series, pattern)
    read = _rtstruct if series.modality == RTSTRUCT else _segmentation
    structures: list[StructureMask] = []
    for item in series.objects:
        with item.named(series.where):
            structures += read(item.read(), ct, pattern)
    return structures


@dataclass(frozen=True)
class DrawnStructure:
    """What is known of one structure without its pixels.

    Attributes:
        name: of the ROI or segment.
        frame_uid: of the frame of reference that it was drawn in, "" where it names none.
        kinds: of its contours, "" among them where one names none; None of a segment, whose pixels would tell.
    """

    name: str
    frame_uid: str
    kinds: frozenset[str] | None

    @property
    def is_closed(self) -> bool:
        """Whether a contour of it encloses anything; not known of a segment."""
        return self.kinds is not None and bool(self.kinds & set(CLOSED))


def drawn_structures(series: Series) -> list[DrawnStructure]:
    """The structures of a structure set or segmentation, those without any contour too."""
    found = []
    for item in series.objects:
        with item.named(series.where):
            dataset = item.read()
            contours = {
                int(own.ReferencedROINumber): frozenset(
                    str(contour.ContourGeometricType) for contour in own.get("ContourSequence") or ()
                )
                for own in dataset.get("ROIContourSequence") or ()
            }
            for roi in dataset.get("StructureSetROISequence") or ():
                frame = str(roi.get("ReferencedFrameOfReferenceUID") or "")
                found.append(
                    DrawnStructure(text_of(roi, "ROIName"), frame, contours.get(int(roi.ROINumber), frozenset()))
                )
            frame = str(dataset.get("FrameOfReferenceUID") or "")
            segments = dataset.get("SegmentSequence") or ()
            found += [DrawnStructure(text_of(segment, "SegmentLabel"), frame, None) for segment in segments]
    return found


def check_frame(structures: Sequence[DrawnStructure], ct: Series, pattern: str = "*") -> None:
    """Refuses structures of another frame of reference than the CT's: the same numbers are other places there.

    Raises:
        ValueError: one whose name matches; the message names both frames.
    """
    frame = ct.text("FrameOfReferenceUID")
    other = [one for one in structures if matches(one.name, pattern) and one.frame_uid not in ("", frame)]
    if frame and other:
        raise ValueError(
            f"{ct.where}: {[one.name for one in other]} were drawn in the frame of reference {other[0].frame_uid}, and "
            f"the CT is in {frame}, so that their coordinates do not compare. Were they drawn on an image that was "
            f"registered to the CT, or was a UID replaced in one of both? Export them together, on this CT."
        )


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
        name = text_of(roi, "ROIName")
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
    if kind not in (BINARY, FRACTIONAL, LABELMAP):
        raise ValueError(
            f"segmentations are {BINARY}, {FRACTIONAL} or {LABELMAP}, this one is {kind or 'not named'}; export it as "
            f"one of them."
        )
    pixels = np.asarray(dataset.pixel_array)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    inside = pixels / int(dataset.MaximumFractionalValue) >= FRACTION_INSIDE if kind == FRACTIONAL else pixels > 0
    shared = dataset.SharedFunctionalGroupsSequence[0]
    frames = dataset.PerFrameFunctionalGroupsSequence
    if len(frames) != len(inside):
        raise ValueError(f"the segmentation has {len(inside)} frames and places for {len(frames)}. Export it again.")
    described = {int(segment.SegmentNumber) for segment in dataset.SegmentSequence}
    of_frames = None if kind == LABELMAP else [_segment_number(frame, shared) for frame in frames]
    numbers = np.unique(pixels[pixels > 0]).tolist() if of_frames is None else of_frames
    if strange := set(numbers) - described:
        raise ValueError(f"frames belong to segments {sorted(strange)}, which it does not describe. Export it again.")
    for segment in dataset.SegmentSequence:
        name = text_of(segment, "SegmentLabel")
        if not matches(name, pattern):
            continue
        number = int(segment.SegmentNumber)
        columns, rows, slices = ct.image.GetSize()
        voxels = [
            _place(own, frame, shared, ct.image, name)
            for index, frame in enumerate(frames)
            if of_frames is None or of_frames[index] == number
            if (own := pixels[index] == number if of_frames is None else inside[index]).any()
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
