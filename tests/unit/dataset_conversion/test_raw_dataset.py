from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from dsmt_nnunet.dataset_conversion.raw_dataset import RawDatasetWriter
from dsmt_nnunet.identifiers import case_id_problem
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.tasks import ClassificationSchema, Task

SCHEMA = ClassificationSchema((Task("malignancy", ("benign", "malignant")),), "malignancy")


def nodule(case_id: str, patient_id: str = "", label: str | None = "benign", **kwargs: Any) -> Nodule:
    labels = {"malignancy": label}
    return Nodule(case_id, "1", patient_id or case_id, (1.0, 2.0, 3.0), labels=labels, **kwargs)


def volume(fill: float = -800, dtype: type = np.int16, size: tuple[int, ...] = (4, 5, 6)) -> sitk.Image:
    array: np.ndarray = np.full(size, fill, dtype)
    array[1, 2, 3] = 40
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-10.0, 20.0, 30.0))
    image.SetDirection((-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
    return image


def mask(value: int = 7) -> sitk.Image:
    array = np.zeros((4, 5, 6), np.int32)
    array[1, 2, 3] = value
    return sitk.GetImageFromArray(array)


def write(folder: Path, case_ids: tuple[str, ...] = ("a",), **options: Any) -> Path:
    with RawDatasetWriter(7, "Small", SCHEMA, folder, **options) as writer:
        for case_id in case_ids:
            writer.add_case(case_id, volume(), mask(), [nodule(case_id)], "train")
    return writer.folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_layout(tmp_path: Path) -> None:
    with RawDatasetWriter(7, "Small", SCHEMA, tmp_path, dataset_json_extra={"licence": "CC0"}) as writer:
        writer.add_case("a", volume(), mask(), [nodule("a", extra={"cohort": "x"})], "train")
        writer.add_case("b", volume(), mask(), [nodule("b", label=None)], "test")
        writer.add_file("model.json", "{}")
    folder = tmp_path / "Dataset007_Small"
    assert writer.folder == folder
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "dataset.json",
        "nodules.csv",
        "nodulesTs.csv",
        "model.json",
        "imagesTr/a_0000.nii.gz",
        "labelsTr/a.nii.gz",
        "imagesTs/b_0000.nii.gz",
        "labelsTs/b.nii.gz",
    }
    assert json.loads((folder / "dataset.json").read_text()) == {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "nodule": 1},
        "numTraining": 1,
        "file_ending": ".nii.gz",
        "classification": SCHEMA.to_block(),
        "licence": "CC0",
    }
    heads = {(folder / name).read_text().splitlines()[0] for name in ("nodules.csv", "nodulesTs.csv")}
    assert heads == {"case_id,nodule_id,patient_id,x_mm,y_mm,z_mm,diameter_mm,malignancy,cohort"}
    assert NoduleTable.read(folder / "nodulesTs.csv", SCHEMA).nodules[0].labels == {"malignancy": None}
    assert names(tmp_path) == {"Dataset007_Small"}


def test_mask_gets_one_label_and_the_geometry_of_the_image(tmp_path: Path) -> None:
    folder = write(tmp_path)
    written_image = sitk.ReadImage(str(folder / "imagesTr" / "a_0000.nii.gz"))
    written = sitk.ReadImage(str(folder / "labelsTr" / "a.nii.gz"))
    assert written.GetPixelID() == sitk.sitkUInt8
    assert np.argwhere(sitk.GetArrayFromImage(written) == 1).tolist() == [[1, 2, 3]]
    assert sitk.GetArrayFromImage(written).sum() == 1
    np.testing.assert_allclose(written.GetOrigin(), volume().GetOrigin())
    for what in ("GetSpacing", "GetOrigin", "GetDirection", "GetSize"):
        assert getattr(written, what)() == getattr(written_image, what)()


@pytest.mark.parametrize(
    ("fill", "dtype", "expected"),
    [
        (-800, np.int16, sitk.sitkInt16),
        (-800, np.float64, sitk.sitkInt16),
        (-800.5, np.float64, sitk.sitkFloat32),
        (40000, np.int32, sitk.sitkFloat32),
        (200, np.uint8, sitk.sitkInt16),
    ],
)
def test_images_are_int16_where_nothing_is_lost(tmp_path: Path, fill: float, dtype: type, expected: int) -> None:
    with RawDatasetWriter(7, "Small", SCHEMA, tmp_path) as writer:
        writer.add_case("a", volume(fill, dtype), mask(), [nodule("a")], "train")
    written = sitk.ReadImage(str(writer.folder / "imagesTr" / "a_0000.nii.gz"))
    assert written.GetPixelID() == expected
    assert sitk.GetArrayFromImage(written)[0, 0, 0] == fill


def test_metadata_of_the_image_is_left_behind(tmp_path: Path) -> None:
    image = volume()
    image.SetMetaData("ITK_FileNotes", "Jane Doe")
    with RawDatasetWriter(7, "Small", SCHEMA, tmp_path) as writer:
        writer.add_case("a", image, mask(), [nodule("a")], "train")
    written = sitk.ReadImage(str(writer.folder / "imagesTr" / "a_0000.nii.gz"))
    assert "Jane Doe" not in [written.GetMetaData(key) for key in written.GetMetaDataKeys()]


def test_nothing_is_visible_before_the_end_and_nothing_remains_after_an_error(tmp_path: Path) -> None:
    def fail() -> None:
        with RawDatasetWriter(7, "Small", SCHEMA, tmp_path) as writer:
            writer.add_case("a", volume(), mask(), [nodule("a")], "train")
            assert [name[0] for name in names(tmp_path)] == ["."]
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert names(tmp_path) == set()


