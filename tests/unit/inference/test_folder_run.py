from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk
import torch

from dsmt_nnunet.inference.candidates import Findings
from dsmt_nnunet.inference.folder_run import FolderRun
from dsmt_nnunet.inference.lost_cases import CasesFailed
from dsmt_nnunet.inference.scan_image import ScanImage
from dsmt_nnunet.inference.scan_predictor import ScanPredictor
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.predictions.operating_point import OperatingPoint, TaskOperatingPoint
from dsmt_nnunet.predictions.results import read_folder
from tests.unit.inference.small_predictor import bell, predictor, run
from tests.unit.small_plans import SCHEMA


@pytest.fixture(autouse=True)
def _bells(monkeypatch: pytest.MonkeyPatch) -> None:
    """The segmentation finds the bell and nothing else."""
    monkeypatch.setattr(ScanPredictor, "_segment", lambda self, data, region=None: bell(data))


def test_answers_of_two_models_do_not_lie_in_one_folder(scans: Any, tmp_path: Path) -> None:
    source, world = scans
    NoduleTable((Nodule("a", "1", "p", world), Nodule("b", "1", "q", world))).write(source / "nodules.csv", SCHEMA)
    first, second, output = predictor(), predictor(), tmp_path / "out"
    run(first, source, output)
    with pytest.raises(ValueError, match="another model, fold or checkpoint"):
        run(second, source, output, overwrite=False)
    first.operating_point = OperatingPoint({"invasiveness": TaskOperatingPoint(threshold=0.3)})
    with pytest.raises(ValueError, match=r"another operating point \(temperatures, thresholds differ\)"):
        run(first, source, output, overwrite=False)
    first.operating_point, first.use_mirroring = None, True
    with pytest.raises(ValueError, match=r"mirroring differ"):
        run(first, source, output, overwrite=False)
    run(second, source, output)
    assert {tuple(case.model["weights"]) for case in read_folder(output)} == {second.weights}
    (source / "nodules.csv").unlink()
    (source / "b_0000.nii.gz").unlink()
    with pytest.raises(ValueError, match="another model, fold or checkpoint"):
        run(first, source, output)


def test_continuing_sees_another_image_a_cut_mask_and_other_positions(scans: Any, tmp_path: Path) -> None:
    source, world = scans
    rows = {case: Nodule(case, "1", case, world) for case in "ab"}
    own, output = predictor(), tmp_path / "out"

    def again(**changed: Any) -> list[str]:
        NoduleTable(tuple(changed.get(case, nodule) for case, nodule in rows.items())).write(
            source / "nodules.csv", SCHEMA
        )
        before = {path.name: path.stat().st_mtime_ns for path in output.glob("?.json")}
        run(own, source, output, overwrite=False)
        return [path.name for path in sorted(output.glob("?.json")) if before.get(path.name) != path.stat().st_mtime_ns]

    assert again() == ["a.json", "b.json"]
    assert again() == []
    assert again(b=replace(rows["b"], centre_mm=(world[0], world[1] + 1, world[2]))) == ["b.json"]
    assert again() == ["b.json"]
    mask = output / "a.nii.gz"
    mask.write_bytes(mask.read_bytes()[:-20])
    assert again() == ["a.json"]
    image = sitk.ReadImage(str(source / "a_0000.nii.gz"))
    sitk.WriteImage(image + 1, str(source / "a_0000.nii.gz"))
    assert again() == ["a.json"]
    (source / "nodules.csv").unlink()
    run(own, source, output, overwrite=False)
    assert all(case.candidates is not None for case in read_folder(output)), "positions are searched now"
    assert again() == ["a.json", "b.json"], "and given again"


WRONG_IMAGES: dict[str, tuple[Any, str]] = {
    "intercept missing": (lambda image: image + 1024, "not in HU"),
    "normalised": (lambda image: (image + 1000) / 1100, "not in HU"),
    "mask": (lambda image: sitk.Cast(image > -200, sitk.sitkUInt8), "not in HU"),
    "constant": (lambda image: image * 0 - 500, "constant"),
    "slice": (lambda image: image[:, :, 5:6], "one 3-D volume"),
    "2-D": (lambda image: image[:, :, 5], "one 3-D volume"),
    "time series": (lambda image: sitk.JoinSeries([image, image]), "one 3-D volume"),
    "colour": (lambda image: sitk.Compose(image, image, image), "components"),
    "not finite": (lambda image: sitk.Log(image), "NaN or infinite"),
}


