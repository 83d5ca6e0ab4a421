"""Every option of nnU-Net's commands that concern a model, and every method of its predictor: known, or this fails."""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import SimpleITK as sitk
import torch
from nnunetv2.ensembling.ensemble import entry_point_ensemble_folders
from nnunetv2.evaluation.evaluate_predictions import evaluate_folder_entry_point, evaluate_simple_entry_point
from nnunetv2.evaluation.find_best_configuration import (
    accumulate_crossval_results_entry_point,
    find_best_configuration_entry_point,
)
from nnunetv2.inference.predict_from_raw_data import (
    nnUNetPredictor,
    predict_entry_point,
    predict_entry_point_modelfolder,
)
from nnunetv2.model_sharing.entry_points import export_pretrained_model_entry, install_from_zip_entry_point
from nnunetv2.postprocessing.remove_connected_components import (
    entry_point_apply_postprocessing,
    entry_point_determine_postprocessing_folder,
)
from nnunetv2.run.run_training import run_training_entry

from dsmt_nnunet.api.examples import example_model, example_scan
from dsmt_nnunet.cli.stock import run_stock
from dsmt_nnunet.environment import EXT_TRAINER, plugin_folder
from dsmt_nnunet.inference.lost_cases import CasesFailed
from dsmt_nnunet.inference.model_zip import install_model
from dsmt_nnunet.inference.predictor import DSMTPredictor
from dsmt_nnunet.predictions.results import read_case
from tests.unit.inference.small_predictor import bell, predictor, run

_PREDICTION = (
    "-i -o -f -step_size --disable_tta --verbose --save_probabilities --continue_prediction -chk -npp -nps "
    "-prev_stage_predictions -device --disable_progress_bar --not_on_device"
)
OPTIONS: dict[Callable[[], None], str] = {
    predict_entry_point: f"{_PREDICTION} -d -p -tr -c -num_parts -part_id",
    predict_entry_point_modelfolder: f"{_PREDICTION} -m --c",
    run_training_entry: (
        "-tr -p -pretrained_weights -num_gpus --npz --c --val --val_best --disable_checkpointing -device"
    ),
    export_pretrained_model_entry: "-d -o -c -tr -p -f -chk --not_strict --exp_cv_preds",
    install_from_zip_entry_point: "",
    find_best_configuration_entry_point: "-p -c -tr -np -f --disable_ensembling --no_overwrite",
    accumulate_crossval_results_entry_point: "-c -o -f -p -tr",
    evaluate_folder_entry_point: "-djfile -pfile -o -np --chill",
    evaluate_simple_entry_point: "-l -il -o -np --chill",
    entry_point_determine_postprocessing_folder: "-i -ref -plans_json -dataset_json -np --remove_postprocessed",
    entry_point_apply_postprocessing: "-i -o -pp_pkl_file -np -plans_json -dataset_json",
    entry_point_ensemble_folders: "-i -o -np --save_npz",
}
OVERRIDDEN = {
    *("predict_from_files", "predict_from_files_sequential", "predict_single_npy_array"),
    *("predict_from_list_of_npy_arrays", "predict_from_data_iterator", "predict_logits_from_preprocessed_data"),
    *("predict_sliding_window_return_logits", "initialize_from_trained_model_folder", "manual_initialization"),
}
AS_STOCK = {"auto_detect_available_folds", "get_data_iterator_from_raw_npy_data"}


