from __future__ import annotations

import os
from multiprocessing.pool import Pool
from pathlib import Path

import pytest
from nnunetv2.utilities import utils

from dsmt_nnunet import nnunet_listing
from dsmt_nnunet.nnunet_listing import listed_in_this_process


@pytest.fixture
def listed_by(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> set[int]:
    """Processes that looked for the files of a case; nnU-Net's own pool, which other tests do without."""
    monkeypatch.setattr(utils, "Pool", Pool)
    (tmp_path / "imagesTr").mkdir()
    for name in ("a", "b"):
        (tmp_path / "imagesTr" / f"{name}_0000.nii.gz").touch()
    found: set[int] = set()
    look = utils.create_paths_fn
    monkeypatch.setattr(utils, "create_paths_fn", lambda *arguments: found.add(os.getpid()) or look(*arguments))
    return found


def test_a_folder_is_listed_here_and_nnunets_own_way_comes_back(tmp_path: Path, listed_by: set[int]) -> None:
    with listed_in_this_process(tmp_path):
        cases = utils.get_filenames_of_train_images_and_targets(str(tmp_path), {"file_ending": ".nii.gz"})
    assert listed_by == {os.getpid()}
    assert {name: len(case["images"]) for name, case in cases.items()} == {"a": 1, "b": 1}
    assert utils.Pool is Pool


def test_very_many_are_left_to_processes(tmp_path: Path, listed_by: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nnunet_listing, "MOST_FILES", 1)
    with listed_in_this_process(tmp_path):
        assert utils.Pool is Pool
    with listed_in_this_process(tmp_path / "elsewhere"):
        assert utils.Pool is Pool
