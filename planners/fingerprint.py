"""nnU-Net's fingerprint from as many voxels as its statistics need."""

from __future__ import annotations

from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

VOXELS_A_CASE = 10_000
"""Drawn from the nodules of a case: what nnU-Net's `analyze_case` draws where it is not told otherwise."""


class NoduleFingerprintExtractor(DatasetFingerprintExtractor):
    """Draws 10,000 voxels a case.

    nnU-Net draws 10^8 from any data set, which for fewer than 10,000 cases is the same few thousand voxels of a nodule
    over and over, and takes seconds and a gigabyte.
    """

    num_foreground_voxels_for_intensitystats: float

    def __init__(self, dataset_name_or_id: str | int, num_processes: int = 8, verbose: bool = False) -> None:
        super().__init__(dataset_name_or_id, num_processes, verbose)
        self.num_foreground_voxels_for_intensitystats = min(
            self.num_foreground_voxels_for_intensitystats, VOXELS_A_CASE * len(self.dataset)
        )
