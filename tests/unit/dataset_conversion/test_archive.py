from __future__ import annotations

import csv
import json
import zlib
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from dsmt_nnunet.cli.main import main
from dsmt_nnunet.csv_table import CsvRow, CsvTable, read_csv
from dsmt_nnunet.dataset_conversion.deidentification import identifying_columns
from dsmt_nnunet.dataset_conversion.series_choice import Choice, choose_series
from dsmt_nnunet.dicom.export import read_export
from dsmt_nnunet.dicom.scan_source import read_source
from dsmt_nnunet.dicom.series import CtVolume, ct_series, read_ct
from dsmt_nnunet.nodules import NoduleTable
from tests.unit.dicom.made_series import FIRST_MM, SPACING_MM, write_ct
from tests.unit.dicom.made_structures import lidc_xml, write_rtstruct, write_seg
from tests.unit.dicom.test_contours import square
from tests.unit.dicom.test_lidc import outline

HEIGHTS = (0, 3, 6, 9, 12)
HU = (np.arange(5 * 48).reshape(5, 6, 8) * 6 - 900).astype(np.int16)


def hu_of(patient: str) -> np.ndarray:
    """No two scans are the same."""
    own = HU.copy()
    own[-1, -1, -1] += zlib.crc32(patient.encode()) % 100
    return own


