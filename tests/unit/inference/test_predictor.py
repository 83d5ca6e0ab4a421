from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from scipy import ndimage

from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.geometry import equivalent_diameter_mm
from dsmt_nnunet.inference.predictor import is_dsmt_network
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.predictions.operating_point import OperatingPoint, TaskOperatingPoint
from dsmt_nnunet.predictions.results import read_case, read_folder
from tests.unit.inference.small_predictor import bell, predictor, run
from tests.unit.small_plans import CONFIGURATION, SCHEMA


def test_networks_are_told_apart() -> None:
    assert is_dsmt_network(predictor().network)
    assert not is_dsmt_network(torch.nn.Identity())
    assert is_dsmt_network(torch.compile(predictor().network, backend="eager"))


def test_nodules_at_given_positions_are_classified(scans: Any, tmp_path: Path) -> None:
    source, world = scans
    beside = (world[0], world[1] + 3, world[2])
    nodules = (Nodule("a", "left", "p", world), Nodule("b", "x", "q", world), Nodule("b", "y", "q", beside))
    NoduleTable(nodules).write(source / "nodules.csv", SCHEMA)
    output = tmp_path / "out"
    run(predictor(folds=2), source, output)
    case = read_case(output / "a.json")
    assert [nodule.nodule_id for nodule in case.nodules] == ["left"]
    assert case.nodules[0].centre_mm == pytest.approx(world, abs=1e-3)
    assert sum(case.nodules[0].tasks["texture"].probabilities.values()) == pytest.approx(1)
    assert case.nodules[0].tasks["invasiveness"].spread["invasive"] > 0
    assert case.model["folds"] == 2
    assert case.model["configuration"] == CONFIGURATION
    assert [nodule.nodule_id for nodule in read_case(output / "b.json").nodules] == ["x", "y"]
    assert len((output / "classification.csv").read_text().splitlines()) == 4
    written = sitk.ReadImage(str(output / "a.nii.gz"))
    assert written.GetSize() == (26, 24, 20)
    assert written.GetOrigin() == (-50.0, 20.0, 300.0)
    assert not list(output.glob("*.tmp"))


def test_the_same_nodule_has_the_same_answer_in_both_ways(
    scans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, world = scans
    own = predictor()
    monkeypatch.setattr(own, "_segment", bell)
    run(own, source, tmp_path / "found")
    (found,) = read_case(tmp_path / "found" / "a.json").nodules
    assert found.centre_mm == pytest.approx(world, abs=0.3)
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "found" / "a.nii.gz")))
    assert found.diameter_mm == pytest.approx(equivalent_diameter_mm(mask.sum() * 1.5), rel=0.05)
    NoduleTable((Nodule("a", "1", "p", found.centre_mm),)).write(source / "nodules.csv", SCHEMA)
    run(own, source, tmp_path / "given")
    (given,) = read_case(tmp_path / "given" / "a.json").nodules
    for name in SCHEMA.task_names:
        assert given.tasks[name].probabilities == pytest.approx(found.tasks[name].probabilities, abs=1e-4)


