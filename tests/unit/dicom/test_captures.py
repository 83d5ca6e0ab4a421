"""Cards and documents beside the scan."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dsmt_nnunet.dicom.export import read_export
from dsmt_nnunet.dicom.series import CtVolume, ct_series, read_ct
from tests.unit.dicom.made_series import write_ct
from tests.unit.dicom.test_results import export, predicted, write_prediction

__all__ = ["predicted"]


def test_cards_and_document_lie_in_the_patients_study(predicted: Path, ct: CtVolume, tmp_path: Path) -> None:
    pdf = b"%PDF-1.4 odd"[:11]
    (tmp_path / "page.pdf").write_bytes(pdf)
    assert export(predicted, "--cards", "--pdf", str(tmp_path / "page.pdf")) == 0
    first, second, document = (
        pydicom.dcmread(predicted / "dicom" / f"c1_{name}.dcm") for name in ("card1", "card2", "document")
    )
    source = ct.series.objects[0].read()
    for made in (first, second, document):
        for name in ("PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID", "AccessionNumber"):
            assert made[name].value == source[name].value
        assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert (first.SeriesInstanceUID, first.InstanceNumber) == (second.SeriesInstanceUID, second.InstanceNumber - 1)
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert (first.BurnedInAnnotation, document.BurnedInAnnotation) == ("NO", "YES")
    assert document.EncapsulatedDocument[: document.EncapsulatedDocumentLength] == pdf
    assert first.pixel_array.shape == (560, 1080, 3)
    assert (first.pixel_array != second.pixel_array).any()
    np.testing.assert_array_equal(first.pixel_array[520:], second.pixel_array[520:])  # the notice


@pytest.mark.parametrize(
    ("content", "words"), [(b"<html>", "does not begin as a PDF"), (b"%PDF-1.4 /Encrypt 5", "is encrypted")]
)
def test_what_is_no_document(
    predicted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, words: str
) -> None:
    (tmp_path / "page.pdf").write_bytes(content)
    assert export(predicted, "--pdf", str(tmp_path / "page.pdf")) == 2
    assert words in capsys.readouterr().err
    assert not (predicted / "dicom").exists()


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        ("ISO_IR 192", "Secretname"),
    ],
)
def test_names_are_kept_in_any_language_and_not_printed(
    tmp_path: Path, charset: str | list[str], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write_ct(tmp_path / "ct", heights=(0, 3, 6, 9, 12), SpecificCharacterSet=charset, PatientName=name)
    predicted = write_prediction(tmp_path / "out", read_ct(ct_series(read_export(tmp_path / "ct"))[0]))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert export(predicted, "--cards") == 0
    for path in (predicted / "dicom").iterdir():
        assert str(pydicom.dcmread(path).PatientName) == name
    printed = "".join([*capfd.readouterr(), *(str(warning.message) for warning in told)])
    assert name.split("^")[0] not in printed


def test_a_patient_of_whom_nothing_is_known(tmp_path: Path) -> None:
    left_out = ("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime")
    for dataset in write_ct(tmp_path / "ct", heights=(0, 3, 6, 9, 12)):
        for name in (*left_out, "ReferringPhysicianName", "PositionReferenceIndicator", "Manufacturer"):
            delattr(dataset, name)
        dataset.save_as(tmp_path / "ct" / dataset.SOPInstanceUID, enforce_file_format=True)
    for path in (tmp_path / "ct").glob("1-*"):
        path.unlink()
    predicted = write_prediction(tmp_path / "out", read_ct(ct_series(read_export(tmp_path / "ct"))[0]))
    (tmp_path / "page.pdf").write_bytes(b"%PDF-1.4")
    assert export(predicted, "--cards", "--pdf", str(tmp_path / "page.pdf")) == 0
    for path in (predicted / "dicom").iterdir():
        assert not pydicom.dcmread(path).PatientName
