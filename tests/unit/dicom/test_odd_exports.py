"""Exports as they should not be: each is read all the same, or refused with patient, series and file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from dsmt_nnunet.dicom.export import read_export
from dsmt_nnunet.dicom.lidc import lidc_series_uid, read_lidc
from dsmt_nnunet.dicom.series import CtVolume, ct_series, read_ct
from dsmt_nnunet.dicom.slice_grid import slice_distance_mm
from dsmt_nnunet.dicom.structures import drawn_structures, read_structures, structures_of
from tests.unit.dicom.made_series import write_ct
from tests.unit.dicom.made_structures import lidc_xml, write_rtstruct, write_seg
from tests.unit.dicom.test_contours import square
from tests.unit.dicom.test_lidc import outline

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR DS")


def changed(path: Path, change: Callable[[Dataset], None]) -> None:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path, enforce_file_format=True)


def read(folder: Path) -> CtVolume:
    return read_ct(ct_series(read_export(folder))[0])


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("ContourData", [1, 2, 3, 4], "structure 'a': a contour holds 4 values"),
        ("ContourData", ["nan"] * 9, "structure 'a': a contour holds 9 values"),
        ("ContourData", None, "is not as DICOM has it"),
        ("ContourGeometricType", None, "is not as DICOM has it"),
    ],
)
def test_a_malformed_contour(tmp_path: Path, ct: CtVolume, keyword: str, value: object, words: str) -> None:
    write_rtstruct(tmp_path / "set", ct, {"a": [(3, square(0, 3))]})

    def change(dataset: Dataset) -> None:
        contour = dataset.ROIContourSequence[0].ContourSequence[0]
        if value is None:
            delattr(contour, keyword)
        else:
            setattr(contour, keyword, value)

    changed(tmp_path / "set", change)
    (series,) = structures_of(read_export(tmp_path), ct.series)
    with pytest.raises(ValueError, match=rf"^patient 'P1', series .*set.*{words}"):
        read_structures(series, ct)
    if keyword == "ContourGeometricType":
        with pytest.raises(ValueError, match=words):
            drawn_structures(series)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda seg: delattr(seg, "SharedFunctionalGroupsSequence"), "is not as DICOM has it"),
        (lambda seg: seg.PerFrameFunctionalGroupsSequence.pop(), "has 2 frames and places for 1"),
        (lambda seg: seg.SegmentSequence.pop(), r"frames belong to segments \[2\], which it does not describe"),
        (lambda seg: setattr(seg, "SegmentationType", "OTHER"), "this one is OTHER"),
    ],
)
def test_a_malformed_segmentation(tmp_path: Path, ct: CtVolume, change: Callable[[Dataset], None], words: str) -> None:
    pixels = np.ones((6, 8), np.uint8)
    write_seg(tmp_path / "seg", ct, [(1, 3, pixels), (2, 6, pixels)])
    changed(tmp_path / "seg", change)
    (series,) = structures_of(read_export(tmp_path), ct.series)
    with pytest.raises(ValueError, match=rf"^patient 'P1', series .*seg.*{words}"):
        read_structures(series, ct)


def test_a_structure_set_without_a_reference_stays_with_its_patient(tmp_path: Path, ct: CtVolume) -> None:
    write_rtstruct(tmp_path / "set", ct, {"a": [(3, square(0, 3))]})
    changed(tmp_path / "set", lambda dataset: delattr(dataset, "ReferencedFrameOfReferenceSequence"))
    write_ct(tmp_path / "other", patient="P2")
    export = read_export(tmp_path)
    assert [len(structures_of(export, own)) for own in ct_series(export)] == [1, 0]


def test_one_uid_and_two_images(tmp_path: Path) -> None:
    write_ct(tmp_path / "a")
    write_ct(tmp_path / "b")
    assert read(tmp_path).image.GetSize()[2] == 4
    changed(tmp_path / "b" / "1-2", lambda dataset: setattr(dataset, "PixelData", bytes(96)))
    with pytest.raises(ValueError, match=r"^patient 'P1', series .*1-2 has the same SOP Instance UID and other pixels"):
        read(tmp_path)


def zipped(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def test_zips_in_zips_are_read_with_what_lies_beside_the_slices(tmp_path: Path) -> None:
    write_ct(tmp_path / "ct")
    ct = read(tmp_path / "ct")
    slices = {file.name: file.read_bytes() for file in (tmp_path / "ct").iterdir()}
    reading = lidc_xml(ct, [{"a": [(2, outline(0, 3), True)]}]).encode()
    study = zipped({**slices, "reading.XML": reading})
    (tmp_path / "outer.zip").write_bytes(zipped({"patient.ZIP": zipped({"s/study.zip": study}), "notes.txt": b"-"}))
    export = read_export(tmp_path / "outer.zip")
    again = read_ct(ct_series(export)[0])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(again.image), sitk.GetArrayFromImage(ct.image))
    assert [file.name.rpartition(":")[2] for file in export.others] == ["notes.txt", "reading.XML"]
    assert lidc_series_uid(export.others[1]) == ct.series.uid
    assert len(read_lidc(export.others[1], again.grid)) == 1
    (tmp_path / "outer.zip").write_bytes(zipped({"a.zip": zipped({"b.zip": zipped({"c.zip": zipped(slices)})})}))
    with pytest.raises(ValueError, match=r"outer\.zip:a\.zip:b\.zip:c\.zip: it holds zips within zips"):
        read_export(tmp_path)
    (tmp_path / "outer.zip").write_bytes(zipped({"a.zip": b"PK"}))
    with pytest.raises(ValueError, match=r"outer\.zip:a\.zip: the zip cannot be read"):
        read_export(tmp_path)


def test_what_is_cut_off_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_ct(tmp_path)
    last = tmp_path / "1-0"
    last.write_bytes(last.read_bytes()[:300])
    (tmp_path / "notes.txt").write_text("nothing")
    assert len(read_export(tmp_path).series[0].objects) == 3
    assert f"{last} begins as a DICOM object does, but is cut off" in caplog.text
    assert "notes" not in caplog.text


def test_a_screen_shot_among_the_slices_is_set_aside(tmp_path: Path) -> None:
    write_ct(tmp_path)

    def shot(dataset: Dataset) -> None:
        dataset.SOPClassUID = SecondaryCaptureImageStorage
        dataset.SOPInstanceUID = f"{dataset.SOPInstanceUID}.9"
        del dataset.ImagePositionPatient

    (tmp_path / "shot").write_bytes((tmp_path / "1-0").read_bytes())
    changed(tmp_path / "shot", shot)
    assert read(tmp_path).image.GetSize()[2] == 4


@pytest.mark.parametrize("value", [[1, 2], None, [1, 2, "nan"]])
def test_a_slice_without_a_place(tmp_path: Path, value: object) -> None:
    write_ct(tmp_path)
    changed(tmp_path / "1-1", lambda dataset: setattr(dataset, "ImagePositionPatient", value))
    (series,) = ct_series(read_export(tmp_path))
    assert slice_distance_mm(series) is None
    with pytest.raises(ValueError, match="1-1 lacks ImagePositionPatient, or holds no numbers there"):
        read_ct(series)


def test_slices_of_other_looks_are_told_apart(tmp_path: Path) -> None:
    write_ct(tmp_path)
    changed(tmp_path / "1-1", lambda dataset: setattr(dataset, "ImageOrientationPatient", [1, 0, 0, 0, 0, -1]))
    with pytest.raises(ValueError, match=r"along \[1\.0, 0\.0, 0\.0, 0\.0, 0\.0, -1\.0\]\. Is a localizer among them"):
        read(tmp_path)
