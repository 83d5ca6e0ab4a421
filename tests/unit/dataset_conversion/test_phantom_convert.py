import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk

from dsmt_nnunet import parallel
from dsmt_nnunet.dataset_conversion.phantom import SCHEMA, convert_phantom
from dsmt_nnunet.dataset_conversion.phantom.cohort import draw_cohort
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.tasks import NODULE_TABLE_NAME, TEST_NODULE_TABLE_NAME, ClassificationSchema


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    return convert_phantom(500, cases=3, test_cases=1, external_cases=2, seed=2, raw_folder=raw, size=40)


def test_folder_is_an_nnunet_raw_data_set(folder):
    assert folder.name == "Dataset500_Phantom"
    dataset_json = json.loads((folder / "dataset.json").read_text())
    assert dataset_json["numTraining"] == 3
    assert ClassificationSchema.from_dataset_json(dataset_json) == SCHEMA
    assert len(list((folder / "imagesTr").glob("*_0000.nii.gz"))) == 3
    assert len(list((folder / "labelsTr").glob("*.nii.gz"))) == 3
    assert len(list((folder / "imagesTs").glob("*_0000.nii.gz"))) == 3


def test_tables_tell_cohort_and_protocol(folder):
    train = NoduleTable.read(folder / NODULE_TABLE_NAME, SCHEMA).nodules
    test = NoduleTable.read(folder / TEST_NODULE_TABLE_NAME, SCHEMA).nodules
    assert {nodule.extra["cohort"] for nodule in train} == {"internal"}
    external = [nodule for nodule in test if nodule.extra["cohort"] == "external"]
    assert {nodule.case_id for nodule in external} == {"phantom_ext_0001", "phantom_ext_0002"}
    assert {nodule.extra["protocol"] for nodule in external} == {"C"}


def test_positions_lie_in_the_mask(folder):
    for nodule in NoduleTable.read(folder / NODULE_TABLE_NAME, SCHEMA).nodules:
        mask = sitk.ReadImage(str(folder / "labelsTr" / f"{nodule.case_id}.nii.gz"))
        assert mask[mask.TransformPhysicalPointToIndex(nodule.centre_mm)] == 1
        assert 8 < nodule.diameter_mm < 22


def test_truth_table_holds_every_nodule_and_agrees_with_the_labels(folder):
    with (folder / "phantom_truth.csv").open(newline="") as stream:
        truth = {(row["case_id"], row["nodule_id"]): row for row in csv.DictReader(stream)}
    nodules = [
        nodule
        for name in (NODULE_TABLE_NAME, TEST_NODULE_TABLE_NAME)
        for nodule in NoduleTable.read(folder / name, SCHEMA).nodules
    ]
    assert set(truth) == {(nodule.case_id, nodule.nodule_id) for nodule in nodules}
    for nodule in nodules:
        row = truth[nodule.case_id, nodule.nodule_id]
        assert SCHEMA.primary.index(nodule.labels["invasiveness"]) == int(row["invasive"])
        assert float(row["diameter_mm"]) == pytest.approx(nodule.diameter_mm, rel=0.15)
        assert 0 < float(row["true_probability"]) < 1
    drawn = draw_cohort(2, 3, size=40)[1]
    assert float(truth[drawn.case_id, "1"]["haze"]) == pytest.approx(drawn.haze, abs=1e-4)


def test_several_processes_and_fewer_cases_give_the_same_images(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "WORKERS_START_S", -1.0)
    other = convert_phantom(501, cases=2, seed=2, raw_folder=tmp_path, size=40, processes=2)
    for case_id in ("phantom_0001", "phantom_0002"):
        images = [sitk.ReadImage(str(root / "imagesTr" / f"{case_id}_0000.nii.gz")) for root in (folder, other)]
        assert np.array_equal(*map(sitk.GetArrayFromImage, images))
        assert images[0].GetOrigin() == images[1].GetOrigin()


@pytest.mark.parametrize("arguments", [{"cases": 0}, {"test_cases": -1}, {"processes": 0}, {"seed": -1}])
def test_bad_numbers_are_refused_before_anything_is_written(arguments, tmp_path):
    with pytest.raises(ValueError):
        convert_phantom(500, raw_folder=tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


def test_an_existing_data_set_is_kept(folder):
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(FileExistsError):
        convert_phantom(500, cases=1, raw_folder=folder.parent, size=40)
    assert sorted(path.name for path in folder.iterdir()) == before
