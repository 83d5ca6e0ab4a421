"""Small CT series, made with pydicom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.10.1"
FRAME_OF_REFERENCE = f"{ROOT}.9"
SPACING_MM = (0.5, 0.25)
"""Row and column spacing."""
FIRST_MM = (-10.0, 5.0)


def volume(slices: int = 4) -> NDArray[np.int16]:
    """(Z, 6, 8) in HU; every voxel differs."""
    return (np.arange(slices * 48).reshape(slices, 6, 8) - 900).astype(np.int16)


def base(uid: str, sop_class: str, series: int = 1, patient: str = "P1", **attributes: Any) -> FileDataset:
    """What every object has."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    values = {
        "SOPClassUID": sop_class,
        "SOPInstanceUID": uid,
        "Modality": "CT",
        "PatientID": patient,
        "PatientName": "Secret^Person",
        "PatientBirthDate": "19500203",
        "PatientSex": "F",
        "AccessionNumber": "ACC4711",
        "StudyInstanceUID": f"{ROOT}.2.{sum(map(ord, patient))}",
        "SeriesInstanceUID": f"{ROOT}.3.{sum(map(ord, patient))}.{series}",
        "SeriesNumber": series,
        "InstanceNumber": 1,
        "StudyDate": "20240105",
        "StudyTime": "101500",
        "StudyID": "1",
        "ReferringPhysicianName": "",
        "Manufacturer": "made",
        "FrameOfReferenceUID": FRAME_OF_REFERENCE,
        "PositionReferenceIndicator": "",
    }
    for name, value in {**values, **attributes}.items():
        setattr(dataset, name, value)
    return dataset


def set_pixels(dataset: Dataset, stored: NDArray[np.int16]) -> None:
    """16 bit signed pixels, MONOCHROME2."""
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.PixelData = stored.astype("<i2").tobytes()


def write_ct(
    folder: Path,
    heights: Sequence[float] = (0, 3, 6, 9),
    hu: NDArray[np.int16] | None = None,
    series: int = 1,
    patient: str = "P1",
    shear: float = 0.0,
    intercepts: Sequence[float] | None = None,
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    **attributes: Any,
) -> list[FileDataset]:
    """Writes one file without ending a slice, in falling order of position and with misleading instance numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    hu = volume(len(heights)) if hu is None else hu
    written = []
    for index in reversed(range(len(heights))):
        uid = f"{ROOT}.4.{sum(map(ord, patient))}.{series}.{index + 1}"
        dataset = base(uid, CTImageStorage, series, patient)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.InstanceNumber = (index * 7) % 5 + 1
        dataset.ImagePositionPatient = [FIRST_MM[0], FIRST_MM[1] + shear * index, heights[index]]
        dataset.ImageOrientationPatient = list(orientation)
        dataset.PixelSpacing = list(SPACING_MM)
        dataset.SliceThickness = 3
        intercept = intercepts[index] if intercepts else -1024
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, intercept
        set_pixels(dataset, hu[index] - np.int16(intercept))
        for name, value in attributes.items():
            setattr(dataset, name, value)
        dataset.save_as(folder / f"{series}-{len(written)}", enforce_file_format=True)
        written.append(dataset)
    return written[::-1]


def write_enhanced_ct(
    path: Path,
    order: Sequence[int] = (2, 0, 1),
    shared_rescale: bool = True,
    distance_mm: float = 3.0,
    kernel: str = "B70f",
    **more: Any,
) -> None:
    """A multi-frame CT, its frames in `order`; slope 2 and intercept -1000. `more` are arguments of `base`."""
    hu = volume(len(order)) // 2 * 2
    dataset = base(f"{ROOT}.5.{more.get('series', 1)}", EnhancedCTImageStorage, **more)
    agent, reconstruction = Dataset(), Dataset()
    agent.CodeMeaning, reconstruction.ConvolutionKernel = "Iohexol", kernel
    dataset.ContrastBolusAgentSequence = DicomSequence([agent])
    dataset.AcquisitionDateTime = "20240107101500"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    set_pixels(dataset, (hu[list(order)] + 1000) // 2)
    dataset.NumberOfFrames = len(order)
    rescale = Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept = 2, -1000
    measures, axes = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = list(SPACING_MM), 3
    axes.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = DicomSequence([measures]), DicomSequence([axes])
    shared.CTReconstructionSequence = DicomSequence([reconstruction])
    frames = []
    for index in order:
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = [*FIRST_MM, distance_mm * index]
        frame.PlanePositionSequence = DicomSequence([place])
        if not shared_rescale:
            frame.PixelValueTransformationSequence = DicomSequence([rescale])
        frames.append(frame)
    if shared_rescale:
        shared.PixelValueTransformationSequence = DicomSequence([rescale])
    dataset.SharedFunctionalGroupsSequence = DicomSequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence(frames)
    dataset.save_as(path, enforce_file_format=True)
