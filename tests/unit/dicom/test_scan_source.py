"""Where a volume came from: read with the series, kept in a file, asked by a place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dsmt_nnunet.dicom.export import read_export
from dsmt_nnunet.dicom.scan_source import ScanSource, SliceInArchive, read_source, write_sources
from dsmt_nnunet.dicom.series import ct_series, read_ct
from tests.unit.dicom.made_series import FRAME_OF_REFERENCE, write_ct, write_enhanced_ct


def source_of(folder: Path) -> ScanSource:
    return read_ct(ct_series(read_export(folder))[0]).source


def test_slices_are_named_as_the_archive_does(tmp_path: Path) -> None:
    written = write_ct(tmp_path / "ct", series=4)
    source = source_of(tmp_path / "ct")
    assert (source.series_number, source.frame_of_reference_uid) == ("4", FRAME_OF_REFERENCE)
    assert (source.study_uid, source.series_uid) == (written[0].StudyInstanceUID, written[0].SeriesInstanceUID)
    for height, index in ((0.0, 0), (4.4, 1), (4.6, 2), (9.4, 3)):
        assert source.slice_at((99.0, -99.0, height)) == SliceInArchive(
            written[index].SOPInstanceUID, written[index].InstanceNumber, 3.0 * index
        )
    assert source.slice_at((0.0, 0.0, 12.5)) is None


def test_the_slice_location_goes_before_the_position(tmp_path: Path) -> None:
    write_ct(tmp_path / "ct", SliceLocation=-87.5)
    assert source_of(tmp_path / "ct").table_mm == (-87.5,) * 4


def test_frames_are_counted_in_their_object(tmp_path: Path) -> None:
    write_enhanced_ct(tmp_path / "enhanced", order=(2, 0, 1))
    source = source_of(tmp_path)
    assert source.numbers == (2, 3, 1)
    assert source.table_mm == (0, 3, 6)
    assert len(set(source.sop_uids)) == 1


def test_the_file_holds_nothing_of_the_patient(tmp_path: Path) -> None:
    write_ct(tmp_path / "ct", patient="P77x")
    source = source_of(tmp_path / "ct")
    write_sources(tmp_path / "out", {"case": source})
    assert read_source(tmp_path / "out" / "case.json") == source
    text = (tmp_path / "out" / "case.json").read_text()
    for secret in ("Secret", "Person", "19500203", "ACC4711", "P77x", "20240105"):
        assert secret not in text


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    write_ct(tmp_path / "ct")
    source = source_of(tmp_path / "ct")
    write_sources(tmp_path, {"short": replace(source, numbers=source.numbers[1:])})
    with pytest.raises(ValueError, match=r"short.json does not describe every slice"):
        read_source(tmp_path / "short.json")
    write_sources(tmp_path, {"case": source})
    content = json.loads((tmp_path / "case.json").read_text())
    (tmp_path / "case.json").write_text(json.dumps({**content, "schema_version": 9}))
    with pytest.raises(ValueError, match=r"case.json does not say where .*schema_version"):
        read_source(tmp_path / "case.json")