def test_a_position_outside_its_scan_stops_before_anything_is_predicted(scans: Any, tmp_path: Path) -> None:
    source, world = scans
    NoduleTable((Nodule("a", "ras", "p", (-world[0], -world[1], world[2])),)).write(source / "nodules.csv", SCHEMA)
    with pytest.raises(ValueError, match=r"a_0000\.nii\.gz, nodule 'ras'"):
        run(predictor(), source, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.nii.gz"))


def test_continuing_predicts_the_cases_that_lack_mask_or_json(
    scans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, world = scans
    NoduleTable(tuple(Nodule(c, "1", c, world) for c in "ab")).write(source / "nodules.csv", SCHEMA)
    own, output = predictor(), tmp_path / "out"
    run(own, source, output)
    (output / "b.json").unlink()
    before = (output / "a.json").stat().st_mtime_ns
    run(own, source, output, overwrite=False)
    assert (output / "a.json").stat().st_mtime_ns == before
    assert len((output / "classification.csv").read_text().splitlines()) == 3


def test_the_operating_point_of_the_model_folder_is_applied(scans: Any, tmp_path: Path) -> None:
    source, world = scans
    NoduleTable((Nodule("a", "1", "p", world), Nodule("b", "1", "q", world))).write(source / "nodules.csv", SCHEMA)
    model = tmp_path / "model"
    model.mkdir()
    own = predictor()
    points = {"invasiveness": TaskOperatingPoint(1.5, 0.001)}
    OperatingPoint(points, {}, own.weights, {task.name: task.classes for task in SCHEMA.tasks}).write(model)
    own._take_over(model)
    run(own, source, tmp_path / "out")
    case = read_case(tmp_path / "out" / "a.json")
    answer = case.nodules[0].tasks["invasiveness"]
    assert (answer.threshold, answer.decision) == (0.001, "invasive")
    assert case.model["operating_point"] == "operating_point.json"


def test_an_operating_point_of_other_weights_is_left_aside_and_told_of(
    scans: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    classes = {task.name: task.classes for task in SCHEMA.tasks}
    OperatingPoint({"invasiveness": TaskOperatingPoint(1.5, 0.001)}, {}, ("other",), classes).write(model)
    own = predictor(model_folder=model)
    assert own.operating_point is None
    assert "networks with other weights" in caplog.text
    run(own, scans[0], tmp_path / "out")
    assert "networks with other weights" in read_case(tmp_path / "out" / "a.json").model["operating_point"]
    caplog.clear()
    (model / "operating_point.json").unlink()
    own._take_over(model)
    assert "the model folder has no operating_point.json" in caplog.text


def test_an_output_folder_of_another_model_is_refused(scans: Any, tmp_path: Path) -> None:
    source, world = scans
    NoduleTable((Nodule("a", "1", "p", world), Nodule("b", "1", "q", world))).write(source / "nodules.csv", SCHEMA)
    run(predictor(), source, tmp_path / "out")
    path = tmp_path / "out" / "a.json"
    content = json.loads(path.read_text())
    content["classification"]["primary_task"] = "texture"
    path.write_text(json.dumps(content))
    same = predictor()
    (source / "nodules.csv").unlink()
    (source / "a_0000.nii.gz").unlink()
    with pytest.raises(ValueError, match="other tasks than this model's"):
        run(same, source, tmp_path / "out")


def test_near_the_lungs_the_search_is_that_of_the_whole_scan() -> None:
    own, patch = predictor(), 16
    data = torch.randn(1, 60, 56, 64)
    region = np.zeros(data.shape[1:], dtype=bool)
    region[2:33, 20:56, 3:30] = True
    everywhere, near = own._segment(data), own._segment(data, region)
    # Voxels that a tile may see which has no more than its rim in the region lie that near to its border.
    inside = ndimage.binary_erosion(region, np.ones((3, 3, 3)), iterations=patch // 8, border_value=1)
    assert 0 < inside.sum() < region.sum()
    torch.testing.assert_close(near[:, inside], everywhere[:, inside])
    spread = (everywhere[1] - everywhere[0])[region].std()
    assert (near - everywhere)[:, region].abs().max() < 0.05 * spread
    assert (near.argmax(0)[torch.from_numpy(~region)] == 0).all()
    own._region = region
    own_tiles = own._internal_get_sliding_window_slicers(region.shape)
    assert len(own_tiles) < len(nnUNetPredictor._internal_get_sliding_window_slicers(own, region.shape))
    own.tile_step_size = 1.0
    assert torch.isfinite(own._segment(data, region)).all(), "tiles that do not overlap are all needed"


def test_a_whole_chest_is_searched_near_its_lungs_only(
    scans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = scans
    own = predictor()
    seen: list[Any] = []
    monkeypatch.setattr("dsmt_nnunet.inference.scan_predictor.lung_region", lambda context, window: half(context))

    def half(context: Any) -> np.ndarray:
        mask = np.zeros(context.geometry.shape, dtype=bool)
        mask[:, : mask.shape[1] // 2] = True
        return mask

    def segment(data: torch.Tensor, region: np.ndarray) -> torch.Tensor:
        seen.append(region)
        return torch.stack([-data[0], data[0]])

    monkeypatch.setattr(own, "_segment", segment)
    run(own, source, tmp_path / "out")
    assert len(seen) == 2
    # The plans put the image's second axis (y) first and its first (z) second.
    assert seen[0].shape == tuple(np.round(np.array([24 / 1.5, 30, 26])).astype(int))
    assert 0.4 < seen[0].mean() < 0.6
    assert seen[0][:, 0].all()
    assert not seen[0][:, -1].any()


def test_the_weights_of_each_fold_are_loaded_once(scans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, world = scans
    for number in range(6):
        shutil.copy(source / "a_0000.nii.gz", source / f"more{number}_0000.nii.gz")
    loaded = []
    original = DSMTNet.load_state_dict

    def counted(self: DSMTNet, *args: Any, **kwargs: Any) -> Any:
        loaded.append(self)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(DSMTNet, "load_state_dict", counted)
    own = predictor(folds=3)
    monkeypatch.setattr(own, "plan", replace(own.plan, max_candidates=1))
    NoduleTable((Nodule("a", "1", "p", world),)).write(source / "nodules.csv", SCHEMA)
    run(own, source, tmp_path / "out")
    assert len(read_folder(tmp_path / "out")) == 8
    assert len(loaded) == 3


def image_and_properties(source: Path) -> tuple[np.ndarray, dict[str, Any]]:
    image, properties = (
        predictor().plans_manager.image_reader_writer_class().read_images([str(source / "a_0000.nii.gz")])
    )
    return image, properties


def test_an_array_is_answered_as_its_file_is(scans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, _ = scans
    own = predictor()
    monkeypatch.setattr(own, "_segment", bell)
    run(own, source, tmp_path / "files")
    image, properties = image_and_properties(source)
    (tmp_path / "arrays").mkdir()
    written = own.predict_from_list_of_npy_arrays(
        [image, image], None, [properties, properties], [str(tmp_path / "arrays" / name) for name in "ab"]
    )
    assert written == [None, None]
    for case_id in "ab":
        assert read_case(tmp_path / "arrays" / f"{case_id}.json") == read_case(tmp_path / "files" / f"{case_id}.json")
    searched = read_case(tmp_path / "arrays" / "a.json")
    assert searched.candidates is not None
    assert all(nodule.detection_score is not None and nodule.detection_score > 0 for nodule in searched.nodules)
    mask = own.predict_single_npy_array(image, properties)
    np.testing.assert_array_equal(mask, sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "arrays" / "a.nii.gz"))))


def test_arrays_that_are_listed_have_properties_and_names_of_their_own(scans: Any) -> None:
    image, properties = image_and_properties(scans[0])
    own = predictor()
    for listed, names, told in (
        (properties, None, "2 images and 1 properties"),
        ([properties] * 3, None, "2 images and 3 properties"),
        ([properties] * 2, "a", "2 images and 1 output names"),
        ([properties] * 2, ["a", "a"], r"written to \['a'\]"),
    ):
        with pytest.raises(ValueError, match=told):
            own.predict_from_list_of_npy_arrays([image, image], None, listed, names)
    with pytest.raises(ValueError, match="no second stage"):
        own.predict_from_list_of_npy_arrays(image, np.zeros((1, 2, 2, 2)), properties, None)


def test_an_array_after_a_folder_leaves_the_folder_alone(scans: Any, tmp_path: Path) -> None:
    source, _ = scans
    own = predictor()
    output = tmp_path / "out"
    run(own, source, output)
    before = {path: path.read_bytes() for path in output.iterdir()}
    image, properties = image_and_properties(source)
    moved = {**properties, "sitk_stuff": {**properties["sitk_stuff"], "origin": (0.0, 0.0, 0.0)}}
    own.predict_single_npy_array(image, moved)
    own.predict_logits_from_preprocessed_data(torch.zeros(1, 16, 16, 16))
    assert {path: path.read_bytes() for path in output.iterdir()} == before
    assert not [name for name in vars(own) if name in ("predictions", "_current", "_files", "_given")]


def test_an_array_that_lies_nowhere_is_refused(scans: Any) -> None:
    image, _ = image_and_properties(scans[0])
    with pytest.raises(ValueError, match="no position in the world"):
        predictor().predict_single_npy_array(image, {"spacing": [1.5, 1.0, 1.0]})


def test_preprocessed_data_alone_are_refused() -> None:
    with pytest.raises(ValueError, match="predict_single_npy_array"):
        predictor().predict_from_data_iterator([])


def test_a_second_model_answers_in_place_of_the_first(scans: Any, tmp_path: Path) -> None:
    source, world = scans
    NoduleTable((Nodule("a", "1", "p", world), Nodule("b", "1", "q", world))).write(source / "nodules.csv", SCHEMA)
    first, second = predictor(), predictor()
    run(first, source, tmp_path / "first")
    run(second, source, tmp_path / "second")
    first.manual_initialization(
        second.network,
        second.plans_manager,
        second.configuration_manager,
        second.list_of_parameters,
        second.dataset_json,
        "DSMTTrainer",
        None,
    )
    run(first, source, tmp_path / "again")
    answers = [
        read_case(tmp_path / name / "a.json").nodules[0].tasks["invasiveness"].probabilities
        for name in ("first", "second", "again")
    ]
    assert answers[2] == answers[1]
    assert answers[2] != answers[0]


def test_a_predictor_with_another_kind_of_model_is_stock_again() -> None:
    own = predictor()
    network = torch.nn.Identity()
    own.manual_initialization(
        network, own.plans_manager, own.configuration_manager, [{}], own.dataset_json, "nnUNetTrainer", None
    )
    assert type(own) is nnUNetPredictor
    assert not hasattr(own, "plan")


def test_an_array_must_be_in_hu_as_a_file_must(scans: Any) -> None:
    image, properties = image_and_properties(scans[0])
    with pytest.raises(ValueError, match="not in HU"):
        predictor().predict_single_npy_array(image + 1024, properties)
