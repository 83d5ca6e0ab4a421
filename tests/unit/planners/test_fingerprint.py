"""The fingerprint asks nnU-Net for as many voxels as its statistics need."""

from __future__ import annotations

from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

from dsmt_nnunet.planners.fingerprint import NoduleFingerprintExtractor
from tests.unit.planners.conftest import NAME, NEGATIVE, POSITIVE, write_raw

OF_NNUNET = 10**8


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two cases, and how many voxels are asked of each of them."""
    for kind in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{kind}", str(tmp_path / kind))
    write_raw(tmp_path / "raw", (NEGATIVE, POSITIVE))
    numbers: list[int] = []
    analyse = DatasetFingerprintExtractor.analyze_case

    def noted(images: list[str], mask: str, reader: type, voxels: int) -> Any:
        numbers.append(voxels)
        return analyse(images, mask, reader, 5)

    monkeypatch.setattr(DatasetFingerprintExtractor, "analyze_case", staticmethod(noted))
    here = SimpleNamespace(get_context=lambda _: SimpleNamespace(Pool=ThreadPool))
    monkeypatch.setattr(fingerprint_extractor, "multiprocessing", here)
    return numbers


def test_ten_thousand_voxels_are_drawn_a_case(asked: list[int]) -> None:
    fingerprint = NoduleFingerprintExtractor(NAME, 1).run()
    assert asked == [10_000, 10_000]
    assert fingerprint["foreground_intensity_properties_per_channel"][0]["mean"] == -1000


def test_nnunet_still_draws_more(asked: list[int]) -> None:
    DatasetFingerprintExtractor(NAME, 1).run()
    assert asked == [OF_NNUNET // 2] * 2


def test_of_very_many_cases_no_more_are_drawn_than_by_nnunet(asked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsmt_nnunet.planners.fingerprint.VOXELS_A_CASE", OF_NNUNET)
    NoduleFingerprintExtractor(NAME, 1).run()
    assert asked == [OF_NNUNET // 2] * 2