def test_an_empty_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no case was added"):
        write(tmp_path, ())
    assert names(tmp_path) == set()


def test_an_existing_data_set_is_replaced_only_on_request_and_only_by_a_complete_one(tmp_path: Path) -> None:
    folder = write(tmp_path, ("a",))
    with pytest.raises(FileExistsError, match=r"exists already.*--overwrite"):
        write(tmp_path, ("b",))
    with pytest.raises(ValueError, match="no case was added"):
        write(tmp_path, (), overwrite=True)
    assert names(folder / "labelsTr") == {"a.nii.gz"}
    write(tmp_path, ("b",), overwrite=True)
    assert names(folder / "labelsTr") == {"b.nii.gz"}
    assert names(tmp_path) == {"Dataset007_Small"}


def test_the_old_data_set_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path, ("a",))
    rename = Path.rename

    def failing_rename(source: Path, target: Path) -> Path:
        if source.name.endswith(".tmp"):
            raise OSError("disk full")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", failing_rename)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path, ("b",), overwrite=True)
    assert names(folder / "labelsTr") == {"a.nii.gz"}
    assert names(tmp_path) == {"Dataset007_Small"}


def test_one_id_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raw" / "Dataset007_Other").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="Dataset007_Other"):
        write(tmp_path / "raw", overwrite=True)
    for variable, folder in (("nnUNet_raw", "raw2"), ("nnUNet_preprocessed", "pre")):
        monkeypatch.setenv(variable, str(tmp_path / folder))
    (tmp_path / "pre" / "Dataset007_Old").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="Dataset007_Old"):
        write(tmp_path / "raw2")
    write(tmp_path / "elsewhere")


def test_raw_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    assert RawDatasetWriter(7, "Small", SCHEMA).folder == tmp_path / "Dataset007_Small"
    monkeypatch.delenv("nnUNet_raw")
    with pytest.raises(ValueError, match="nnUNet_raw is not set"):
        RawDatasetWriter(7, "Small", SCHEMA)


@pytest.mark.parametrize(
    ("dataset_id", "name", "message"),
    [
        (0, "Small", "between 1 and 999"),
        (1000, "Small", "between 1 and 999"),
        (7, "", "must begin with"),
        (7, "Two Words", "must begin with"),
        (7, "a/b", "must begin with"),
        (7, "-a", "must begin with"),
    ],
)
def test_bad_ids_and_names(tmp_path: Path, dataset_id: int, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RawDatasetWriter(dataset_id, name, SCHEMA, tmp_path)


@pytest.mark.parametrize("case_id", ["case_0001", "case_0000", "LIDC-IDRI-0011_1", "a.b", "_a"])
def test_safe_case_ids(case_id: str) -> None:
    assert case_id_problem(case_id) is None


@pytest.mark.parametrize("case_id", ["", ".a", "-a", "a b", "a/b", "..", "ä", "a.", "a_seg", "asegFromPrevStage1"])
def test_unsafe_case_ids(case_id: str) -> None:
    assert case_id_problem(case_id) is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"case_id": "a b"}, "case_id may hold"),
        ({"case_id": "A"}, "added already"),
        ({"split": "val"}, "split must be one of"),
        ({"image": volume(size=(4, 5, 7))}, r"mask has size \(6, 5, 4\), the image \(7, 5, 4\)"),
        ({"image": sitk.Image(6, 5, sitk.sitkInt16)}, "3-D"),
        ({"nodules": [nodule("other")]}, "belongs to case 'other'"),
        ({"nodules": [nodule("b"), nodule("b")]}, "unique within a case"),
        ({"nodules": [nodule("b", label="odd")]}, "'odd' is not a class"),
        ({"nodules": [nodule("b", extra={"x_mm": "1"})]}, "fixed column"),
        ({"nodules": [nodule("b", "a")], "split": "test"}, "train and in test"),
    ],
)
def test_cases_that_break_a_rule(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    case = {"case_id": "b", "image": volume(), "mask": mask(), "nodules": [nodule("b")], "split": "train"}
    with RawDatasetWriter(7, "Small", SCHEMA, tmp_path) as writer:
        writer.add_case("a", volume(), mask(), [nodule("a")], "train")
        with pytest.raises(ValueError, match=message):
            writer.add_case(**{**case, **change})


@pytest.mark.parametrize("name", ["dataset.json", "nodules.csv", "a/b.txt", ".hidden", ".."])
def test_further_files_have_plain_names(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(ValueError, match="plain file name"),
        RawDatasetWriter(7, "Small", SCHEMA, tmp_path) as writer,
    ):
        writer.add_file(name, "")


def test_extra_entries_do_not_replace_those_of_nnunet(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="labels"):
        write(tmp_path, dataset_json_extra={"labels": {}})


def test_a_data_set_set_aside_by_a_killed_run_is_put_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    aside = tmp_path / ".Dataset501_Nodules.old"
    aside.mkdir()
    (aside / "dataset.json").write_text("{}")
    with pytest.raises(FileExistsError, match="exists already"):
        RawDatasetWriter(501, "Nodules", SCHEMA, tmp_path)
    assert (tmp_path / "Dataset501_Nodules" / "dataset.json").is_file()
    assert "Put" in caplog.text
    aside.mkdir()
    RawDatasetWriter(501, "Nodules", SCHEMA, tmp_path, overwrite=True)
    assert not aside.exists()