@pytest.mark.parametrize("name", WRONG_IMAGES)
@pytest.mark.parametrize("given", [False, True])
def test_one_bad_scan_does_not_keep_the_others_from_their_answers(
    scans: Any, tmp_path: Path, name: str, given: bool
) -> None:
    source, world = scans
    change, reason = WRONG_IMAGES[name]
    sitk.WriteImage(change(sitk.ReadImage(str(source / "a_0000.nii.gz"))), str(source / "a_0000.nii.gz"))
    if given:
        bad = () if name in ("slice", "2-D") else (Nodule("a", "1", "p", world),)
        rows = (*bad, Nodule("b", "1", "q", world))
        NoduleTable(rows).write(source / "nodules.csv", SCHEMA)
    output = tmp_path / "out"
    with pytest.raises(CasesFailed, match=rf"1 of 2 cases could not be predicted(.|\n)*a: .*{reason}"):
        run(predictor(), source, output)
    assert [case.case_id for case in read_folder(output)] == ["b"]
    assert not (output / "a.nii.gz").exists()


@pytest.mark.parametrize("keep", [0, 100, 2000])
def test_a_cut_scan_is_not_filled_with_zeros(scans: Any, tmp_path: Path, keep: int) -> None:
    source, _ = scans
    path = source / "a_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CasesFailed, match=r"a: .*cannot be read"):
        run(predictor(), source, tmp_path / "out")


