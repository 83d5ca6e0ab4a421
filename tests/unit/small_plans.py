"""Plans and data sets that are as small as they can be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from batchgenerators.utilities.file_and_folder_operations import save_pickle
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetNumpy
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.plan_rules import derive_plan
from dsmt_nnunet.tasks import ClassificationSchema, Task

SCHEMA = ClassificationSchema(
    (
        Task("texture", ("ground-glass", "part-solid", "solid")),
        Task("invasiveness", ("non-invasive", "invasive")),
    ),
    "invasiveness",
)
DATASET_JSON: dict[str, Any] = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "nodule": 1},
    "numTraining": 4,
    "file_ending": ".nii.gz",
    "classification": SCHEMA.to_block(),
}
CONFIGURATION = "3d_fullres"
_CONVOLUTIONS = {
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}


def architecture(residual: bool = False, anisotropic: bool = False) -> dict[str, Any]:
    """The `architecture` entry of a configuration: three stages of 4, 8 and 8 features."""
    kernels = [[1, 3, 3], [3, 3, 3], [3, 3, 3]] if anisotropic else [[3, 3, 3]] * 3
    strides = [[1, 1, 1], [1, 2, 2], [2, 2, 2]] if anisotropic else [[1, 1, 1], [2, 2, 2], [2, 2, 2]]
    blocks = {"n_blocks_per_stage": [1, 1, 1]} if residual else {"n_conv_per_stage": [1, 1, 1]}
    name = "ResidualEncoderUNet" if residual else "PlainConvUNet"
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{name}",
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [4, 8, 8],
            "kernel_sizes": kernels,
            "strides": strides,
            **blocks,
            "n_conv_per_stage_decoder": [1, 1],
            **_CONVOLUTIONS,
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def stock_plans(
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    patch_size: Sequence[int] = (16, 16, 16),
    transpose_forward: Sequence[int] = (0, 1, 2),
    residual: bool = False,
    anisotropic: bool = False,
) -> dict[str, Any]:
    """What nnUNetv2_plan_experiment would write, without the DSMT block."""
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    return {
        "dataset_name": "Dataset901_Tiny",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "original_median_shape_after_transp": [200, 300, 300],
        "original_median_spacing_after_transp": [1.25, 0.8, 0.8],
        "transpose_forward": list(transpose_forward),
        "transpose_backward": [int(axis) for axis in np.argsort(transpose_forward)],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {"mean": -400.0, "std": 300.0, "percentile_00_5": -1000.0, "percentile_99_5": 200.0}
        },
        "configurations": {
            CONFIGURATION: {
                "data_identifier": "nnUNetPlans_3d_fullres",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": list(patch_size),
                "spacing": list(spacing),
                "normalization_schemes": ["CTNormalization"],
                "use_mask_for_norm": [False],
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": resampling,
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_seg_kwargs": {**resampling, "is_seg": True},
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": resampling,
                "architecture": architecture(residual, anisotropic),
                "batch_dice": False,
            }
        },
    }


def small_plan(plans: dict[str, Any] | None = None, **training: Any) -> DSMTPlan:
    """A DSMT plan with a small context; `training` overrides fields of its TrainingPlan."""
    plan = derive_plan(plans or stock_plans(), CONFIGURATION, DATASET_JSON)
    return replace(
        plan,
        context=replace(plan.context, spacing_mm=2.0, grid=16, features=(4, 8)),
        heads=replace(plan.heads, central_region_mm=8.0, lateral_features=4, hidden_features=8),
        training=replace(plan.training, **training),
    )


def awake(network: DSMTNet) -> DSMTNet:
    """The network with a deep part that says something; it starts at zero."""
    for head in network.task_heads:
        torch.nn.init.normal_(head.deep[-1].weight)
    return network


def blob_image(
    size_xyz: Sequence[int],
    spacing_xyz: Sequence[float],
    centre_index_xyz: Sequence[float],
    sigma_mm: float = 4.0,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    direction: Sequence[float] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    border: int = 0,
) -> tuple[sitk.Image, tuple[float, float, float]]:
    """An image in HU, air but for one bright bell, and the world position of its centre.

    Args:
        border: voxels on every side whose value is 0, which nnU-Net crops away.
    """
    axes = [np.arange(n) for n in reversed(size_xyz)]
    grid = np.meshgrid(*axes, indexing="ij")
    squared = sum(
        ((position - centre) * spacing) ** 2
        for position, centre, spacing in zip(grid, reversed(centre_index_xyz), reversed(spacing_xyz), strict=True)
    )
    array = (-1000.0 + 1100.0 * np.exp(-0.5 * squared / sigma_mm**2)).astype(np.float32)
    if border:
        inner = np.zeros(array.shape, dtype=bool)
        inner[border:-border, border : -2 * border, 2 * border : -border] = True
        array[~inner] = 0
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(value) for value in spacing_xyz])
    image.SetOrigin([float(value) for value in origin])
    image.SetDirection([float(value) for value in direction])
    return image, image.TransformContinuousIndexToPhysicalPoint([float(value) for value in centre_index_xyz])


def centroid(array: np.ndarray, air: float | None = None) -> np.ndarray:
    """Centre of mass (voxels) of what rises above air in a spatial array."""
    weights = np.asarray(array, dtype=float) - (float(np.min(array)) if air is None else air)
    weights = np.where(weights > 0.2 * weights.max(), weights, 0)
    return np.array([np.average(axis, weights=weights) for axis in np.indices(weights.shape)])


def preprocessed_dataset(folder: Path, images: dict[str, list[str]], plans: dict[str, Any]) -> nnUNetDatasetNumpy:
    """Runs nnU-Net's own preprocessor on images and keeps the result as uncompressed arrays."""
    manager = PlansManager(plans)
    configuration = manager.get_configuration(CONFIGURATION)
    folder.mkdir(parents=True, exist_ok=True)
    for case_id, files in images.items():
        data, segmentation, properties = DefaultPreprocessor(verbose=False).run_case(
            files, None, manager, configuration, DATASET_JSON
        )
        np.save(folder / f"{case_id}.npy", data)
        np.save(folder / f"{case_id}_seg.npy", np.zeros_like(segmentation))
        np.savez(folder / f"{case_id}.npz", data=data[:, :1], seg=segmentation[:, :1])
        save_pickle(properties, str(folder / f"{case_id}.pkl"))
    return nnUNetDatasetNumpy(str(folder), sorted(images))


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
