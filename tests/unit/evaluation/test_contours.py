from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dsmt_nnunet.cli.main import main
from dsmt_nnunet.evaluation.contours import evaluate_contours
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.reader_masks import cropped_masks, read_reader_masks, write_reader_masks
from dsmt_nnunet.tasks import ClassificationSchema, Task

SCHEMA = ClassificationSchema((Task("t", ("no", "yes")),), "t")


def line(*columns: int) -> np.ndarray:
    """Voxels (N, 3) of one row."""
    return np.array([[2, 3, column] for column in columns])


@pytest.fixture
def grid() -> sitk.Image:
    image = sitk.Image(9, 7, 5, sitk.sitkUInt8)
    image.SetSpacing((0.5, 0.5, 2.0))
    image.SetOrigin((-10.0, 5.0, 30.0))
    image.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, -1))
    return image


@pytest.fixture
def data_set(tmp_path: Path, grid: sitk.Image) -> Path:
    """Two nodules that several readers drew, one that a single reader drew, one without masks."""
    folder = tmp_path / "Dataset501_Nodules"
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps({"classification": SCHEMA.to_block()}))
    names = [("a", "1"), ("a", "1_b"), ("b", "1"), ("c", "1")]
    nodules = [
        Nodule(case, nodule, case, (0.0, 0.0, float(i)), 5.0, {"t": "no"}) for i, (case, nodule) in enumerate(names)
    ]
    NoduleTable(tuple(nodules)).write(folder / "nodules.csv", SCHEMA)
    drawn = {
        ("a", "1"): {1: line(1, 2, 3, 4), 2: line(3, 4), 4: line(4)},
        ("a", "1_b"): {1: line(7)},
        ("b", "1"): {2: line(1, 2), 3: line(2, 3)},
    }
    for (case, nodule), voxels in drawn.items():
        write_reader_masks(folder, case, nodule, cropped_masks(voxels, grid))
    return folder


def test_masks_lie_where_they_were_drawn(data_set: Path, grid: sitk.Image) -> None:
    masks = read_reader_masks(data_set, "a", "1")
    assert list(masks) == [1, 2, 4]
    assert masks[2].GetSize() == (6, 3, 3)
    for x in range(9):
        place = masks[2].TransformPhysicalPointToIndex(grid.TransformIndexToPhysicalPoint((x, 3, 2)))
        inside = all(0 <= index < size for index, size in zip(place, masks[2].GetSize(), strict=True))
        assert (inside and masks[2][place] == 1) == (x in (3, 4))
    assert list(read_reader_masks(data_set, "a", "1_b")) == [1]
    assert read_reader_masks(data_set, "c", "1") == {}


def test_agreement_of_readers(data_set: Path, tmp_path: Path) -> None:
    found = evaluate_contours(data_set, tmp_path / "out")
    # nodule a/1: 2 * 2 / 6, 2 * 1 / 5, 2 * 1 / 3; nodule b/1: 2 * 1 / 4
    first = (2 / 3 + 2 / 5 + 2 / 3) / 3
    assert (found.n, found.n_patients, found.n_single) == (2, 2, 1)
    assert found.dice == pytest.approx((first + 1 / 2) / 2)
    assert 0 < found.dice_ci[0] < found.dice < found.dice_ci[1] < 1
    # volumes of 4, 2 and 1 voxels of 0.5 mm3, then of 2 and 2
    assert found.volume_variation == pytest.approx(math.sqrt(7 / 3) / (7 / 3) / 2)
    with (tmp_path / "out" / "contours.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["case_id"], row["nodule_id"], row["readers"]) for row in rows] == [
        ("a", "1", "3"), ("a", "1_b", "1"), ("b", "1", "2"),
    ]  # fmt: skip
    assert rows[0]["volumes_mm3"] == "1: 2.0; 2: 1.0; 4: 0.5"
    assert float(rows[0]["dice_mean"]) == pytest.approx(first, abs=1e-4)
    assert (rows[1]["dice_mean"], rows[1]["volume_variation"]) == ("", "")
    assert json.loads((tmp_path / "out" / "contours.json").read_text())["n_single"] == 1


def test_the_command_says_what_is_missing(
    data_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("nnUNet_raw", str(data_set.parent))
    command = ["evaluate", "contours", "-d", data_set.name, "-o", str(tmp_path / "out")]
    assert main(command) == 0
    assert "2 nodules of 2 patients were drawn by two readers or more, 1 by one alone." in capsys.readouterr().out
    for path in (data_set / "readers").glob("b*"):
        path.unlink()
    assert main(command) == 0
    assert "Dice of two readers 0.578 (no interval: one patient)" in capsys.readouterr().out
    for path in (data_set / "readers").glob("*reader[234]*"):
        path.unlink()
    assert main(command) == 2
    assert "Each of the 2 nodules was drawn by a single reader" in capsys.readouterr().err
    for path in (data_set / "readers").iterdir():
        path.unlink()
    assert main(command) == 2
    assert "holds no reader's mask in 'readers'" in capsys.readouterr().err


def test_masks_on_other_grids_are_not_compared(data_set: Path, tmp_path: Path, grid: sitk.Image) -> None:
    write_reader_masks(data_set, "b", "1", {3: grid})
    with pytest.raises(ValueError, match=r"Case 'b', nodule '1': the readers' masks .* differ in size or place"):
        evaluate_contours(data_set, tmp_path / "out")