def test_who_knows_that_a_scan_is_right_can_have_it_predicted(
    scans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = scans
    path = str(source / "a_0000.nii.gz")
    sitk.WriteImage(sitk.ReadImage(path) + 1024, path)
    monkeypatch.setenv("DSMT_FORCE_INTENSITIES", "1")
    run(predictor(), source, tmp_path / "out")
    assert len(read_folder(tmp_path / "out")) == 2


def test_a_position_in_air_is_no_nodule(scans: Any, tmp_path: Path) -> None:
    source, world = scans
    rows = (Nodule("a", "air", "p", (-49.0, 21.0, 301.0)), Nodule("b", "1", "q", world))
    NoduleTable(rows).write(source / "nodules.csv", SCHEMA)
    with pytest.raises(CasesFailed, match=r"a: .*only air"):
        run(predictor(), source, tmp_path / "out")
    assert [case.case_id for case in read_folder(tmp_path / "out")] == ["b"]


def test_rows_that_name_no_case_or_one_place_twice_stop_before_anything_is_predicted(
    scans: Any, tmp_path: Path
) -> None:
    source, world = scans
    rows = [Nodule("a", "1", "p", world), Nodule("a", "2", "p", world), Nodule("B", "1", "q", world)]
    NoduleTable(tuple(rows)).write(source / "nodules.csv", SCHEMA)
    with pytest.raises(ValueError, match=r"no image of case 'B'(.|\n)*'1' and '2' are at one place"):
        run(predictor(), source, tmp_path / "out")


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ([], "holds no image"),
        (["c.nii.gz"], r"call it c_0000\.nii\.gz"),
        (["c_0000.NII.GZ"], "exactly so"),
        (["c_0001.nii.gz"], "needs the channels"),
        (["a_0001.nii.gz"], "needs the channels"),
        (["plans_0000.nii.gz"], "would replace"),
    ],
)
def test_an_input_folder_in_which_something_would_be_passed_over_is_refused(
    scans: Any, tmp_path: Path, names: list[str], match: str
) -> None:
    source = tmp_path / "other"
    source.mkdir()
    for name in names:
        shutil.copy(scans[0] / "a_0000.nii.gz", source / name)
        shutil.copy(scans[0] / "a_0000.nii.gz", source / "a_0000.nii.gz")
    with pytest.raises(ValueError, match=match):
        run(predictor(), source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_input_and_output_may_not_be_one_folder(scans: Any) -> None:
    before, own = sorted(scans[0].iterdir()), predictor()
    for predict in (own.predict_from_files, own.predict_from_files_sequential):
        with pytest.raises(ValueError, match="input folder too"):
            predict(str(scans[0]), str(scans[0]))
        assert sorted(scans[0].iterdir()) == before


@pytest.mark.parametrize(
    ("output", "beside"),
    [
        ("raw/labelsTs", "raw/dataset.json"),
        ("raw/labelsTr", "raw/dataset.json"),
        ("raw/imagesTs", "raw/dataset.json"),
        ("raw", "raw/imagesTr/x"),
        ("all", "all/Dataset500_X/x"),
        ("preprocessed", "preprocessed/splits_final.json"),
        ("preprocessed/gt_segmentations", "preprocessed/dataset.json"),
        ("preprocessed/p", "preprocessed/p/x.b2nd"),
        ("model", "model/fold_0/checkpoint_final.pth"),
        ("model/fold_0", "model/fold_0/checkpoint_final.pth"),
        ("model/fold_0/validation", "model/fold_0/checkpoint_final.pth"),
    ],
)
def test_a_folder_of_a_data_set_or_model_is_no_place_for_predictions(
    scans: Any, tmp_path: Path, output: str, beside: str
) -> None:
    place = tmp_path / beside
    place.parent.mkdir(parents=True)
    place.touch()
    (tmp_path / output).mkdir(parents=True, exist_ok=True)
    mask = tmp_path / output / "a.nii.gz"
    mask.write_bytes(b"reference")
    own = predictor()
    for predict in (own.predict_from_files, own.predict_from_files_sequential):
        with pytest.raises(ValueError, match="folder of nnU-Net's own"):
            predict(str(scans[0]), str(tmp_path / output))
        assert mask.read_bytes() == b"reference"
        assert not (tmp_path / output / "plans.json").exists()


def test_a_folder_beside_the_folds_of_a_model_may_hold_predictions(scans: Any, tmp_path: Path) -> None:
    (tmp_path / "model" / "fold_0").mkdir(parents=True)
    (tmp_path / "model" / "fold_0" / "checkpoint_final.pth").touch()
    run(predictor(), scans[0], tmp_path / "model" / "labelsTs")
    assert len(read_folder(tmp_path / "model" / "labelsTs")) == 2


def test_a_previous_stage_is_refused(scans: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no second stage"):
        run(predictor(), scans[0], tmp_path / "out", folder_with_segs_from_prev_stage=str(tmp_path))


def test_nan_from_the_network_becomes_no_answer(scans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = predictor()
    monkeypatch.setattr(own, "_segment", lambda data, region=None: bell(data) * torch.nan)
    with pytest.raises(CasesFailed, match="not finite"):
        run(own, scans[0], tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.nii.gz"))


def test_a_model_with_nan_weights_is_refused() -> None:
    own = predictor()
    own.list_of_parameters[0][next(iter(own.list_of_parameters[0]))][:] = torch.nan
    with pytest.raises(ValueError, match=r"network 0: .*NaN or infinity"):
        own._take_over(None)


def test_a_case_file_waits_for_its_mask(scans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net writes masks in other processes, some time after it has been told to."""
    own = FolderRun.of(predictor())
    (tmp_path / "out").mkdir()
    inputs, _, _ = own._manage_input_and_output_lists(str(scans[0]), str(tmp_path / "out"))
    assert len(inputs) == 2
    image = ScanImage.read(inputs[0], own.plans_manager)
    for case in own.searched:
        own.waiting.append((str(case.output), own.case_prediction(Path(str(case.output)).name, image, Findings(()))))
    mask = tmp_path / "out" / "a.nii.gz"
    sitk.WriteImage(sitk.ReadImage(inputs[0][0]), str(mask))
    whole = mask.read_bytes()
    mask.write_bytes(whole[:-30])
    own._write_waiting()
    assert not list((tmp_path / "out").glob("?.json"))
    mask.write_bytes(whole)
    own._write_waiting()
    assert [path.name for path in (tmp_path / "out").glob("?.json")] == ["a.json"]
    own._write_waiting(last=True)
    assert "mask could not be written" in own.failed["b"]


def test_a_mask_that_was_not_written_whole_gets_no_case_file(
    scans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, world = scans
    own = predictor()

    def cut(segmentation: Any, output: str, properties: Any) -> None:
        Path(output).write_bytes(b"")

    monkeypatch.setattr(own.plans_manager.image_reader_writer_class, "write_seg", staticmethod(cut))
    NoduleTable((Nodule("a", "1", "p", world),)).write(source / "nodules.csv", SCHEMA)
    with pytest.raises(CasesFailed, match=r"2 of 2(.|\n)*not written whole"):
        run(own, source, tmp_path / "out")
    assert not list((tmp_path / "out").glob("?.json"))


def test_what_is_doubtful_is_told_in_the_case_file(
    scans: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, world = scans
    beside = (world[0] + 11.0, world[1], world[2])
    NoduleTable((Nodule("a", "1", "p", beside), Nodule("b", "1", "q", world))).write(source / "nodules.csv", SCHEMA)
    monkeypatch.setattr("dsmt_nnunet.intensities.NO_TISSUE_HU", -1001.0)  # the bell lies in nothing but air
    run(predictor(), source, tmp_path / "out")
    a, b = read_folder(tmp_path / "out")
    assert b.doubts == () or all("draws none" in text for text in b.doubts)
    assert any("beside the nodule" in text for text in a.doubts)
    assert f"Case a: {a.doubts[0]}" in capsys.readouterr().out


def test_a_position_at_which_the_model_draws_nothing_is_told(scans: Any, tmp_path: Path) -> None:
    source, world = scans
    NoduleTable((Nodule("a", "1", "p", world),)).write(source / "nodules.csv", SCHEMA)
    own = predictor()
    image = ScanImage.read([str(source / "a_0000.nii.gz")], own.plans_manager)
    (nodule,) = own.answer(image, [Nodule("a", "1", "p", world)]).found.nodules
    for volume, told in ((0.0, 1), (500.0, 0)):
        case = own.case_prediction("a", image, Findings((replace(nodule, volume_mm3=volume),)))
        assert len(case.doubts) == told
