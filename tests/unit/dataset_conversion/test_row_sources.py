from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from dsmt_nnunet.csv_table import CsvRow, CsvTable
from dsmt_nnunet.dataset_conversion.mapping import DEFAULT_MAPPING
from dsmt_nnunet.dataset_conversion.row_sources import RowSource, find_sources
from dsmt_nnunet.dataset_conversion.series_choice import Choice, choose_series
from dsmt_nnunet.dicom.export import read_export
from dsmt_nnunet.dicom.series import ct_series, read_ct
from dsmt_nnunet.dicom.slice_grid import grid_of_headers
from tests.unit.dicom.made_series import write_ct, write_enhanced_ct


def found(folder: Path, *rules: str) -> RowSource:
    """What a row that names no nodule of patient P1 means."""
    row = CsvRow(2, {"patient_id": "P1", "nodule_id": "none"})
    table = CsvTable(Path("t.csv"), tuple(row.values), (row,))
    (source,) = find_sources(read_export(folder), table, DEFAULT_MAPPING, [Choice.parse(rule) for rule in rules])
    return source


def test_the_frames_of_a_multi_frame_ct_are_told_as_slices_are(tmp_path: Path) -> None:
    write_enhanced_ct(tmp_path / "multi", order=(2, 0, 1))
    assert str(found(tmp_path)) == (
        "line 2, patient P1: series 1, 3 slices, 3 mm apart, 0.5 x 0.25 mm in plane, kernel B70f, contrast Iohexol, "
        "date 20240107, contour none"
    )


def test_rules_decide_between_multi_frame_series(tmp_path: Path) -> None:
    write_enhanced_ct(tmp_path / "thick", series=1, distance_mm=5)
    write_enhanced_ct(tmp_path / "thin", series=2, distance_mm=1.5, kernel="B30f")
    write_ct(tmp_path / "single", series=3, ConvolutionKernel="B70f", AcquisitionDate="20240101")
    series = ct_series(read_export(tmp_path))

    def chosen(rule: str) -> list[str]:
        kept = choose_series(series, [Choice.parse(rule)], CsvRow(2, {}))
        return [one.text("SeriesNumber") for one in kept]

    assert chosen("thinnest") == ["2"]
    assert chosen("kernel=b70*") == ["1", "3"]
    assert chosen("earliest") == ["3"]
    assert "decision between 3 CT series" in found(tmp_path).missing
    assert "3 slices, 1.5 mm, kernel B30f, date 20240107" in found(tmp_path).missing


def test_the_grid_of_frames_is_told_by_their_headers(tmp_path: Path) -> None:
    write_enhanced_ct(tmp_path / "multi", order=(1, 2, 0))
    (series,) = ct_series(read_export(tmp_path))
    grid, expected = grid_of_headers(series), read_ct(series).grid
    assert grid is not None
    assert (grid.sop_uids, grid.size) == (expected.sop_uids, expected.size)
    np.testing.assert_allclose(grid.origin_mm, expected.origin_mm)
    assert grid.spacing_mm == pytest.approx(expected.spacing_mm)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"heights": (0, 3, 9, 12)}, "between 3 and 9 mm they lie 6 mm apart"),
        ({"heights": (0, 3, 3, 6)}, "two slices lie at the same position"),
        ({"shear": 0.9}, "gantry tilt"),
        ({"RescaleSlope": None}, "lacks RescaleSlope"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "is MONOCHROME1"),
    ],
)
def test_the_dry_run_refuses_what_conversion_refuses(tmp_path: Path, attributes: dict, words: str) -> None:
    write_ct(tmp_path, **attributes)
    source = found(tmp_path)
    assert source.missing.startswith("a CT that can be read: patient 'P1', series ")
    assert words in source.missing
    (series,) = ct_series(read_export(tmp_path))
    with pytest.raises(ValueError, match=words):
        read_ct(series)


def test_a_series_under_two_patients_is_not_halved(tmp_path: Path) -> None:
    for index, dataset in enumerate(write_ct(tmp_path, heights=(0, 3, 6, 9, 12, 15))):
        dataset.PatientID = "P1" if index % 2 else "p1"
        dataset.save_as(tmp_path / f"1-{5 - index}", enforce_file_format=True)
    assert "its UID is shared (patient '" in found(tmp_path).missing
    for series in ct_series(read_export(tmp_path)):
        with pytest.raises(ValueError, match=r"its UID is shared \(patient '[pP]1', study .*; patient '[pP]1', study"):
            read_ct(series)


def test_a_series_in_two_studies_is_not_two_series(tmp_path: Path) -> None:
    for index, dataset in enumerate(write_ct(tmp_path)):
        dataset.StudyInstanceUID = f"1.2.{index % 2}"
        dataset.save_as(tmp_path / f"1-{3 - index}", enforce_file_format=True)
    assert "its UID is shared (patient 'P1', study 1.2." in found(tmp_path).missing


def test_a_vendors_way_of_writing_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write_ct(tmp_path)
    with monkeypatch.context() as without:
        without.setattr(type(get_decoder(written[0].file_meta.TransferSyntaxUID)), "is_available", False)
        assert "transfer syntax Explicit VR Little Endian. Install the decoders" in found(tmp_path).missing
    written[0].file_meta.TransferSyntaxUID = UID("1.2.840.113619.5.2")
    written[0].save_as(tmp_path / "1-3", implicit_vr=True, little_endian=True)
    assert "transfer syntax 1.2.840.113619.5.2, a vendor's own" in found(tmp_path).missing


def test_frames_at_one_place(tmp_path: Path) -> None:
    write_enhanced_ct(tmp_path / "multi", distance_mm=0)
    assert "two slices lie at the same position" in found(tmp_path).missing
