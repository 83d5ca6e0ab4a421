from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from dsmt_nnunet.cli import predict
from dsmt_nnunet.cli.main import main
from dsmt_nnunet.dicom.export import read_export
from dsmt_nnunet.dicom.scan_source import read_source
from dsmt_nnunet.dicom.series import ct_series, read_ct
from dsmt_nnunet.inference.dicom_input import is_export, write_input
from dsmt_nnunet.nodules import NoduleTable
from tests.unit.dicom.made_series import volume, write_ct
from tests.unit.dicom.made_structures import write_rtstruct, write_seg
from tests.unit.dicom.test_contours import square


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Two patients, one with two series and contours on the first of them."""
    folder = tmp_path / "export"
    write_ct(folder / "a", patient="P 1/x")
    write_ct(folder / "b", patient="P 1/x", series=2)
    write_ct(folder / "c", patient="P2")
    first = next(own for own in ct_series(read_export(folder)) if own.text("SeriesNumber") == "1")
    square = [(1.0, 1.0), (4.0, 1.0), (4.0, 3.0), (1.0, 3.0)]
    write_rtstruct(folder / "rt", read_ct(first), {"GTV-1": [(3.0, square), (6.0, square)], "Lung": [(3.0, square)]})
    return folder


def test_each_series_becomes_a_case(export: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    cases = write_input(export, tmp_path / "in", ".nii.gz")
    assert [case.case_id for case in cases] == ["P_1_x_1", "P_1_x_2", "P2"]
    image = sitk.ReadImage(str(tmp_path / "in" / "P2_0000.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), volume())
    assert not (tmp_path / "in" / "nodules.csv").exists()


def test_contours_give_positions(export: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    cases = write_input(export, tmp_path / "in", ".nii.gz", "GTV*")
    assert [case.nodules for case in cases] == [1, 0, 0]
    (nodule,) = NoduleTable.read(tmp_path / "in" / "nodules.csv").nodules
    assert (nodule.case_id, nodule.nodule_id) == (cases[0].case_id, "GTV-1")
    assert nodule.centre_mm[2] == pytest.approx(4.5)
    with pytest.raises(ValueError, match="no contour 'nodule' refers to a CT"):
        write_input(export, tmp_path / "in", ".nii.gz", "nodule")
    assert [str(case).endswith("no such contour, so that it is searched") for case in cases] == [False, True, True]
    (export / "nodules.csv").write_text("case_id,x_mm,y_mm,z_mm\nP2,-9,6,3\n")
    with pytest.raises(ValueError, match=r"holds a nodules.csv, and --structures takes positions from contours"):
        write_input(export, tmp_path / "in", ".nii.gz", "GTV*")


def test_a_table_in_the_export_is_taken_over(export: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (export / "nodules.csv").write_text("case_id,x_mm,y_mm,z_mm\nP2,-9,6,3\n")
    write_input(export, tmp_path / "in", ".nii.gz")
    assert NoduleTable.read(tmp_path / "in" / "nodules.csv").nodules[0].centre_mm == (-9, 6, 3)


def test_a_table_in_a_zip_is_taken_over(export: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (export / "nodules.csv").write_text("case_id,x_mm,y_mm,z_mm\nP2,-9,6,3\n")
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "export"))
    write_input(packed, tmp_path / "in", ".nii.gz")
    assert NoduleTable.read(tmp_path / "in" / "nodules.csv").nodules[0].centre_mm == (-9, 6, 3)


def test_segmentations_give_positions(tmp_path: Path) -> None:
    write_ct(tmp_path / "export" / "ct")
    pixels = np.zeros((6, 8), np.uint8)
    pixels[2:4, 4:6] = 1
    ct = read_ct(ct_series(read_export(tmp_path / "export"))[0])
    write_seg(tmp_path / "export" / "seg", ct, [(1, 6, pixels)])
    (tmp_path / "in").mkdir()
    write_input(tmp_path / "export", tmp_path / "in", ".nii.gz", "*")
    (nodule,) = NoduleTable.read(tmp_path / "in" / "nodules.csv").nodules
    assert nodule.centre_mm == pytest.approx((-10 + 4.5 * 0.25, 5 + 2.5 * 0.5, 6.0))


def test_a_contour_in_two_structure_sets_is_not_two_nodules(tmp_path: Path) -> None:
    write_ct(tmp_path / "export" / "ct")
    ct = read_ct(ct_series(read_export(tmp_path / "export"))[0])
    write_rtstruct(tmp_path / "export" / "set", ct, {"GTV": [(3, square(0, 3))]})
    again = pydicom.dcmread(tmp_path / "export" / "set")
    again.SOPInstanceUID, again.SeriesInstanceUID = f"{again.SOPInstanceUID}.2", f"{again.SeriesInstanceUID}.2"
    again.save_as(tmp_path / "export" / "set2")
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match="the contour 'GTV' stands in several series"):
        write_input(tmp_path / "export", tmp_path / "in", ".nii.gz", "*")


def test_an_unreadable_series_does_not_stop_the_others(export: Path, tmp_path: Path) -> None:
    (export / "c" / "1-1").unlink()
    (export / "nodules.csv").write_text("case_id,x_mm,y_mm,z_mm\nP2,-9,6,3\nP_1_x_1,-9,6,3\n")
    (tmp_path / "in").mkdir()
    cases = write_input(export, tmp_path / "in", ".nii.gz")
    assert [bool(case.problem) for case in cases] == [False, False, True]
    assert "do not form a regular stack" in str(cases[2])
    assert [nodule.case_id for nodule in NoduleTable.read(tmp_path / "in" / "nodules.csv").nodules] == ["P_1_x_1"]
    assert not (tmp_path / "in" / "P2_0000.nii.gz").exists()
    shutil.rmtree(export / "a")
    shutil.rmtree(export / "b")
    with pytest.raises(ValueError, match="no CT series can be read"):
        write_input(export, tmp_path / "in", ".nii.gz")


def test_exports_are_told_from_images(export: Path, tmp_path: Path) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", export))
    images = tmp_path / "images"
    images.mkdir()
    assert not is_export(images, ".nii.gz")
    shutil.copy(export / "a" / "1-0", images)
    assert is_export(images, ".nii.gz")
    (images / "c_0000.nii.gz").touch()
    assert not is_export(images, ".nii.gz")
    assert is_export(packed, ".nii.gz")
    assert not is_export(tmp_path / "none", ".nii.gz")


def test_the_command_hands_images_to_nnunet_and_notes_the_series(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
    seen: list[list[str]] = []

    def stock(command: str, entry_point: object, arguments: list[str]) -> int:
        seen.append([*arguments, *sorted(path.name for path in Path(arguments[1]).iterdir())])
        (tmp_path / "out").mkdir(exist_ok=True)
        return 0

    monkeypatch.setattr(predict, "run_stock", stock)
    words = ["-i", str(export), "-o", str(tmp_path / "out"), "--structures", "GTV*", "-f", "0"]
    assert main(["predict", *words]) == 0
    (arguments,) = seen
    assert arguments[2:8] == ["-o", str(tmp_path / "out"), "-f", "0", "-tr", "DSMTTrainer"]
    assert "P2_0000.nii.gz" in arguments
    assert "nodules.csv" in arguments
    assert not Path(arguments[1]).exists()
    assert read_source(tmp_path / "out" / "sources" / "P2.json").series_uid.endswith(".1")
    next((export / "c").iterdir()).write_bytes(b"")
    assert main(["predict", *words]) == 1
    assert "1 of 3 CT series could not be read" in capsys.readouterr().err
    assert len(seen) == 2
    (tmp_path / "empty").mkdir()
    assert main(["predict", "-i", str(tmp_path / "empty"), "-o", "out", "--structures", "GTV*"]) == 2
    assert "--structures names contours of a DICOM export" in capsys.readouterr().err