def scan(folder: Path, patient: str) -> CtVolume:
    write_ct(folder, heights=HEIGHTS, hu=hu_of(patient), patient=patient)
    return read_ct(ct_series(read_export(folder))[0])


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Patient 007 with a structure set of two nodules, patient P1 with a segmentation."""
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    folder = tmp_path / "export"
    contours = {"GTV-1": [(3, square(0, 2))], "GTV-2": [(9, square(3, 5))], "Lung": [(0, square(0, 5))]}
    write_rtstruct(folder / "a-set", scan(folder / "a", "007"), contours)
    pixels = np.zeros((6, 8), np.uint8)
    pixels[1:3, 1:3] = 1
    write_seg(folder / "b-seg", scan(folder / "b", "P1"), [(1, 6, pixels)])
    return folder


def write_table(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def rows() -> list[dict[str, str]]:
    return [
        {"patient_id": "007", "structure": "gtv-1", "pathology": "AIS", "Name": "Secret, Person", "note": "1950-02-03"},
        {"patient_id": "007", "structure": "gtv-2", "pathology": "IAC", "Name": "", "note": "x"},
        {"patient_id": "P1", "structure": "first", "pathology": "IAC", "Name": "", "note": ""},
    ]


@pytest.mark.parametrize("cell", ["1950-02-03", "03.02.1950", "19500203", "03/02/1950", "Person, Secret", "acc-4711"])
def test_cells_that_tell_who_a_patient_is(export: Path, cell: str) -> None:
    series = ct_series(read_export(export))[0]
    row = CsvRow(2, {"a": cell, "b": "secret", "c": "04.02.1950", "d": "-", "e": ""})
    assert identifying_columns(CsvTable(Path("t"), tuple(row.values), (row,)), [(series, row)]) == {"a"}


def convert(export: Path, table: Path, *more: str) -> int:
    return main(["convert", "dicom", str(export), str(table), "-d", "501", "-n", "Nodules", *more])


def test_export_and_table_become_a_data_set(export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = ("--choose", "kernel=B50*", "--choose", "thinnest")
    assert convert(export, write_table(tmp_path / "t.csv", rows()), *rules) == 0
    assert (
        "line 2, patient 007: series 1, 5 slices, 3 mm apart, 0.5 x 0.25 mm in plane, kernel" in capsys.readouterr().out
    )
    folder = tmp_path / "raw" / "Dataset501_Nodules"
    image = sitk.ReadImage(str(folder / "imagesTr" / "007_0000.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), hu_of("007"))
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labelsTr" / "007.nii.gz")))
    assert np.argwhere(mask).tolist() == [
        [1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1], [3, 3, 3], [3, 3, 4], [3, 4, 3], [3, 4, 4],
    ]  # fmt: skip
    with (folder / "nodules.csv").open() as stream:
        nodules = list(csv.DictReader(stream))
    assert [(item["patient_id"], item["invasiveness"]) for item in nodules] == [
        ("007", "non-invasive"),
        ("007", "invasive"),
        ("P1", "invasive"),
    ]
    assert float(nodules[2]["x_mm"]) == pytest.approx(FIRST_MM[0] + 1.5 * SPACING_MM[1])
    assert json.loads((folder / "dataset.json").read_text())["series_chosen_by"] == ["kernel=B50*", "thinnest"]
    source = read_source(folder / "sources" / "P1.json")
    assert source == read_ct(next(own for own in ct_series(read_export(export)) if own.patient_id == "P1")).source


def test_a_scan_without_a_nodule_needs_no_contour(export: Path, tmp_path: Path) -> None:
    scan(export / "c", "P2")
    none = {"patient_id": "P2", "nodule_id": "none", "structure": "", "pathology": ""}
    table = write_table(tmp_path / "t.csv", [{**none, **row, "nodule_id": ""} for row in rows()] + [none])
    assert convert(export, table) == 0
    folder = tmp_path / "raw" / "Dataset501_Nodules"
    assert [case.case_id for case in NoduleTable.read(folder / "nodules.csv").empty] == ["P2"]
    assert not sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labelsTr" / "P2.nii.gz"))).any()


def test_two_scans_of_a_patient_are_two_cases(export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ct(export / "c", heights=HEIGHTS, hu=hu_of("later"), series=2, patient="007")
    uids = [own.uid for own in ct_series(read_export(export)) if own.patient_id == "007"]
    nodule = {"patient_id": "007", "case_id": "", "series_uid": uids[0], "structure": "gtv-1", "pathology": "AIS"}
    later = {**nodule, "series_uid": uids[1], "nodule_id": "none", "structure": "", "pathology": ""}
    table = [{"nodule_id": "", **nodule}, later]
    assert convert(export, write_table(tmp_path / "t.csv", table), "--dry-run") == 1
    told = capsys.readouterr().out
    assert f"MISSING a case of its own: it means series {uids[1]}, and line 2 of the same case '007'" in told
    table[1]["case_id"] = "007-later"
    table.append({**nodule, "nodule_id": "", "structure": "gtv-2", "pathology": "IAC"})
    assert convert(export, write_table(tmp_path / "t.csv", table), "--dry-run") == 0


def test_nothing_tells_who_the_patient_is(export: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.csv"
    names.write_text("patient_id,pseudonym\n007,A1\n")
    assert convert(export, write_table(tmp_path / "t.csv", rows()), "--pseudonyms", str(names)) == 0
    folder = tmp_path / "raw" / "Dataset501_Nodules"
    text = "".join(file.read_text() for file in [*folder.glob("*.csv"), *folder.glob("*.json")])
    text += "".join(str(file) for file in folder.rglob("*"))
    for image in folder.rglob("*.nii.gz"):
        read = sitk.ReadImage(str(image))
        text += "".join(read.GetMetaData(key) for key in read.GetMetaDataKeys())
    for secret in ("Secret", "1950", "19500203", "ACC4711", "007", "P1_", "P1,"):
        assert secret not in text.replace(str(tmp_path), "")
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 2
    kept = {row.get("patient_id"): row.get("pseudonym") for row in read_csv(names).rows}
    assert kept["007"] == "A1"
    assert (folder / "labelsTr" / f"{kept['P1']}.nii.gz").exists()
    assert not (folder / "sources").exists()
    assert "007" not in (tmp_path / "names_sources" / "A1.json").read_text()
    assert read_source(tmp_path / "names_sources" / "A1.json").series_uid.endswith(f"{sum(map(ord, '007'))}.1")


def test_dates_of_a_patient_move_together(export: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.csv"
    names.write_text("patient_id,pseudonym\n007,A1\n")
    dated = [
        {**row, "scan": scan, "surgery": surgery}
        for row, scan, surgery in zip(
            rows(), ("2024-01-05", "2024-03-05", "2024-01-05"), ("10.01.2024", "", "11.01.2024"), strict=True
        )
    ]
    for _ in range(2):
        assert convert(export, write_table(tmp_path / "t.csv", dated), "--pseudonyms", str(names), "--overwrite") == 0
        with (tmp_path / "raw" / "Dataset501_Nodules" / "nodules.csv").open() as stream:
            moved = {(item["patient_id"], item["nodule_id"]): item for item in csv.DictReader(stream)}
        (first, second), kept = (moved["A1", number] for number in "12"), read_csv(names)
        shift = {row.get("pseudonym"): int(row.get("shift_days")) for row in kept.rows}
        assert -365 <= shift["A1"] <= -1
        assert date.fromisoformat(first["scan"]) == date(2024, 1, 5) + timedelta(days=shift["A1"])
        assert date.fromisoformat(second["scan"]) - date.fromisoformat(first["scan"]) == timedelta(days=60)
        assert first["surgery"] == (date(2024, 1, 10) + timedelta(days=shift["A1"])).strftime("%d.%m.%Y")
        assert second["surgery"] == ""
    names.write_text("patient_id,pseudonym,shift_days\n007,A1,soon\n")
    assert convert(export, tmp_path / "t.csv", "--pseudonyms", str(names), "--overwrite") == 2


def test_no_date_stays_where_it_was(export: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = tmp_path / "names.csv"
    names.write_text("patient_id,pseudonym,shift_days\n007,A1,-10\nP1,B1,-20\n")
    cells = (("05.01.2024", "seen on 5.1.2024"), ("45296", "x"), ("early 2024", ""))
    dated = [{**row, "scan_date": day, "text": text} for row, (day, text) in zip(rows(), cells, strict=True)]
    options = ("--pseudonyms", str(names), "--overwrite")
    assert convert(export, write_table(tmp_path / "t.csv", dated), *options) == 0
    with (tmp_path / "raw" / "Dataset501_Nodules" / "nodules.csv").open() as stream:
        kept = [(item["scan_date"], item["text"]) for item in csv.DictReader(stream)]
    assert kept == [("26.12.2023", ""), ("2023-12-26", "x"), ("", "")]
    assert "column 'scan_date': in line 4 something may be a date" in caplog.text
    assert "column 'text': in line 2 something may be a date" in caplog.text
    dated[0]["nodule_id"] = "2024-01-05"
    assert convert(export, write_table(tmp_path / "t.csv", dated), *options) == 2


def test_a_name_that_is_the_id_does_not_take_the_ids_away(export: Path, tmp_path: Path) -> None:
    write_ct(export / "a", heights=HEIGHTS, hu=HU, patient="007", PatientName="007")
    content = [{**row, "case_id": row["patient_id"], "centre": row["patient_id"]} for row in rows()]
    assert convert(export, write_table(tmp_path / "t.csv", content)) == 0
    with (tmp_path / "raw" / "Dataset501_Nodules" / "nodules.csv").open() as stream:
        assert [row["centre"] for row in csv.DictReader(stream)] == ["007", "007", "P1"]


def test_dry_run_says_what_is_missing(export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan(export / "c", "P3")
    content = rows()
    content[1]["structure"] = "nodule*"
    content += [{**content[0], "patient_id": "P2"}, {**content[0], "patient_id": "P3"}]
    content += [{**dict.fromkeys(content[0], ""), "note": "n.b. = not seen"}]
    table = write_table(tmp_path / "t.csv", content)
    assert convert(export, table, "--dry-run") == 1
    lines = capsys.readouterr().out.splitlines()
    assert "contour RTSTRUCT GTV-1" in lines[0]
    assert "MISSING a structure called 'nodule*'; there are ['GTV-1', 'GTV-2', 'Lung']" in lines[1]
    assert "MISSING a CT of this patient; the export has patients 007, P1" in lines[3]
    assert "MISSING a contour" in lines[4]
    assert "line 7, patient : MISSING the patient: the row names none. The row fills 1 of 5 cells" in lines[5]
    assert lines[6] == "2 of 6 rows are complete; nothing was written."
    assert convert(export, table) == 2
    assert "line 3, case '007': missing: a structure" in capsys.readouterr().err
    assert not (tmp_path / "raw").exists()


def test_nodules_that_readers_marked_are_named(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ct = scan(export / "c", "P3")
    inner = outline(1, 4)
    small = {"a": [(1, outline(0, 3), True)], "b": [(3, inner, True), (4, inner, True)]}
    (export / "c.xml").write_text(lidc_xml(ct, [small, small]))
    content = [{**rows()[0], "patient_id": "P3", "structure": name} for name in ("", "nodule 2", "GTV")]
    assert convert(export, write_table(tmp_path / "t.csv", content), "--dry-run") == 1
    lines = capsys.readouterr().out.splitlines()
    assert "contour LIDC nodule 1 (" in lines[0]
    assert "MISSING a decision between the structures ['nodule 1', 'nodule 2']" in lines[0]
    # four voxels of 0.5 x 0.25 x 3 mm: a sphere of 1.5 mm3; their centre is voxel (1.5, 1.5, 1)
    assert "contour LIDC nodule 2 (1.4 mm at -9.6, 5.8, 3.0, drawn by 2)" in lines[1]
    assert "MISSING" not in lines[1]
    assert "MISSING a structure called 'GTV'; there are ['nodule 1', 'nodule 2']" in lines[2]
    (export / "c.xml").write_text(lidc_xml(ct, [small]).replace(ct.source.sop_uids[3], "1.2.4"))
    assert convert(export, tmp_path / "t.csv", "--dry-run") == 1
    assert "MISSING a contour that can be read: " in capsys.readouterr().out


def test_the_position_decides_between_structures(export: Path, tmp_path: Path) -> None:
    content = [
        {"patient_id": "007", "x_mm": "-9,0", "y_mm": "7", "z_mm": "9", "pathology": "AIS"},
        {"patient_id": "P1", "x_mm": "", "y_mm": "", "z_mm": "", "pathology": "IAC"},
    ]
    assert convert(export, write_table(tmp_path / "t.csv", content), "--structures", "GTV*|first") == 0
    mask = sitk.ReadImage(str(tmp_path / "raw" / "Dataset501_Nodules" / "labelsTr" / "007.nii.gz"))
    assert np.flatnonzero(sitk.GetArrayFromImage(mask).any(axis=(1, 2))).tolist() == [3]


def test_what_a_row_may_mean_is_told(export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ct = scan(export / "c", "P3")
    speck = [(0.5, 0.5), (0.6, 0.5), (0.6, 0.6)]
    write_rtstruct(export / "c-set", ct, {"GTV": [(3, square(0, 2))], "speck": [(3, speck)]})
    again = pydicom.dcmread(export / "c-set")
    for name in ("SOPInstanceUID", "SeriesInstanceUID"):
        setattr(again, name, f"{again[name].value}.2")
    again.save_as(export / "c-set-2")
    write_ct(export / "pet", patient="P4", Modality="PT")
    write_ct(export / "nobody", patient="", heights=HEIGHTS, hu=HU)
    nobody = next(own for own in ct_series(read_export(export)) if not own.patient_id)
    cells = [("P3", "GTV", ""), ("P4", "", ""), ("P5", "", nobody.uid), ("P5", "", "1.2"), ("P3", "speck", "")]
    content = [
        {"patient_id": patient, "structure": name, "series_uid": uid, "pathology": "AIS"}
        for patient, name, uid in cells
    ]
    table = write_table(tmp_path / "t.csv", content)
    assert convert(export, table, "--dry-run") == 1
    lines = capsys.readouterr().out.splitlines()
    assert "MISSING a decision between several contours called 'GTV', in the series " in lines[0]
    assert "MISSING a CT of this patient; there are objects of modality PT." in lines[1]
    assert "line 4, patient P5: series 1, 5 slices" in lines[2]
    assert (
        "MISSING a CT with series_uid 1.2 of this patient; the export has patients '' (no Patient ID), 007" in lines[3]
    )
    (export / "c-set-2").unlink()
    assert convert(export, write_table(tmp_path / "t.csv", [{**content[0], "pathology": "IAC"}, content[4]])) == 2
    assert "['speck'] encloses no voxel of the CT" in capsys.readouterr().err


def test_a_mapping_names_the_columns_of_contour_and_position(export: Path, tmp_path: Path) -> None:
    content = [
        {"Pat": "007", "Herd": "gtv-1", "X": "", "Y": "", "Z": "", "pathology": "AIS"},
        {"Pat": "007", "Herd": "", "X": "-9,0", "Y": "7", "Z": "9", "pathology": "IAC"},
    ]
    mapping = tmp_path / "m.yaml"
    roles = "{patient_id: Pat, structure: Herd, x_mm: X, y_mm: Y, z_mm: Z}"
    mapping.write_text(
        f"columns: {roles}\nprimary_task: t\ntasks:\n  t: {{column: pathology, classes: {{low: AIS, high: IAC}}}}\n"
    )
    options = ("--mapping", str(mapping), "--structures", "GTV*")
    assert convert(export, write_table(tmp_path / "t.csv", content), *options) == 0
    folder = tmp_path / "raw" / "Dataset501_Nodules"
    mask = sitk.ReadImage(str(folder / "labelsTr" / "007.nii.gz"))
    assert np.flatnonzero(sitk.GetArrayFromImage(mask).any(axis=(1, 2))).tolist() == [1, 3]
    assert "Herd" not in (folder / "nodules.csv").read_text()


def test_several_structures_are_not_guessed(export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = [
        {"patient_id": "007", "pathology": "AIS", "x_mm": "", "y_mm": "", "z_mm": ""},
        {"patient_id": "P1", "pathology": "IAC", "x_mm": "", "y_mm": "", "z_mm": ""},
    ]
    table = write_table(tmp_path / "t.csv", content)
    assert convert(export, table, "--structures", "GTV*|first", "--dry-run") == 1
    lines = capsys.readouterr().out.splitlines()
    assert "MISSING a decision between the structures ['GTV-1', 'GTV-2']" in lines[0]
    assert "MISSING" not in lines[1]
    content[0].update(x_mm="-90", y_mm="7", z_mm="9")
    assert convert(export, write_table(tmp_path / "t.csv", content), "--structures", "*") == 2
    assert "0 structures fit '*' and the position" in capsys.readouterr().err


def test_the_date_of_a_rule_is_read_as_it_is_written(tmp_path: Path) -> None:
    for number, day in enumerate(("20240105", "20240301"), start=1):
        write_ct(tmp_path / str(number), series=number, AcquisitionDate=day)
    series = ct_series(read_export(tmp_path))
    for text in ("2024-02-01", "01.02.2024", "20240201"):
        (kept,) = choose_series(series, [Choice.parse("before=op")], CsvRow(2, {"op": text}))
        assert kept.date == "20240105"
    with pytest.raises(ValueError, match="line 2: --choose before=op needs a date, got 'soon'"):
        choose_series(series, [Choice.parse("before=op")], CsvRow(2, {"op": "soon"}))


def test_rules_decide_between_series(tmp_path: Path) -> None:
    write_ct(tmp_path, series=1, heights=(0, 1, 2), ConvolutionKernel="B30f", StudyDate="20240301")
    write_ct(tmp_path, series=2, heights=(0, 5, 10), ConvolutionKernel="B50f", StudyDate="20240101")
    write_ct(tmp_path, series=3, heights=(0, 5, 10), ConvolutionKernel="B50f", StudyDate="20240501")
    series = ct_series(read_export(tmp_path))
    row = CsvRow(2, {"surgery": "2024-02-15"})

    def chosen(*texts: str) -> list[str]:
        return [one.text("SeriesNumber") for one in choose_series(series, [Choice.parse(text) for text in texts], row)]

    assert chosen() == ["1", "2", "3"]
    assert chosen("thinnest") == ["1"]
    assert chosen("latest") == ["3"]
    assert chosen("earliest") == ["2"]
    assert chosen("before=surgery") == ["2"]
    assert chosen("kernel=b50*") == ["2", "3"]
    assert chosen("kernel=b50*", "latest") == ["3"]
    assert chosen("kernel=none", "thinnest") == ["1"]
    with pytest.raises(ValueError, match="--choose 'kernel' is not a rule"):
        Choice.parse("kernel")
    with pytest.raises(ValueError, match="the table has no such column"):
        Choice.parse("before=x").check_columns(["surgery"])
