"""Imported once where commands are run: a fingerprint of few voxels, since volumes so small hold no more.

nnU-Net draws 10^8 voxels from the nodules of a data set, however small it is, which takes longer than all the rest of
planning ten phantoms.
"""

from __future__ import annotations

from typing import Any

from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

VOXELS = 10**5

_made = DatasetFingerprintExtractor.__init__


def _made_for_few(self: DatasetFingerprintExtractor, *arguments: Any, **options: Any) -> None:
    _made(self, *arguments, **options)
    assert self.num_foreground_voxels_for_intensitystats > VOXELS
    self.num_foreground_voxels_for_intensitystats = VOXELS


DatasetFingerprintExtractor.__init__ = _made_for_few
