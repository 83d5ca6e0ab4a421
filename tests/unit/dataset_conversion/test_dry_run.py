from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from dsmt_nnunet.cli.main import main
from dsmt_nnunet.csv_table import read_csv
from dsmt_nnunet.dataset_conversion.remarks import remark_hints
from dsmt_nnunet.dicom.export import read_export
from dsmt_nnunet.dicom.series import ct_series, read_ct
from tests.unit.dicom.made_series import write_ct
from tests.unit.dicom.made_structures import write_rtstruct
from tests.unit.dicom.test_contours import square

HEIGHTS = (0, 3, 6, 9, 12)


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Patients 7 and 07, each with a nodule."""
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    folder = tmp_path / "export"
    hu = (np.arange(5 * 48).reshape(5, 6, 8) * 6 - 900).astype(np.int16)
    for patient in ("7", "07"):
        write_ct(folder / patient, heights=HEIGHTS, hu=hu, patient=patient)
        (series,) = ct_series(read_export(folder / patient))
        write_rtstruct(folder / f"{patient}-set", read_ct(series), {"GTV": [(3, square(0, 2))]})
        hu = hu + np.int16(1)
    return folder


def both(
    export: Path, capsys: pytest.CaptureFixture[str], rows: list[str], *options: str
) -> tuple[int, list[str], str]:
    """Status and lines of the dry run of a table, and what the conversion says."""
    table = export.parent / "t.csv"
    table.write_text("\n".join(["patient_id,pathology,diameter_mm,operated", *rows]))
    command = ["convert", "dicom", str(export), str(table), "-d", "501", "-n", "Nodules", *options]
    status = main([*command, "--dry-run"])
    assert not (export.parent / "raw").exists()
    lines = capsys.readouterr().out.splitlines()
    assert (main(command) == 0) == (status == 0)
    return status, lines, capsys.readouterr().err


DIFFERENT = ("--look-alike-patients", "different")


@pytest.mark.parametrize(
    ("rows", "options", "wrong"),
    [
        (["7,adeno,,", "07,IAC,,"], DIFFERENT, "line 2, case '7': column 'pathology': 'adeno' is not a known term of"),
        (["7,AIS,big,", "07,IAC,,"], DIFFERENT, "line 2, case '7': diameter_mm must be a number, got 'big'"),
        (["7,AIS,,", "07,IAC,,"], (), "line 3, case '07': patients '7' and '07' look like one person."),
        (["7,AIS,,", "07,MIA,,"], DIFFERENT, "the training nodules show 1 of the classes"),
        (["7,AIS,,3/4/2024", "07,IAC,,"], (*DIFFERENT, "--pseudonyms", "p.csv"), "column 'operated'"),
    ],
)
def test_the_dry_run_says_what_the_conversion_refuses_of_the_table(
    export: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    rows: list[str],
    options: tuple[str, ...],
    wrong: str,
) -> None:
    monkeypatch.chdir(export.parent)
    status, lines, refused = both(export, capsys, rows, *options)
    assert status == 1
    told = [line.removeprefix("WRONG ") for line in lines if line.startswith("WRONG ")]
    assert len(told) == 1
    assert wrong in told[0]
    assert told[0] in refused
    assert lines[-1] == f"{1 if told[0].startswith('line') else 2} of 2 rows are complete; nothing was written."
    assert not (export.parent / "p.csv").exists()


def test_what_the_dry_run_lets_pass_is_converted(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines, _ = both(export, capsys, ["7,AIS,,", "07,IAC,,"], *DIFFERENT)
    assert (status, lines[-1]) == (0, "2 of 2 rows are complete; nothing was written.")
    assert (export.parent / "raw" / "Dataset501_Nodules" / "imagesTr" / "07_0000.nii.gz").exists()


def test_a_total_below_the_table_is_called_so(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["7,AIS,8,2024-01-05", "07,IAC,9,2024-02-05", ",,,", "Total: 18 nodules,,,", ",n. b.,,"]
    status, lines, refused = both(export, capsys, rows, *DIFFERENT)
    assert status == 1
    hint = "The row fills 1 of 4 cells ('Total: 18 nodules'), as a remark or a total below a table does"
    assert "line 5, patient Total: 18 nodules: MISSING a CT of this patient" in lines[2]
    assert hint in lines[2]
    assert "('n. b.')" in lines[3]
    assert hint in refused
    assert lines[-1] == "2 of 4 rows are complete; nothing was written."


def test_a_row_between_others_is_no_remark(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,c\n1,2,3\n4,,\n5,6,7\n8,9,\n")
    assert remark_hints(read_csv(tmp_path / "t.csv")) == {}


def changed_set(export: Path, change: Callable[[Dataset], None]) -> None:
    dataset = pydicom.dcmread(export / "7-set")
    change(dataset)
    dataset.save_as(export / "7-set")


def only_open(dataset: Dataset) -> None:
    dataset.ROIContourSequence[0].ContourSequence[0].ContourGeometricType = "OPEN_PLANAR"


def other_frame(dataset: Dataset) -> None:
    dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.3"


def other_series(dataset: Dataset) -> None:
    study = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    study.RTReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (only_open, "MISSING a closed contour of ['GTV']; drawn are ['OPEN_PLANAR']."),
        (lambda dataset: delattr(dataset, "ROIContourSequence"), "a closed contour of ['GTV']; drawn are no contours."),
        (other_frame, "['GTV'] were drawn in the frame of reference 1.2.3, and the CT is in "),
        (
            other_series,
            "refers to this series by its UID; RTSTRUCT 1.2.826.0.1.3680043.10.1.3.55.90 refers to 1.2.3 (not",
        ),
    ],
)
def test_contours_that_cannot_be_taken(
    export: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Dataset], None], words: str
) -> None:
    changed_set(export, change)
    status, lines, refused = both(export, capsys, ["7,AIS,,", "07,IAC,,"], *DIFFERENT)
    assert status == 1
    assert words in lines[0]
    assert "MISSING" not in lines[1]
    assert words.removeprefix("MISSING ") in refused
