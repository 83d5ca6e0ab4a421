"""Explanations of the nodules of one scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dsmt_nnunet.dataloading.context_volumes import coarse_copy
from dsmt_nnunet.inference.occlusion import explain_nodule
from dsmt_nnunet.inference.region import Scan, regions_around
from dsmt_nnunet.inference.scan_image import ScanImage
from dsmt_nnunet.inference.scan_predictor import ScanPredictor
from dsmt_nnunet.predictions.explanation import Explanation


def explain_scan(
    predictor: ScanPredictor, image: ScanImage, points_mm: Sequence[Sequence[float]], task: str | None = None
) -> tuple[Explanation, ...]:
    """Maps of what drove a score, one explanation a point, in their order.

    Args:
        predictor: with the model.
        image: the scan.
        points_mm: world points (x, y, z).
        task: whose score; the primary one by default.

    Raises:
        ValueError: the model has no such task.
    """
    schema, configuration = predictor.plan.schema, predictor.configuration_manager
    task = task or schema.primary_task
    if task not in schema.task_names:
        raise ValueError(f"The model has no task '{task}'; it has {list(schema.task_names)}.")
    if not points_mm:
        return ()
    axes = predictor.plans_manager.transpose_forward
    context = coarse_copy(image.array, image.properties, axes, predictor.plan.context, around=points_mm)
    scan = Scan.of(image.array, image.properties, predictor.plans_manager, configuration)
    found: dict[int, Explanation] = {}
    for part in regions_around(scan, points_mm, configuration.patch_size):
        data, _, geometry = scan.preprocessed(part.region)
        for number in part.points:
            voxel = geometry.to_voxel(points_mm[number])
            maps = explain_nodule(predictor.classifier, data, geometry, context, voxel, task)
            found[number] = replace(maps, weights=predictor.weights, image_crc32=image.checksum)
    return tuple(found[number] for number in range(len(points_mm)))
