"""nnU-Net's sliding window in batches of tiles, with air around scans that are smaller than a patch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from dsmt_nnunet.dataloading.padding import fill_values
from dsmt_nnunet.inference.lung_region import Tile
from dsmt_nnunet.plan import DSMTPlan

VOXELS_AT_ONCE = 64**3
"""Of tiles that go through the network together; a larger tile goes alone."""


class AirPaddedPredictor(nnUNetPredictor):
    """Pads with air before nnU-Net pads with 0, and mirrors only where the plan wants that of whole scans.

    After CT normalisation 0 is about soft tissue, which in training was never outside a scan. Tiles go through the
    network together: PyTorch computes small float32 convolutions of a single sample by a fallback that takes several
    times as long.
    """

    use_mirroring: bool
    _answers: Iterator[torch.Tensor] | None = None

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

    def _internal_predict_sliding_window_return_logits(
        self, data: torch.Tensor, slicers: Sequence[Tile], do_on_device: bool = True
    ) -> torch.Tensor:
        """nnU-Net's, which asks for tile after tile in the order of its list: they are answered ahead, in batches."""
        self._answers = self._in_batches(data, slicers)
        try:
            logits: torch.Tensor = super()._internal_predict_sliding_window_return_logits(data, slicers, do_on_device)
        finally:
            self._answers = None
        return logits

    def _in_batches(self, data: torch.Tensor, tiles: Sequence[Tile]) -> Iterator[torch.Tensor]:
        """(1, K, Z, Y, X) of each tile."""
        at_once = max(1, VOXELS_AT_ONCE // math.prod(self.configuration_manager.patch_size))
        for first in range(0, len(tiles), at_once):
            batch = torch.stack([data[tile] for tile in tiles[first : first + at_once]]).to(self.device)
            yield from super()._internal_maybe_mirror_and_predict(batch).split(1)

    def _internal_maybe_mirror_and_predict(self, x: torch.Tensor) -> torch.Tensor:
        if self._answers is None:
            answer: torch.Tensor = super()._internal_maybe_mirror_and_predict(x)
            return answer
        return next(self._answers)


def padding_to_patch(shape: Sequence[int], patch_size: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Voxels to add before and after each axis so that a patch fits."""
    missing = [max(0, patch - length) for patch, length in zip(patch_size, shape, strict=True)]
    return tuple((math.floor(n / 2), math.ceil(n / 2)) for n in missing)
