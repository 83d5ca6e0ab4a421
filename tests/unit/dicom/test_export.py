from __future__ import annotations

import zipfile
from pathlib import Path

import pydicom
import pytest
from pydicom.fileset import FileSet

from dsmt_nnunet.dicom.export import read_export
from dsmt_nnunet.dicom.series import ct_series, read_ct
from tests.unit.dicom.made_series import write_ct


def test_a_nested_export_is_grouped_whatever_its_files_are_called(tmp_path: Path) -> None:
    write_ct(tmp_path / "a" / "b", series=2)
    write_ct(tmp_path / "a", series=1, heights=(0, 2))
    write_ct(tmp_path, patient="007", series=1, heights=(0, 1, 2))
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "empty").touch()
    export = read_export(tmp_path)
    assert [(one.patient_id, len(one.objects)) for one in export.series] == [("007", 3), ("P1", 2), ("P1", 4)]
    assert [file.path.name for file in export.others] == ["empty", "notes.txt"]
    assert len(export.of_patient("P1")) == 2


def test_the_same_object_twice_counts_once(tmp_path: Path) -> None:
    write_ct(tmp_path / "first")
    write_ct(tmp_path / "again")
    assert len(read_export(tmp_path).series[0].objects) == 4


def test_zip_with_dicomdir(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_ct(tmp_path / "source")
    files = FileSet()
    for file in (tmp_path / "source").iterdir():
        files.add(file)
    files.write(tmp_path / "disc")
    assert (tmp_path / "disc" / "DICOMDIR").exists()
    with zipfile.ZipFile(tmp_path / "disc.zip", "w") as archive:
        for file in (tmp_path / "disc").rglob("*"):
            archive.write(file, file.relative_to(tmp_path))
    from_folder, from_zip = read_export(tmp_path / "disc"), read_export(tmp_path / "disc.zip")
    assert len(from_folder.series) == len(from_zip.series) == 1
    assert read_ct(ct_series(from_zip)[0]).image.GetSize() == (8, 6, 4)
    assert not caplog.messages, "a DICOMDIR is no damaged object"


def test_files_without_preamble(tmp_path: Path) -> None:
    for dataset in write_ct(tmp_path):
        del dataset.file_meta
        dataset.preamble = None
        pydicom.dcmwrite(tmp_path / dataset.SOPInstanceUID, dataset, implicit_vr=True, little_endian=True)
    for file in tmp_path.glob("1-*"):
        file.unlink()
    assert read_ct(ct_series(read_export(tmp_path))[0]).image.GetSize() == (8, 6, 4)


def test_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text("<a/>")
    with pytest.raises(ValueError, match="holds no DICOM object among 1 files"):
        read_export(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_export(tmp_path / "none")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04" + b"0" * 40 + b"PK\x05\x06" + b"\x01" * 18)
    with pytest.raises(ValueError, match="the zip cannot be read"):
        read_export(tmp_path / "broken.zip")
