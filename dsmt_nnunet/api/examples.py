"""A model that has learnt nothing and a scan that is no patient's, for the examples of the documentation."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.covariates import Covariate
from dsmt_nnunet.plan import PLAN_KEY
from dsmt_nnunet.plan_rules import derive_plan
from dsmt_nnunet.tasks import ClassificationSchema, Task

_CONFIGURATION = "3d_fullres"
_SCHEMA = ClassificationSchema(
    (Task("texture", ("ground-glass", "part-solid", "solid")), Task("invasiveness", ("non-invasive", "invasive"))),
    "invasiveness",
    (Covariate("age", "years"), Covariate("sex", categories=("female", "male"))),
)
_RESAMPLING = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}


def example_scan() -> tuple[sitk.Image, tuple[float, float, float]]:
    """A cube of lung with one nodule, in HU, and the nodule's centre (x, y, z) in mm, LPS.

    >>> import dsmt_nnunet as dsmt
    >>> image, centre_mm = dsmt.example_scan()
    >>> image.GetSize(), [round(value, 1) for value in centre_mm]
    ((40, 40, 24), [-46.0, -33.0, -178.0])
    """
    z, y, x = np.ogrid[:24, :40, :40]
    squared_mm = (x - 18) ** 2 + (y - 22) ** 2 + (1.5 * (z - 8)) ** 2
    noise = np.random.default_rng(0).normal(0, 20, (24, 40, 40))
    image = sitk.GetImageFromArray((np.where(squared_mm < 36, 40.0, -850.0) + noise).astype(np.float32))
    image.SetSpacing((1.0, 1.0, 1.5))
    image.SetOrigin((-64.0, -55.0, -190.0))
    x_mm, y_mm, z_mm = image.TransformIndexToPhysicalPoint((18, 22, 8))
    return image, (x_mm, y_mm, z_mm)


def example_model(folder: str | Path | None = None) -> Path:
    """Writes the folder of a small untrained model, whose answers mean nothing.

    Args:
        folder: where; None for a new temporary folder.

    >>> import dsmt_nnunet as dsmt
    >>> sorted(path.name for path in dsmt.example_model().iterdir())
    ['dataset.json', 'fold_0', 'plans.json']
    """
    folder = Path(tempfile.mkdtemp(prefix="dsmt_example_") if folder is None else folder)
    dataset_json = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "nodule": 1},
        "numTraining": 4,
        "file_ending": ".nii.gz",
        "classification": _SCHEMA.to_block(),
    }
    plans = _plans()
    plan = derive_plan(plans, _CONFIGURATION, dataset_json)
    plan = replace(
        plan,
        context=replace(plan.context, spacing_mm=2.0, grid=16, features=(4, 8)),
        heads=replace(plan.heads, central_region_mm=8.0, lateral_features=4, hidden_features=8),
    )
    plans[PLAN_KEY] = plan.to_block()
    configuration = PlansManager(plans).get_configuration(_CONFIGURATION)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(plan, configuration, 1, 2, enable_deep_supervision=False)
    (folder / "fold_0").mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(dataset_json), encoding="utf-8")
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    checkpoint = {
        "network_weights": network.state_dict(),
        "trainer_name": "DSMTTrainer",
        "init_args": {"configuration": _CONFIGURATION},
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def plain_unet(features: Sequence[int], convolutions: int) -> dict[str, Any]:
    """`arch_kwargs` of nnU-Net's plain 3-D U-Net.

    Args:
        features: channels of each stage, from the image to the bottleneck; every further stage halves the resolution.
        convolutions: of each stage, on both sides.
    """
    stages = len(features)
    return {
        "n_stages": stages,
        "features_per_stage": list(features),
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
        "n_conv_per_stage": [convolutions] * stages,
        "n_conv_per_stage_decoder": [convolutions] * (stages - 1),
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def _plans() -> dict[str, Any]:
    """What nnU-Net's planner writes, with three stages of a few features."""
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [16, 16, 16],
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": _RESAMPLING,
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": {**_RESAMPLING, "is_seg": True},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": _RESAMPLING,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": plain_unet((4, 8, 8), convolutions=1),
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": False,
    }
    return {
        "dataset_name": "Dataset000_Example",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "original_median_shape_after_transp": [200, 300, 300],
        "original_median_spacing_after_transp": [1.25, 0.8, 0.8],
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {"mean": -400.0, "std": 300.0, "percentile_00_5": -1000.0, "percentile_99_5": 200.0}
        },
        "configurations": {_CONFIGURATION: configuration},
    }
