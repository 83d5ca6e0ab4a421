"""Walking what an archive exported: every DICOM object of a folder or zip, grouped by patient, study and series."""

from __future__ import annotations

import io
import logging
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, MediaStorageDirectoryStorage

from dsmt_nnunet.dicom.frames import PER_FRAME, SHARED, frames_of
from dsmt_nnunet.dicom.packed_files import PackedFile, walk
from dsmt_nnunet.dicom.texts import text_of

logger = logging.getLogger(__name__)

_PREAMBLE = 128
_MAGIC = b"DICM"
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")
"""Group numbers with which a data set without the 128 byte preamble begins (little endian)."""

_MALFORMED = (ValueError, AttributeError, KeyError, TypeError, IndexError, EOFError, OverflowError)
"""What reading an object raises that lacks something, or holds something else than its standard says."""

_HEADER = (
    "SpecificCharacterSet",
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "AcquisitionDateTime",
    "AccessionNumber",
    "Modality",
    "StudyDescription",
    "SeriesDescription",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "ContrastBolusAgent",
    "ContrastBolusAgentSequence",
    "SliceThickness",
    "ConvolutionKernel",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "InstanceNumber",
    "SliceLocation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "FrameOfReferenceUID",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "PhotometricInterpretation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleIntercept",
    "RescaleSlope",
    "ReferencedFrameOfReferenceSequence",
    "ReferencedSeriesSequence",
)


