"""The conversion as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsmt_nnunet.dataset_conversion import images, table
from dsmt_nnunet.dataset_conversion.case_rows import CaseRows
from dsmt_nnunet.dataset_conversion.cases import LoadedCase
from dsmt_nnunet.dataset_conversion.mapping import DEFAULT_MAPPING, CovariateMapping, TableMapping
from dsmt_nnunet.dataset_conversion.mapping_file import parse_mapping, read_mapping
from dsmt_nnunet.dataset_conversion.problems import ConversionError
from dsmt_nnunet.dataset_conversion.table import convert_table
from dsmt_nnunet.diameter_range import DiameterRange
from dsmt_nnunet.dicom.scan_source import SOURCES_FOLDER, read_source
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.tasks import ClassificationSchema
from tests.unit.dataset_conversion.hospital import SIZE, Hospital, cube_mask, lung
from tests.unit.dicom.made_series import FIRST_MM, SPACING_MM, write_ct

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "lidc-mapping.yaml"


def schema_of(folder: Path) -> ClassificationSchema:
    return ClassificationSchema.from_dataset_json(json.loads((folder / "dataset.json").read_text()))


def test_table_with_the_usual_columns(hospital: Hospital) -> None:
    hospital.add("a", "AIS", patient_id="p1", bubble_lucency="yes", centre="north", split="")
    hospital.add("b", "IAC", patient_id="p2", bubble_lucency="0", centre="south", split="train")
    hospital.add("c", "MIA", patient_id="p3", bubble_lucency="", centre="south", split="Test")
    folder = hospital.convert()
    schema = schema_of(folder)
    assert schema.task_names == ("invasiveness", "bubble_lucency")
    train = NoduleTable.read(folder / "nodules.csv", schema).nodules
    test = NoduleTable.read(folder / "nodulesTs.csv", schema).nodules
    assert [(n.case_id, n.patient_id, dict(n.labels), dict(n.extra)) for n in (*train, *test)] == [
        (
            "a",
            "p1",
            {"invasiveness": "non-invasive", "bubble_lucency": "present"},
            {"pathology": "AIS", "centre": "north"},
        ),
        ("b", "p2", {"invasiveness": "invasive", "bubble_lucency": "absent"}, {"pathology": "IAC", "centre": "south"}),
        ("c", "p3", {"invasiveness": "non-invasive", "bubble_lucency": None}, {"pathology": "MIA", "centre": "south"}),
    ]
    assert [path.name for path in (folder / "labelsTs").iterdir()] == ["c.nii.gz"]
    assert not any(word in (folder / "dataset.json").read_text() for word in ("p1", "north"))


def test_patient_id_alone_is_enough(hospital: Hospital) -> None:
    hospital.add_pair()
    hospital.rows = [{"patient_id": row["case_id"], "pathology": row["pathology"]} for row in hospital.rows]
    (a, b) = NoduleTable.read(hospital.convert() / "nodules.csv").nodules
    assert [(n.case_id, n.nodule_id, n.patient_id) for n in (a, b)] == [("a", "1", "a"), ("b", "1", "b")]


def test_mapping_to_other_tasks(hospital: Hospital) -> None:
    hospital.add_pair().add("c")
    for row, texture in zip(hospital.rows, ("1", "2.0", "odd"), strict=True):
        row.update(scan=row.pop("case_id"), consistency=texture)
    task = {
        "column": "consistency",
        "classes": {"ground-glass": "1", "part-solid": "2", "solid": "3"},
        "unknown": "odd",
    }
    mapping = parse_mapping({"columns": {"case_id": "scan"}, "primary_task": "texture", "tasks": {"texture": task}})
    folder = hospital.convert(mapping=mapping)
    nodules = NoduleTable.read(folder / "nodules.csv", schema_of(folder)).nodules
    assert [n.labels["texture"] for n in nodules] == ["ground-glass", "part-solid", None]
    assert dict(nodules[0].extra) == {"pathology": "AIS", "consistency": "1"}


def test_mapped_columns_must_exist(hospital: Hospital) -> None:
    task = {"column": "t", "classes": {"a": "1", "b": "2"}}
    mapping = parse_mapping({"columns": {"case_id": "scan"}, "primary_task": "x", "tasks": {"x": task}})
    problems = hospital.add_pair().problems(mapping=mapping)
    assert "case_id (column 'scan') is missing" in problems[0]
    assert "task x (column 't') is missing" in problems[1]


def test_diameter_range_keeps_both_ends(hospital: Hospital) -> None:
    for case_id, pathology, diameter in (("a", "AIS", 5), ("b", "IAC", 10), ("c", "AIS", 4.9), ("d", "IAC", 10.1)):
        hospital.add(case_id, pathology, diameter_mm=diameter)
    hospital.add("e", "IAC", diameter_mm=7, mask_label=1).add("e", "IAC", diameter_mm=3, mask_label=2)
    hospital.put_mask("e.nii.gz", cube_mask(1, 3, 1) + cube_mask(6, 2, 2))
    folder = hospital.convert(diameter_range=(5, 10))
    nodules = NoduleTable.read(folder / "nodules.csv").nodules
    assert [(n.case_id, n.nodule_id) for n in nodules] == [("a", "1"), ("b", "1"), ("e", "1")]
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 3
    assert {path.name for path in (folder / "labelsTr").iterdir()} == {"a.nii.gz", "b.nii.gz", "e.nii.gz"}


def test_nodules_outside_of_the_range_are_learnt_from_and_not_asked_about(hospital: Hospital) -> None:
    for case_id, pathology, diameter in (("a", "AIS", 5), ("b", "IAC", 10), ("c", "AIS", 3), ("d", "IAC", 12)):
        hospital.add(case_id, pathology, diameter_mm=diameter, split="train")
    hospital.add("e", "IAC", diameter_mm=7, split="test").add("f", "IAC", diameter_mm=12, split="test")
    folder = hospital.convert(diameter_range=(5, 10), train_also_outside=True)
    assert [nodule.case_id for nodule in NoduleTable.read(folder / "nodules.csv").nodules] == ["a", "b", "c", "d"]
    assert [nodule.case_id for nodule in NoduleTable.read(folder / "nodulesTs.csv").nodules] == ["e"]
    assert schema_of(folder).asked == DiameterRange(5, 10)


def test_the_range_is_no_question_where_it_only_chose_the_nodules(hospital: Hospital) -> None:
    assert schema_of(hospital.add_pair().convert(diameter_range=(0, 100))).asked is None


def test_training_outside_needs_a_range(hospital: Hospital) -> None:
    with pytest.raises(ValueError, match="outside of what"):
        hospital.add_pair().convert(train_also_outside=True)


def test_nothing_within_the_diameter_range(hospital: Hospital) -> None:
    assert "no nodule has a diameter of 30 to 40 mm" in hospital.add_pair().problem(diameter_range=(30, 40))


@pytest.mark.parametrize("diameter_range", [(20, 10), (-1, 10), (10, 10)])
def test_malformed_diameter_range(hospital: Hospital, diameter_range: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="two rising numbers"):
        hospital.add_pair().convert(diameter_range=diameter_range)


def test_one_class_is_not_enough_to_learn_from(hospital: Hospital) -> None:
    hospital.add("a", "AIS").add("b", "MIA").add("c", "").add("d", "IAC", split="test")
    assert "1 of the classes ['non-invasive', 'invasive'] of invasiveness (non-invasive)" in hospital.problem()


def test_a_test_set_alone_may_hold_one_class(hospital: Hospital) -> None:
    folder = hospital.add("a", "AIS", split="test").convert()
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 0


def test_an_existing_data_set_is_left_alone_before_any_image_is_read(hospital: Hospital) -> None:
    hospital.add_pair().convert()
    hospital.put_mask("a.nii.gz", cube_mask() * 0)
    with pytest.raises(FileExistsError, match="Dataset501_Nodules"):
        hospital.convert()
    with pytest.raises(ConversionError):
        hospital.convert(overwrite=True)
    hospital.put_mask("a.nii.gz", cube_mask())
    hospital.convert(overwrite=True)


def test_folders_that_do_not_exist(hospital: Hospital) -> None:
    table = hospital.add_pair().write_table()
    with pytest.raises(NotADirectoryError, match="none is not a folder"):
        convert_table(table, hospital.folder / "none", hospital.folder / "masks", 501, "A", raw_folder=hospital.raw)


def test_real_nodules_with_the_example_mapping(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "lidc-crops"
    lines = (source / "labels.csv").read_text().splitlines()
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(lines[:13]))
    mapping = read_mapping(EXAMPLE)
    folder = convert_table(table, source / "images", source / "masks", 501, "LIDC", mapping, raw_folder=tmp_path)
    nodules = NoduleTable.read(folder / "nodules.csv", mapping.schema).nodules
    header = lines[0].split(",")
    for nodule, line in zip(nodules, lines[1:13], strict=True):
        row = dict(zip(header, line.split(","), strict=True))
        assert nodule.case_id == row["nodule"]
        expected = "malignant" if row["malignancy"] in "45" else "benign" if row["malignancy"] in "12" else None
        assert mapping.schema.primary.binary_label(nodule.labels["malignancy"]) == expected
        assert nodule.centre_mm == pytest.approx([float(row[name]) for name in ("x_mm", "y_mm", "z_mm")], abs=2.5)


def test_columns_in_other_letters_keep_their_meaning(hospital: Hospital) -> None:
    for case_id, pathology, split in (("a", "AIS", ""), ("b", "IAC", ""), ("c", "MIA", "test")):
        hospital.add(case_id, pathology, Split=split, Patient_ID=f"p{case_id}", Bubble_Lucency="yes")
    hospital.rows = [
        {("Case ID" if key == "case_id" else key): cell for key, cell in row.items()} for row in hospital.rows
    ]
    folder = hospital.convert()
    schema = schema_of(folder)
    assert schema.task_names == ("invasiveness", "bubble_lucency")
    (test,) = NoduleTable.read(folder / "nodulesTs.csv", schema).nodules
    assert (test.case_id, test.patient_id, test.labels["bubble_lucency"]) == ("c", "pc", "present")


def told(**covariates: CovariateMapping) -> TableMapping:
    return replace(DEFAULT_MAPPING, covariates=tuple(covariates.values()))


AGE = CovariateMapping("age", "Alter", "years")
SEX = CovariateMapping("sex", "sex", categories={"female": ("f",), "male": ("m",)})


def test_covariates_are_kept_typed_and_declared(hospital: Hospital) -> None:
    hospital.add("a", "AIS", Alter="63,5", sex="F").add("b", "IAC", Alter="", sex="m").add("c", "IAC", Alter="70")
    folder = hospital.convert(mapping=told(age=AGE, sex=SEX))
    schema = schema_of(folder)
    assert schema.covariates == (AGE.covariate, SEX.covariate)
    nodules = NoduleTable.read(folder / "nodules.csv", schema).nodules
    assert [dict(nodule.covariates) for nodule in nodules] == [
        {"age": 63.5, "sex": "female"},
        {"age": None, "sex": "male"},
        {"age": 70.0, "sex": None},
    ]


def test_a_covariate_that_tells_nothing_or_nonsense_is_a_problem(hospital: Hospital) -> None:
    hospital.add("a", "AIS", Alter="63").add("b", "IAC", Alter="63")
    assert "the training nodules show 1 different values" in hospital.problem(mapping=told(age=AGE))
    hospital.add("c", "IAC", Alter="old")
    problem = hospital.problem(mapping=told(age=AGE))
    assert "line 4" in problem
    assert "age in years must be a number, got 'old'" in problem


def test_of_a_dicom_folder_the_slices_in_the_archive_are_kept(hospital: Hospital) -> None:
    hospital.add("b", "IAC").add("a", "AIS", files=False)
    heights = [3.0 * index for index in range(SIZE)]
    written = write_ct(hospital.folder / "images" / "a", heights, lung(cube_mask()))
    hospital.put_mask("a.nii.gz", cube_mask(), spacing=(*SPACING_MM[::-1], 3.0), origin=(*FIRST_MM, 0.0))
    sources = hospital.convert() / SOURCES_FOLDER
    assert [path.name for path in sources.iterdir()] == ["a.json"], "a NIfTI file does not say what it was"
    kept = read_source(sources / "a.json")
    assert kept.sop_uids == tuple(dataset.SOPInstanceUID for dataset in written)
    assert kept.series_uid == written[0].SeriesInstanceUID


def test_a_total_below_the_table_is_called_so(hospital: Hospital) -> None:
    hospital.add("a", "AIS", age=70, centre="x").add("b", "IAC", age=60, centre="y")
    hospital.rows.append({"case_id": "Total"})
    problems = hospital.problems()
    assert all(problem.startswith("line 4, case 'Total': ") for problem in problems)
    assert all("('Total'), as a remark or a total below a table does" in problem for problem in problems)


def read_between(hospital: Hospital, monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> list[str]:
    """The files that are checked, in their order, where something happens between checking cases and writing them."""
    checked: list[str] = []
    check, write = images.check_image_file, table._read_again

    def noting(path: Path) -> None:
        checked.append(f"{path.parent.name}/{path.name}")
        check(path)

    def after_a_change(case: CaseRows, *others: Any) -> LoadedCase:
        if case.case_id == "a":
            change()
        return write(case, *others)

    monkeypatch.setattr(images, "check_image_file", noting)
    monkeypatch.setattr(table, "_read_again", after_a_change)
    hospital.convert()
    return checked


def test_a_file_is_checked_once_where_it_does_not_change(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = read_between(hospital.add_pair(), monkeypatch, lambda: None)
    assert checked == ["images/a.nii.gz", "masks/a.nii.gz", "images/b.nii.gz", "masks/b.nii.gz"]


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_a_file_that_changes_before_its_case_is_written_is_checked_anew(
    kind: str, hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = getattr(hospital.add_pair(), f"put_{kind}")
    with pytest.raises(ConversionError, match="voxels are NaN or infinite"):
        read_between(hospital, monkeypatch, lambda: put("a.nii.gz", np.where(cube_mask() > 0, np.nan, 0)))
    assert not list((hospital.folder / "raw").iterdir())
