"""What lies in a folder of images and would be passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsmt_nnunet.inference.input_folder import images_of_cases


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a_0000.nii.gz").touch()
    return tmp_path


def test_other_files_do_not_stand_in_the_way(folder: Path) -> None:
    for name in ("nodules.csv", "notes.txt", "patients.csv", ".hidden", "dataset.json"):
        (folder / name).touch()
    assert [*images_of_cases(folder, ".nii.gz", 1)] == ["a"]


@pytest.mark.parametrize(
    "name", ["Nodules.CSV", "nodulesTs.csv", "nodules.xlsx", "nodules.csv.txt", "nodule_positions.ods"]
)
def test_positions_in_a_file_of_another_name_are_not_passed_over(folder: Path, name: str) -> None:
    (folder / name).touch()
    with pytest.raises(ValueError, match="positions are read from a file called nodules"):
        images_of_cases(folder, ".nii.gz", 1)


def test_links_that_lead_nowhere_and_folders_called_as_images_are_not_passed_over(folder: Path) -> None:
    (folder / "b_0000.nii.gz").symlink_to(folder / "gone.nii.gz")
    (folder / "c_0000.nii.gz").mkdir()
    with pytest.raises(ValueError, match=r"b_0000\.nii\.gz: it is no file[^\0]*c_0000\.nii\.gz: it is no file"):
        images_of_cases(folder, ".nii.gz", 1)


def test_images_in_further_folders_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "b_0000.nii.gz").touch()
    (folder / "link").symlink_to(folder / "more")
    assert [*images_of_cases(folder, ".nii.gz", 1)] == ["a"]
    assert "more holds 1 images, which are not predicted" in capsys.readouterr().out
