from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from dsmt_nnunet.inference import nnunet_hook
from dsmt_nnunet.inference.folder_run import FolderRun
from dsmt_nnunet.inference.predictor import DSMTPredictor
from dsmt_nnunet.trainers.dsmt_trainer import DSMTTrainer

PREDICTOR_SIGNATURES = {
    "predict_from_files": [
        "list_of_lists_or_source_folder",
        "output_folder_or_list_of_truncated_output_files",
        "save_probabilities",
        "overwrite",
        "num_processes_preprocessing",
        "num_processes_segmentation_export",
        "folder_with_segs_from_prev_stage",
        "num_parts",
        "part_id",
    ],
    "predict_from_files_sequential": [
        "list_of_lists_or_source_folder",
        "output_folder_or_list_of_truncated_output_files",
        "save_probabilities",
        "overwrite",
        "folder_with_segs_from_prev_stage",
    ],
    "_manage_input_and_output_lists": [
        "list_of_lists_or_source_folder",
        "output_folder_or_list_of_truncated_output_files",
        "folder_with_segs_from_prev_stage",
        "overwrite",
        "part_id",
        "num_parts",
        "save_probabilities",
    ],
    "predict_single_npy_array": [
        "input_image",
        "image_properties",
        "segmentation_previous_stage",
        "output_file_truncated",
        "save_or_return_probabilities",
    ],
    "predict_from_list_of_npy_arrays": [
        "image_or_list_of_images",
        "segs_from_prev_stage_or_list_of_segs_from_prev_stage",
        "properties_or_list_of_properties",
        "truncated_ofname",
        "num_processes",
        "save_probabilities",
        "num_processes_segmentation_export",
    ],
    "predict_from_data_iterator": ["data_iterator", "save_probabilities", "num_processes_segmentation_export"],
    "predict_logits_from_preprocessed_data": ["data"],
    "predict_sliding_window_return_logits": ["input_image"],
    "initialize_from_trained_model_folder": ["model_training_output_dir", "use_folds", "checkpoint_name"],
}
TRAINER_SIGNATURES = {
    "__init__": ["plans", "configuration", "fold", "dataset_json", "device"],
    "build_network_architecture": [
        "plans_manager",
        "configuration_manager",
        "num_input_channels",
        "num_output_channels",
        "enable_deep_supervision",
    ],
    "get_training_transforms": [
        "patch_size",
        "rotation_for_DA",
        "deep_supervision_scales",
        "mirror_axes",
        "do_dummy_2d_data_aug",
        "use_mask_for_norm",
        "is_cascaded",
        "foreground_labels",
        "regions",
        "ignore_label",
    ],
    "get_validation_transforms": [
        "deep_supervision_scales",
        "is_cascaded",
        "foreground_labels",
        "regions",
        "ignore_label",
    ],
    "train_step": ["batch"],
    "validation_step": ["batch"],
    "on_train_epoch_end": ["train_outputs"],
    "on_validation_epoch_end": ["val_outputs"],
    "save_checkpoint": ["filename"],
    "load_checkpoint": ["filename_or_checkpoint"],
    "perform_actual_validation": ["save_probabilities"],
    "set_deep_supervision_enabled": ["enabled"],
    "initialize": [],
    "configure_optimizers": [],
    "configure_rotation_dummyDA_mirroring_and_inital_patch_size": [],
    "do_split": [],
    "get_dataloaders": [],
    "get_tr_and_val_datasets": [],
    "on_train_epoch_start": [],
    "on_epoch_end": [],
}


def parameters(owner: Any, name: str) -> list[str]:
    return [parameter for parameter in inspect.signature(getattr(owner, name)).parameters if parameter != "self"]


@pytest.mark.parametrize("name", PREDICTOR_SIGNATURES)
def test_nnunets_predictor_is_still_the_one_this_was_written_against(name: str) -> None:
    assert parameters(nnUNetPredictor, name) == PREDICTOR_SIGNATURES[name]


@pytest.mark.parametrize("name", TRAINER_SIGNATURES)
def test_nnunets_trainer_is_still_the_one_this_was_written_against(name: str) -> None:
    assert parameters(nnUNetTrainer, name) == TRAINER_SIGNATURES[name]


