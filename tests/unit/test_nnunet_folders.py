from __future__ import annotations

from pathlib import Path

import pytest

from dsmt_nnunet.nnunet_folders import RawCases, folder_from_environment, read_nodule_table
from dsmt_nnunet.nodules import Nodule, NoduleTable
from tests.unit.small_plans import DATASET_JSON, SCHEMA, write_json

NAME = "Dataset901_Tiny"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in ("raw", "preprocessed"):
        monkeypatch.setenv(f"nnUNet_{kind}", str(tmp_path / kind))
        (tmp_path / kind / NAME).mkdir(parents=True)
    return tmp_path


def write_table(folder: Path, case_id: str) -> None:
    NoduleTable((Nodule(case_id, "1", "p", (0, 0, 0)),)).write(folder / NAME / "nodules.csv", SCHEMA)


def test_the_raw_table_counts_and_is_copied_beside_the_preprocessed_data(folders: Path) -> None:
    write_table(folders / "raw", "new")
    write_table(folders / "preprocessed", "old")
    assert read_nodule_table(NAME, SCHEMA).nodules[0].case_id == "new"
    (folders / "raw" / NAME / "nodules.csv").unlink()
    assert read_nodule_table(NAME, SCHEMA).nodules[0].case_id == "new"
    assert [path.name for path in (folders / "preprocessed" / NAME).iterdir()] == ["nodules.csv"]


def test_the_copy_serves_without_any_raw_folder(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(folders / "preprocessed", "old")
    monkeypatch.delenv("nnUNet_raw")
    assert read_nodule_table(NAME, SCHEMA).nodules[0].case_id == "old"


@pytest.mark.usefixtures("folders")
def test_a_missing_table_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"has no nodules\.csv"):
        read_nodule_table(NAME, SCHEMA)


def test_training_cases_are_those_of_the_raw_data_set(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = folders / "raw" / NAME
    assert RawCases.of(NAME) == RawCases()
    write_json(raw / "dataset.json", DATASET_JSON)
    for path in ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"):
        (raw / path).parent.mkdir()
        (raw / path).touch()
    cases = RawCases.of(NAME)
    assert [Path(path).name for path in (*cases.images["a"], cases.masks["a"])] == ["a_0000.nii.gz", "a.nii.gz"]
    assert cases.labels == (0, 1)
    cases.check_complete()
    (raw / "imagesTr" / "a_0001.nii.gz").touch()
    with pytest.raises(ValueError, match=r"'a' of imagesTr has .*a_0001.* asks for \['a_0000.nii.gz'\]"):
        RawCases.of(NAME).check_complete()
    (raw / "labelsTr" / "a.nii.gz").unlink()
    with pytest.raises(ValueError, match="1 cases of imagesTr have no mask in labelsTr: a"):
        cases.check_complete()
    monkeypatch.delenv("nnUNet_raw")
    assert RawCases.of(NAME) == RawCases()


def test_an_unset_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("nnUNet_results", raising=False)
    with pytest.raises(ValueError, match="nnUNet_results is not set"):
        folder_from_environment("nnUNet_results")
