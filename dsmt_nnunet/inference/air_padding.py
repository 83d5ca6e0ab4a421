"""nnU-Net's sliding window with air around scans that are smaller than a patch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from dsmt_nnunet.dataloading.padding import fill_values
from dsmt_nnunet.plan import DSMTPlan


class AirPaddedPredictor(nnUNetPredictor):
    """Pads with air before nnU-Net pads with 0, and mirrors only where the plan wants that of whole scans.

    After CT normalisation 0 is about soft tissue, which in training was never outside a scan.
    """

    use_mirroring: bool

    def predict_sliding_window_return_logits(self, input_image: torch.Tensor) -> torch.Tensor:
        """
        Args:
            input_image: (C, Z, Y, X), preprocessed.

        Returns:
            Logits (K, Z, Y, X).
        """
        shape = input_image.shape[1:]
        padding = padding_to_patch(shape, self.configuration_manager.patch_size)
        plan = DSMTPlan.from_plans(self.plans_manager.plans)
        fill = fill_values(plan.padding_value, input_image.cpu().numpy())
        last_axis_first = [voxels for pair in reversed(padding) for voxels in pair]
        channels = zip(input_image, fill, strict=True)
        padded = torch.stack(
            [torch.nn.functional.pad(channel, last_axis_first, value=value) for channel, value in channels]
        )
        wanted = self.use_mirroring
        self.use_mirroring = wanted and plan.mirror_scans
        try:
            logits: torch.Tensor = super().predict_sliding_window_return_logits(padded)
        finally:
            self.use_mirroring = wanted
        inside = [slice(before, before + length) for (before, _), length in zip(padding, shape, strict=True)]
        return logits[(slice(None), *inside)]


def padding_to_patch(shape: Sequence[int], patch_size: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Voxels to add before and after each axis so that a patch fits."""
    missing = [max(0, patch - length) for patch, length in zip(patch_size, shape, strict=True)]
    return tuple((math.floor(n / 2), math.ceil(n / 2)) for n in missing)