@pytest.mark.parametrize("name", sorted(set(TRAINER_SIGNATURES) & set(vars(DSMTTrainer))))
def test_the_trainer_overrides_with_nnunets_signature(name: str) -> None:
    assert parameters(DSMTTrainer, name) == TRAINER_SIGNATURES[name]


@pytest.mark.parametrize("owner", [DSMTPredictor, FolderRun])
@pytest.mark.parametrize(
    "name",
    [
        "predict_from_files",
        "predict_from_files_sequential",
        "predict_single_npy_array",
        "predict_from_list_of_npy_arrays",
        "_manage_input_and_output_lists",
        "initialize_from_trained_model_folder",
    ],
)
def test_the_predictors_override_with_nnunets_signature(owner: type[nnUNetPredictor], name: str) -> None:
    assert parameters(owner, name) == PREDICTOR_SIGNATURES[name]


@pytest.fixture
def stock(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """nnU-Net's predictor as it comes; the hook is taken off again after the test."""
    names = (*nnunet_hook._WRAPPED, "initialize_from_trained_model_folder")
    methods = {name: inspect.unwrap(getattr(nnUNetPredictor, name)) for name in names}
    for name, method in methods.items():
        monkeypatch.setattr(nnUNetPredictor, name, method)
    return methods


def test_installing_twice_wraps_once_and_keeps_the_signatures(stock: dict[str, Any]) -> None:
    nnunet_hook.install()
    first = {name: getattr(nnUNetPredictor, name) for name in stock}
    nnunet_hook.install()
    for name, method in stock.items():
        assert getattr(nnUNetPredictor, name) is first[name]
        assert first[name] is not method
        assert first[name].__wrapped__ is method
        assert inspect.signature(first[name]) == inspect.signature(method)


@pytest.mark.parametrize("name", nnunet_hook._WRAPPED)
def test_a_stock_network_passes_through_untouched(
    stock: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    calls = []

    def recorded(self: nnUNetPredictor, *args: Any, **kwargs: Any) -> str:
        calls.append((type(self), args, kwargs))
        return "done"

    monkeypatch.setattr(nnUNetPredictor, name, recorded)
    nnunet_hook.install()
    predictor = nnUNetPredictor(device=torch.device("cpu"))
    predictor.network = torch.nn.Identity()
    assert getattr(predictor, name)("in", "out", overwrite=False) == "done"
    assert calls == [(nnUNetPredictor, ("in", "out"), {"overwrite": False})]


@pytest.mark.parametrize("as_keyword", [False, True])
def test_the_model_folder_is_remembered(
    stock: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, as_keyword: bool
) -> None:
    def recorded(
        self: nnUNetPredictor, model_training_output_dir: str, use_folds: Any, checkpoint_name: str = ""
    ) -> None:
        self.folds = use_folds

    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0" / "checkpoint_final.pth").touch()

    monkeypatch.setattr(nnUNetPredictor, "initialize_from_trained_model_folder", recorded)
    nnunet_hook.install()
    predictor = nnUNetPredictor(device=torch.device("cpu"))
    if as_keyword:
        predictor.initialize_from_trained_model_folder(model_training_output_dir=str(tmp_path), use_folds=(0,))
    else:
        predictor.initialize_from_trained_model_folder(str(tmp_path), (0,))
    assert predictor.folds == (0,)
    assert nnunet_hook._model_folder(predictor) == tmp_path
    assert getattr(predictor, nnunet_hook._CHECKPOINTS) == [tmp_path / "fold_0" / "checkpoint_final.pth"]


def test_the_model_folder_is_found_when_the_hook_comes_during_initialisation(
    stock: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def initialize_from_trained_model_folder(self: nnUNetPredictor, model_training_output_dir: str) -> None:
        nnunet_hook.install()

    monkeypatch.setattr(nnUNetPredictor, "initialize_from_trained_model_folder", initialize_from_trained_model_folder)
    predictor = nnUNetPredictor(device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(tmp_path))
    assert nnunet_hook._model_folder(predictor) == tmp_path