@dataclass(frozen=True)
class StoredObject:
    """One DICOM object of an export.

    Attributes:
        file: where it lies.
        header: what tells objects apart (`_HEADER`); no pixels.
        rival: another file with the same SOP Instance UID and other pixels, "" where there is none.
    """

    file: PackedFile
    header: Dataset
    rival: str = ""

    def read(self) -> Dataset:
        """The whole object.

        Raises:
            ValueError: another file has the same UID and other pixels.
        """
        if self.rival:
            raise ValueError(f"{self.rival} has the same SOP Instance UID and other pixels. Take out the wrong one.")
        dataset = pydicom.dcmread(io.BytesIO(self.file.read()), force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            implicit = dataset.original_encoding[0]
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        return dataset

    @contextmanager
    def named(self, where: str) -> Iterator[None]:
        """Lets errors of what is read from this object, and of what it lacks, name it.

        Args:
            where: `Series.where`; a message that begins so stays as it is.

        Raises:
            ValueError: in place of whatever pydicom and numpy raise.
        """
        try:
            yield
        except _MALFORMED as error:
            if str(error).startswith(where):
                raise
            if isinstance(error, ValueError):
                raise ValueError(f"{where}, {self.name}: {error}") from error
            raise ValueError(
                f"{where}: {self.name} is not as DICOM has it ({type(error).__name__}: {error}). Export it again."
            ) from error

    @cached_property
    def frames(self) -> list[Dataset]:
        """What each of its images says of itself: of a multi-frame object `frames_of`, else the header."""
        if "NumberOfFrames" not in self.header:
            return [self.header]
        stored = io.BytesIO(self.file.read()) if self.file.members else self.file.path
        groups = pydicom.dcmread(stored, force=True, stop_before_pixels=True, specific_tags=[SHARED, PER_FRAME])
        try:
            return list(frames_of(groups)) if PER_FRAME in groups else [self.header]
        except _MALFORMED:  # told when the object is read
            logger.debug("The frames of %s cannot be read.", self.name, exc_info=True)
            return [self.header]

    @property
    def name(self) -> str:
        """Where it lies, for messages."""
        return self.file.name

    def text(self, keyword: str) -> str:
        """Value of an attribute as text, "" where it is missing or empty."""
        return text_of(self.header, keyword)


@dataclass(frozen=True)
class Series:
    """All objects of one series; objects that were exported twice are kept once.

    Attributes:
        objects: at least one, in the order in which they were found.
        divided: patients and studies that share its UID, in words; "" where it is of one, as it should.
    """

    objects: tuple[StoredObject, ...]
    divided: str = ""

    @property
    def patient_id(self) -> str:
        return self.text("PatientID")

    @property
    def study_uid(self) -> str:
        return self.text("StudyInstanceUID")

    @property
    def uid(self) -> str:
        return self.text("SeriesInstanceUID")

    @property
    def modality(self) -> str:
        return self.text("Modality")

    @property
    def kernel(self) -> str:
        return self._of_images("ConvolutionKernel")

    @property
    def contrast(self) -> str:
        """The contrast agent, "" where none is named."""
        agents = [agent for item in self.objects for agent in item.header.get("ContrastBolusAgentSequence") or ()]
        named = (str(agent.get("CodeMeaning") or "").strip() for agent in agents)
        return self.text("ContrastBolusAgent") or ", ".join(dict.fromkeys(name for name in named if name))

    @property
    def date(self) -> str:
        """YYYYMMDD of the acquisition, else of the series or study."""
        moment = self.text("AcquisitionDateTime") or self._of_images("FrameAcquisitionDateTime")
        return self.text("AcquisitionDate") or moment[:8] or self.text("SeriesDate") or self.text("StudyDate")

    @property
    def images(self) -> list[Dataset]:
        """What each image says of itself, every frame of a multi-frame object."""
        return [frame for item in self.objects for frame in item.frames]

    def _of_images(self, keyword: str) -> str:
        """First value of an attribute that is not empty among the images, "" when there is none."""
        return next((text for frame in self.images if (text := text_of(frame, keyword))), "")

    @property
    def where(self) -> str:
        """Patient and series, for messages."""
        return f"patient '{self.patient_id}', series {self.uid}"

    def text(self, keyword: str) -> str:
        """First value that is not empty among the objects, "" when there is none."""
        return next((text for item in self.objects if (text := item.text(keyword))), "")

    @cached_property
    def referenced_series(self) -> frozenset[str]:
        """UIDs of the image series that the objects (structure sets, segmentations) refer to."""
        return frozenset(uid for item in self.objects for uid in _referenced_series(item.header))


@dataclass(frozen=True)
class Export:
    """Everything that was found.

    Attributes:
        path: what was walked.
        series: by patient, study and series number.
        others: files that are not DICOM, such as LIDC's XML.
    """

    path: Path
    series: tuple[Series, ...]
    others: tuple[PackedFile, ...]

    def of_patient(self, patient_id: str) -> tuple[Series, ...]:
        """Series of a patient."""
        return tuple(series for series in self.series if series.patient_id == patient_id)


def read_export(path: str | Path) -> Export:
    """Walks a folder (flat, nested, with zips in it), a zip (with zips in it) or a single file.

    File names and endings are not looked at; a DICOMDIR is passed over, since the files that it lists are there.

    Args:
        path: what the archive exported.

    Raises:
        FileNotFoundError: no such folder or file.
        ValueError: it holds no DICOM object, or a zip in it is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such folder or file.")
    objects: dict[str, StoredObject] = {}
    others = []
    for file in walk(path):
        header = _header_of(file)
        if header is None:
            others.append(file)
            continue
        item = StoredObject(file, header)
        uid = item.text("SOPInstanceUID")
        first = objects.setdefault(uid, item)
        if first is not item and _differ(first, item):
            objects[uid] = replace(first, rival=item.name)
    if not objects:
        raise ValueError(
            f"{path} holds no DICOM object among {len(others)} files. Give the folder or zip of the export."
        )
    return Export(path, _group(list(objects.values())), tuple(others))


def _group(objects: Sequence[StoredObject]) -> tuple[Series, ...]:
    grouped: dict[tuple[str, str, str], list[StoredObject]] = defaultdict(list)
    for item in objects:
        grouped[item.text("PatientID"), item.text("StudyInstanceUID"), item.text("SeriesInstanceUID")].append(item)
    owners: dict[str, list[str]] = defaultdict(list)
    for patient_id, study_uid, uid in grouped:
        owners[uid].append(f"patient '{patient_id}', study {study_uid or 'without UID'}")
    series = [
        Series(tuple(items), "; ".join(owners[uid]) if uid and len(owners[uid]) > 1 else "")
        for (_, _, uid), items in grouped.items()
    ]
    return tuple(sorted(series, key=lambda one: (one.patient_id, one.study_uid, _number(one), one.uid)))


def _number(series: Series) -> int:
    text = series.text("SeriesNumber")
    return int(text) if text.lstrip("-").isdigit() else 0


def _differ(first: StoredObject, second: StoredObject) -> bool:
    """Whether two objects of one UID hold other pixels; they may be written in different ways."""
    if first.rival:
        return False
    pixels = [item.read().get("PixelData") for item in (first, second)]
    return len({item.read().file_meta.TransferSyntaxUID for item in (first, second)}) == 1 and pixels[0] != pixels[1]


def _header_of(file: PackedFile) -> Dataset | None:
    if file.members:
        try:
            return _header(io.BytesIO(file.read()), file.name)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise ValueError(
                f"{file.name}: the zip cannot be read ({error}). Export it again, without password."
            ) from error
    with file.path.open("rb") as stream:
        return _header(stream, file.name)


def _header(stream: io.BufferedIOBase, name: str) -> Dataset | None:
    """Header of a DICOM object; None when it is something else, or damaged, which a warning tells."""
    start = stream.read(_PREAMBLE + len(_MAGIC))
    is_marked = start[_PREAMBLE:] == _MAGIC
    if not is_marked and start[:2] not in _FIRST_GROUPS:
        return None
    stream.seek(0)
    header = Dataset()
    try:
        header = pydicom.dcmread(stream, force=True, stop_before_pixels=True, specific_tags=list(_HEADER))
    except (InvalidDicomError, EOFError, ValueError, KeyError, NotImplementedError):
        logger.debug("%s cannot be read.", name, exc_info=True)
    if header.get("SOPClassUID") and header.get("SOPInstanceUID"):
        return header
    if is_marked and not _is_directory(header):
        logger.warning("%s begins as a DICOM object does, but is cut off or lacks its UIDs; it is left out.", name)
    return None


def _is_directory(header: Dataset) -> bool:
    """Whether it is a DICOMDIR, which names its class in front of the data set alone."""
    return bool(getattr(header, "file_meta", Dataset()).get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage)


def _referenced_series(header: Dataset) -> Iterator[UID]:
    for item in header.get("ReferencedSeriesSequence") or ():
        yield item.SeriesInstanceUID
    for frame in header.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                yield series.SeriesInstanceUID
