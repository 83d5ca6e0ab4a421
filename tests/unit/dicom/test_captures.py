"""Cards and documents beside the scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from dsmt_nnunet.dicom.series import CtVolume
from tests.unit.dicom.test_results import export, predicted

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
