"""Pictures and documents beside a scan: secondary captures, and a PDF as an encapsulated document.

Needs highdicom (`pip install 'dsmt-nnunet[dicom]'`).
"""

from __future__ import annotations

from collections.abc import Sequence

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from dsmt_nnunet import __version__
from dsmt_nnunet.dicom.results import MANUFACTURER

_CAPTURE_SERIES_NUMBER = 9003
_DOCUMENT_SERIES_NUMBER = 9004
_PDF_STARTS = b"%PDF-"
_PDF_ENCRYPTED = b"/Encrypt"
_WORKSTATION = "WSD"


def make_captures(pictures: Sequence[NDArray[np.uint8]], source: Dataset, model_name: str) -> list[hd.sc.SCImage]:
    """Secondary captures of one series, in the patient's study.

    Args:
        pictures: each (Y, X, 3), RGB. Nothing on them may tell who the patient is: the objects say so.
        source: a slice of the CT, which tells patient and study.
        model_name: name of the algorithm.
    """
    series = hd.UID()
    made = []
    for number, picture in enumerate(pictures, start=1):
        capture = hd.sc.SCImage.from_ref_dataset(
            ref_dataset=source,
            pixel_array=picture,
            photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
            bits_allocated=8,
            coordinate_system=hd.CoordinateSystemNames.PATIENT,
            patient_orientation=("L", "P"),
            series_instance_uid=series,
            series_number=_CAPTURE_SERIES_NUMBER,
            sop_instance_uid=hd.UID(),
            instance_number=number,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=model_name,
            software_versions=__version__,
            series_description="Nodule cards (DSMT)",
            transfer_syntax_uid=ExplicitVRLittleEndian,
        )
        capture.PatientOrientation = []  # three planes have no common one
        capture.Laterality = ""
        capture.ConversionType = _WORKSTATION
        capture.BurnedInAnnotation = "NO"
        made.append(capture)
    return made


def make_document(pdf: bytes, source: Dataset, title: str) -> Dataset:
    """A PDF as an encapsulated document in the patient's study.

    Args:
        pdf: the file.
        source: a slice of the CT, which tells patient and study.
        title: of the document.

    Raises:
        ValueError: no PDF, or one with a password.
    """
    if not pdf.startswith(_PDF_STARTS):
        raise ValueError("the file does not begin as a PDF does. Print the page into a PDF first.")
    if _PDF_ENCRYPTED in pdf:
        raise ValueError("the PDF is encrypted, so that no viewer of an archive could open it.")
    document = hd.base.SOPClass(
        study_instance_uid=source.StudyInstanceUID,
        series_instance_uid=hd.UID(),
        series_number=_DOCUMENT_SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        sop_class_uid=EncapsulatedPDFStorage,
        instance_number=1,
        modality="DOC",
        manufacturer=MANUFACTURER,
        software_versions=__version__,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description="Report (DSMT)",
        **{
            name: source.get(keyword)
            for name, keyword in (
                ("patient_id", "PatientID"),
                ("patient_name", "PatientName"),
                ("patient_birth_date", "PatientBirthDate"),
                ("patient_sex", "PatientSex"),
                ("accession_number", "AccessionNumber"),
                ("study_id", "StudyID"),
                ("study_date", "StudyDate"),
                ("study_time", "StudyTime"),
                ("referring_physician_name", "ReferringPhysicianName"),
            )
        },
    )
    document.AcquisitionDateTime = None
    document.ConversionType = _WORKSTATION
    document.BurnedInAnnotation = "YES"  # the page names cases and patients as its tables do
    document.DocumentTitle = title[:64]
    document.ConceptNameCodeSequence = []
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocumentLength = len(pdf)
    document.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return document
