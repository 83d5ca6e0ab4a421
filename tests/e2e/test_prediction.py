"""nnUNetv2_predict with a DSMT model."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from dsmt_nnunet.predictions.results import read_folder
from tests.e2e.conftest import Workspace, predict_command, with_positions

Predict = Callable[..., Path]


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "classification.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_each_case_has_a_mask_and_a_classification(found: Path) -> None:
    cases = {path.name[:-7] for path in found.glob("*.nii.gz")}
    assert len(cases) == 3
    assert {prediction.case_id for prediction in read_folder(found)} == cases
    assert len(table(found)) == sum(len(prediction.nodules) for prediction in read_folder(found))


def test_given_positions_are_classified(given: Path, scans_with_positions: Path) -> None:
    with (scans_with_positions / "nodules.csv").open() as stream:
        expected = {(row["case_id"], row["nodule_id"], float(row["x_mm"])) for row in csv.DictReader(stream)}
    assert {(row["case_id"], row["nodule_id"], float(row["x_mm"])) for row in table(given)} == expected
    for path in given.glob("*.nii.gz"):
        image = sitk.ReadImage(str(scans_with_positions / path.name.replace(".nii.gz", "_0000.nii.gz")))
        assert sitk.ReadImage(str(path)).GetSize() == image.GetSize()


def test_both_ways_of_exporting_agree(trained: Workspace, given: Path, scans_with_positions: Path) -> None:
    command = predict_command(trained, "parallel", source=scans_with_positions)
    trained.run(command.replace("-npp 0 -nps 0", "-npp 1 -nps 1"))
    assert table(trained.base / "parallel") == table(given)


def test_a_position_outside_the_scan_is_refused_before_anything_is_written(trained: Workspace) -> None:
    source = with_positions(trained, "in_outside")
    lines = (source / "nodules.csv").read_text().splitlines()
    cells = lines[1].split(",")
    cells[3] = "9999"
    (source / "nodules.csv").write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]))
    output = trained.run(predict_command(trained, "outside", source=source), status=1)
    assert "inside the scan" in output
    assert cells[0] in output
    assert not list((trained.base / "outside").glob("*.nii.gz"))


def test_two_parts_at_once_then_a_lost_json_comes_back(trained: Workspace, scans_with_positions: Path) -> None:
    source = scans_with_positions
    parts = [
        trained.start(predict_command(trained, "parts", f"-num_parts 2 -part_id {part}", source=source))
        for part in (0, 1)
    ]
    for process in parts:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output[-3000:]
    out = trained.base / "parts"
    complete = table(out)
    assert len({row["case_id"] for row in complete}) == 3
    lost = sorted(out.glob("phantom*.json"))[1]
    content = json.loads(lost.read_text())
    lost.unlink()
    others = {path: path.stat().st_mtime_ns for path in out.glob("phantom*.json")}
    trained.run(predict_command(trained, "parts", "--continue_prediction", source=source))
    assert json.loads(lost.read_text()) == content
    assert table(out) == complete
    assert {path: path.stat().st_mtime_ns for path in others} == others


def test_a_scan_without_a_nodule_is_answered(trained: Workspace, predict: Predict) -> None:
    source = trained.base / "in_lung"
    source.mkdir()
    lung = np.full((40, 40, 40), -850.0)
    lung[:, :, :10] = 40.0  # the chest wall
    lung += 300 * gaussian_filter(np.random.default_rng(0).normal(size=lung.shape), 1.5)
    sitk.WriteImage(sitk.GetImageFromArray(lung.astype(np.int16)), str(source / "lung_0000.nii.gz"))
    predict("lung", source=source)
    content = json.loads((trained.base / "lung" / "lung.json").read_text())
    assert isinstance(content["nodules"], list)
    assert (trained.base / "lung" / "classification.csv").read_text().startswith("case_id,nodule_id,x_mm")


def test_predictions_are_evaluated(trained: Workspace, given: Path) -> None:
    trained.run(
        f"dsmt evaluate predictions {given} --truth {trained.raw / 'nodulesTs.csv'} -o {trained.base / 'metrics'}"
    )
    assert (trained.base / "metrics" / "metrics.json").is_file()
