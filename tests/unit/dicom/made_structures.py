"""Structure sets, segmentations and LIDC readings on the series of `made_series`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from dsmt_nnunet.dicom.series import CtVolume
from tests.unit.dicom.made_series import FIRST_MM, ROOT, SPACING_MM, base

Contour = tuple[float, Sequence[tuple[float, float]]]
"""Height in mm and corners in voxels (x, y)."""


def write_rtstruct(
    path: Path, ct: CtVolume, structures: Mapping[str, Sequence[Contour]], kind: str = "CLOSED_PLANAR"
) -> None:
    """A structure set that refers to the series of `ct`."""
    patient = ct.series.patient_id
    uid = f"{ROOT}.6.{sum(map(ord, patient))}"
    dataset = base(uid, RTStructureSetStorage, series=90, patient=patient, Modality="RTSTRUCT")
    dataset.StudyInstanceUID = ct.series.study_uid
    dataset.ReferencedFrameOfReferenceSequence = DicomSequence([_reference(ct.series.uid)])
    rois, drawn = [], []
    for number, (name, contours) in enumerate(structures.items(), start=1):
        roi, item = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        item.ReferencedROINumber = number
        item.ContourSequence = DicomSequence([_contour(height, corners, kind) for height, corners in contours])
        rois.append(roi)
        drawn.append(item)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = DicomSequence(rois), DicomSequence(drawn)
    dataset.save_as(path, enforce_file_format=True)


def _reference(series_uid: str) -> Dataset:
    frame, study, series = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = series_uid
    study.RTReferencedSeriesSequence = DicomSequence([series])
    frame.RTReferencedStudySequence = DicomSequence([study])
    return frame


def _contour(height: float, corners: Sequence[tuple[float, float]], kind: str) -> Dataset:
    contour = Dataset()
    contour.ContourGeometricType = kind
    contour.NumberOfContourPoints = len(corners)
    contour.ContourData = [
        value
        for x, y in corners
        for value in (FIRST_MM[0] + x * SPACING_MM[1], FIRST_MM[1] + y * SPACING_MM[0], height)
    ]
    return contour


def write_seg(
    path: Path,
    ct: CtVolume,
    frames: Sequence[tuple[int, float, NDArray[np.uint8]]],
    fractional: bool = False,
    spacing: Sequence[float] = SPACING_MM,
    labelmap: bool = False,
) -> None:
    """A segmentation: segment number, height in mm and (6, 8) pixels of each frame; segments `first` and `second`.

    In a labelmap the pixels are numbers of segments, and those of the frames are left out.
    """
    dataset = base(f"{ROOT}.7", SegmentationStorage, series=91, Modality="SEG")
    dataset.PatientID = ct.series.patient_id
    dataset.SegmentationType = "LABELMAP" if labelmap else "FRACTIONAL" if fractional else "BINARY"
    pixels = np.stack([frame for _, _, frame in frames])
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    bits = 8 if fractional or labelmap else 1
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    if fractional or labelmap:
        dataset.MaximumFractionalValue = 200
        dataset.PixelData = pixels.tobytes()
    else:
        dataset.PixelData = np.packbits(pixels.ravel(), bitorder="little").tobytes()
    source = Dataset()
    source.SeriesInstanceUID = ct.series.uid
    dataset.ReferencedSeriesSequence = DicomSequence([source])
    segments = []
    for number, label in ((1, "first"), (2, "second")):
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = number, label
        segments.append(segment)
    dataset.SegmentSequence = DicomSequence(segments)
    measures, axes, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, axes.ImageOrientationPatient = list(spacing), [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = DicomSequence([measures]), DicomSequence([axes])
    dataset.SharedFunctionalGroupsSequence = DicomSequence([shared])
    groups = []
    for number, height, _ in frames:
        group, place, identified = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [*FIRST_MM, height]
        identified.ReferencedSegmentNumber = number
        group.PlanePositionSequence = DicomSequence([place])
        if not labelmap:
            group.SegmentIdentificationSequence = DicomSequence([identified])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence(groups)
    dataset.save_as(path, enforce_file_format=True)


def lidc_xml(
    ct: CtVolume, sessions: Sequence[Mapping[str, Sequence[tuple[int, Sequence[tuple[int, int]], bool]]]]
) -> str:
    """LIDC's XML: a mapping a reader, nodule -> (slice, corners in voxels, inclusion)."""
    parts = [
        f"<LidcReadMessage xmlns='http://www.nih.gov'><H><SeriesInstanceUid>{ct.series.uid}</SeriesInstanceUid></H>"
    ]
    for session in sessions:
        parts.append("<readingSession>")
        for name, rois in session.items():
            parts.append(f"<unblindedReadNodule><noduleID>{name}</noduleID>")
            parts.append("<characteristics><malignancy>4</malignancy></characteristics>")
            for index, corners, included in rois:
                parts.append(f"<roi><imageSOP_UID>{ct.source.sop_uids[index]}</imageSOP_UID>")
                parts.append(f"<inclusion>{str(included).upper()}</inclusion>")
                parts += [f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in corners]
                parts.append("</roi>")
            parts.append("</unblindedReadNodule>")
        parts.append("</readingSession>")
    return "".join([*parts, "</LidcReadMessage>"])