@pytest.mark.parametrize("entry_point", OPTIONS, ids=lambda entry: entry.__name__)
def test_every_option_is_known(entry_point: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    parsers: list[argparse.ArgumentParser] = []

    def stop(parser: argparse.ArgumentParser, *_: Any) -> None:
        parsers.append(parser)
        raise InterruptedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(InterruptedError):
        entry_point()
    found = {name for action in parsers[0]._actions for name in action.option_strings}
    assert found - {"-h", "--help"} == set(OPTIONS[entry_point].split())


def test_every_public_method_of_nnunets_predictor_is_known() -> None:
    own = predictor()
    public = {name for name, _ in inspect.getmembers(nnUNetPredictor, callable) if not name.startswith("_")}
    overridden = {
        name for name in public
        if inspect.unwrap(getattr(type(own), name)) is not inspect.unwrap(getattr(nnUNetPredictor, name))
    } | {"manual_initialization", "predict_from_files", "predict_from_files_sequential"}  # fmt: skip
    assert public == OVERRIDDEN | AS_STOCK
    assert overridden == OVERRIDDEN


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of the folds 0, 1 and all with weights of their own, and in `in` a scan to ask it about."""
    monkeypatch.setenv(EXT_TRAINER, str(plugin_folder()))
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # nnU-Net's commands take one a core, for good
    folder = example_model(tmp_path / "model")
    checkpoint = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=True)
    for number, fold in enumerate(("1", "all"), start=2):
        checkpoint["network_weights"] = {name: value * number for name, value in checkpoint["network_weights"].items()}
        (folder / f"fold_{fold}").mkdir()
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    (tmp_path / "in").mkdir()
    sitk.WriteImage(example_scan()[0], str(tmp_path / "in" / "p_0000.nii.gz"))
    (tmp_path / "in" / "nodules.csv").write_text("case_id,nodule_id,x_mm,y_mm,z_mm\np,1,-46,-33,-178\n")
    return folder


def asked(model: Path, *words: str) -> dict[str, Any]:
    """What CASE.json says of the model that `nnUNetv2_predict_from_modelfolder` asked."""
    base = model.parent
    arguments = ["-i", str(base / "in"), "-o", str(base / "out"), "-m", str(model), "-device", "cpu"]
    run_stock("nnUNetv2_predict_from_modelfolder", predict_entry_point_modelfolder, [*arguments, *words])
    return dict(read_case(base / "out" / "p.json").model)


_HERE = ("-npp", "0", "-nps", "0", "--disable_progress_bar", "--not_on_device", "--verbose")


def test_folds_are_those_that_are_named(model: Path) -> None:
    alone, both, everything = (asked(model, *_HERE, "-f", *folds) for folds in (["1"], ["1", "0"], ["all"]))
    assert (alone["folds"], both["folds"], everything["folds"]) == (1, 2, 1)
    assert both["weights"][0] == alone["weights"][0] != both["weights"][1]
    assert everything["weights"][0] not in both["weights"]
    with pytest.raises(FileNotFoundError, match="fold_2"):
        asked(model, *_HERE)  # nnU-Net's default: the folds 0 to 4


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-npp", "0", "-nps", "2"], "both 0"),
        (["-npp", "2", "-nps", "0"], "both 0"),
        (["-npp", "-1", "-nps", "1"], "at least 1 each; got -1 and 1"),
        (["-npp", "0", "-nps", "0", "-f", "0", "0"], "A fold counts once"),
        (["-npp", "0", "-nps", "0", "-prev_stage_predictions", "x"], "no second stage of a cascade"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(model: Path, words: list[str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        asked(model, *(words if "-f" in words else [*words, "-f", "0"]))


def test_probabilities_are_saved_beside_the_answers(model: Path) -> None:
    asked(model, *_HERE, "-f", "0", "--save_probabilities")
    assert {path.name for path in (model.parent / "out").glob("p.*")} == {"p.json", "p.nii.gz", "p.npz", "p.pkl"}


def test_all_folds_but_all_are_found_where_none_is_named(model: Path) -> None:
    own = nnUNetPredictor(device=torch.device("cpu"))
    assert own.auto_detect_available_folds(str(model), "checkpoint_final.pth") == [0, 1]
    own.initialize_from_trained_model_folder(str(model), None)
    own.predict_from_files_sequential(str(model.parent / "in"), str(model.parent / "out"))
    assert read_case(model.parent / "out" / "p.json").model["folds"] == 2


def test_logits_of_preprocessed_data_are_padded_with_air_whoever_asks(model: Path) -> None:
    own = nnUNetPredictor(device=torch.device("cpu"))
    own.initialize_from_trained_model_folder(str(model), (0,))
    data = torch.randn(1, 16, 8, 16)
    logits = own.predict_logits_from_preprocessed_data(data)
    assert type(own) is DSMTPredictor
    torch.testing.assert_close(logits, own._segment(data))


def test_step_size_and_gaussian_weights_are_those_of_the_search() -> None:
    own = predictor()
    counts = []
    for step in (1.0, 0.5):
        own.tile_step_size = step
        counts.append(len(own._internal_get_sliding_window_slicers((32, 32, 32))))
    assert counts == [8, 27]
    data = torch.randn(1, 16, 24, 16)
    weighted = own._segment(data)
    own.use_gaussian = False
    assert not torch.equal(own._segment(data), weighted)


@pytest.fixture
def answers(scans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two predicted scans with everything beside them; nnU-Net's commands work in threads, which start at once."""
    own = predictor()
    monkeypatch.setattr(own, "_segment", bell)
    run(own, scans[0], tmp_path / "answers", save_probabilities=True)
    monkeypatch.setattr("multiprocessing.get_context", lambda *_: SimpleNamespace(Pool=ThreadPool))
    return tmp_path / "answers"


def cases_of(summary: Path) -> list[str]:
    content = json.loads(summary.read_text())
    return sorted(Path(case["prediction_file"]).name for case in content["metric_per_case"])


def test_commands_for_masks_pass_over_our_files(answers: Path, tmp_path: Path) -> None:
    masks = ["a.nii.gz", "b.nii.gz"]
    truth = tmp_path / "truth"
    truth.mkdir()
    for name in masks:
        sitk.WriteImage(sitk.ReadImage(str(answers / name)), str(truth / name))

    def typed(entry_point: Callable[[], None], *words: object) -> None:
        run_stock(entry_point.__name__, entry_point, [*map(str, words), "-np", "1"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dsmt_nnunet.cli.stock.is_given", lambda *_: True)  # these commands have no -device
        files = ("-djfile", answers / "dataset.json", "-pfile", answers / "plans.json")
        typed(evaluate_folder_entry_point, truth, answers, *files, "-o", tmp_path / "folder.json")
        typed(evaluate_simple_entry_point, truth, answers, "-l", 1, "-o", tmp_path / "simple.json", "--chill")
        typed(entry_point_determine_postprocessing_folder, "-i", answers, "-ref", truth, "--remove_postprocessed")
        post = ("-pp_pkl_file", answers / "postprocessing.pkl")
        typed(entry_point_apply_postprocessing, "-i", answers, "-o", tmp_path / "post", *post)
        typed(entry_point_ensemble_folders, "-i", answers, answers, "-o", tmp_path / "both", "--save_npz")
    assert cases_of(tmp_path / "folder.json") == cases_of(tmp_path / "simple.json") == masks
    assert sorted(path.name for path in (tmp_path / "post").iterdir()) == masks
    assert sorted(path.name for path in (tmp_path / "both").glob("*.npz")) == ["a.npz", "b.npz"]
    assert read_case(answers / "a.json").case_id == "a"


def test_a_model_is_exported_with_its_validation_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--exp_cv_preds takes CASE.json along; --not_strict changes nothing in nnU-Net 2.8.1, with any trainer."""
    results = tmp_path / "results"
    folder = example_model(results / "Dataset501_A" / "DSMTTrainer__nnUNetPlans__3d_fullres")
    (folder / "fold_0" / "validation").mkdir()
    for name in ("dataset_fingerprint.json", "progress.png", "validation/summary.json", "validation/p.json"):
        (folder / ("" if name.startswith("dataset") else "fold_0") / name).write_text("{}")
    for module in ("model_sharing.model_export", "utilities.file_path_utilities"):
        monkeypatch.setattr(f"nnunetv2.{module}.nnUNet_results", str(results))
    monkeypatch.setattr("dsmt_nnunet.cli.stock.is_given", lambda *_: True)  # this command has no -device
    archive = tmp_path / "model.zip"
    words = f"-d Dataset501_A -tr DSMTTrainer -f 0 -o {archive} -c 3d_fullres".split()

    def validation(*more: str) -> set[str]:
        run_stock("nnUNetv2_export_model_to_zip", export_pretrained_model_entry, [*words, *more])
        (installed,) = install_model(archive, tmp_path / f"installed{len(more)}")
        return {path.name for path in (installed / "fold_0" / "validation").iterdir()}

    assert validation() == {"summary.json"}
    assert validation("--exp_cv_preds") == {"summary.json", "p.json"}
    with pytest.raises(RuntimeError, match="missing the trained model of configuration 2d"):
        validation("2d", "--not_strict")


@pytest.mark.parametrize("number", [-1, 2])
def test_a_part_that_there_is_not_is_refused(scans: Any, tmp_path: Path, number: int) -> None:
    with pytest.raises(ValueError, match=f"runs from 0 to 1 with -num_parts 2, got {number}"):
        predictor().predict_from_files(str(scans[0]), str(tmp_path / "out"), num_parts=2, part_id=number)


@pytest.mark.parametrize(
    ("names", "outputs", "told"),
    [
        (["scan.nii.gz"], "folder", "called CASE_0000.nii.gz"),
        (["a_0000.nii.gz", "a_0000.nii.gz"], "folder", "would be written to"),
        (["a_0000.nii.gz", "b_0000.nii.gz"], ["x/a", "x/a"], "would be written to"),
        (["a_0000.nii.gz", "b_0000.nii.gz"], ["x/a"], "2 cases and 1 paths"),
    ],
)
def test_lists_of_files_that_would_lose_an_answer_are_refused(
    names: list[str], outputs: Any, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "x").mkdir()
    with pytest.raises(ValueError, match=told):
        predictor().predict_from_files_sequential([[name] for name in names], outputs)


def test_files_may_be_listed_one_by_one(scans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, _ = scans
    (source / "b_0000.nii.gz").rename(source / "any name.nii.gz")
    own = predictor()
    monkeypatch.setattr(own, "_segment", bell)
    (tmp_path / "out").mkdir()
    files = [[str(source / "a_0000.nii.gz")], [str(source / "any name.nii.gz")]]
    own.predict_from_files_sequential(files, [str(tmp_path / "out" / name) for name in ("one", "two")])
    assert read_case(tmp_path / "out" / "two.json").case_id == "two"
    assert len(own.predict_from_files_sequential(files, None)) == 2
    with pytest.raises(CasesFailed, match="needs 1 channels, got 2"):
        own.predict_from_files_sequential([files[0] * 2], None)
