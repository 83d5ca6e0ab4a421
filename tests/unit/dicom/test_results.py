from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from dsmt_nnunet.cli.main import main
from dsmt_nnunet.dicom.export import read_export
from dsmt_nnunet.dicom.scan_source import write_sources
from dsmt_nnunet.dicom.series import CtVolume, ct_series, read_ct
from dsmt_nnunet.dicom.structures import read_structures, structures_of
from dsmt_nnunet.image_files import voxel_checksum
from dsmt_nnunet.predictions.results import CasePrediction, NodulePrediction, TaskPrediction, read_case, write_case
from dsmt_nnunet.tasks import ClassificationSchema, Question, Task
from tests.unit.dicom.made_series import write_ct, write_enhanced_ct

SCHEMA = ClassificationSchema((Task("invasiveness", ("non-invasive", "invasive")),), "invasiveness")


def mask() -> np.ndarray:
    """Two nodules and a speck at the other end."""
    found = np.zeros((5, 6, 8), np.uint8)
    found[0, 0, 0:2] = found[2, 3:5, 3] = found[4, 5, 7] = 1
    return found


@pytest.fixture
def predicted(ct: CtVolume, tmp_path: Path) -> Path:
    return write_prediction(tmp_path / "out", ct)


def write_prediction(folder: Path, ct: CtVolume) -> Path:
    """CASE.json and mask of two nodules on a CT of 5 x 6 x 8 voxels."""
    folder.mkdir()
    nodules = []
    for name, index, probability in (("1", (0, 0, 0), 0.25), ("b", (3, 4, 2), 0.75)):
        answer = TaskPrediction(
            {"non-invasive": 1 - probability, "invasive": probability}, {}, "invasive", threshold=0.2
        )
        centre = ct.image.TransformIndexToPhysicalPoint(index)
        nodules.append(NodulePrediction(name, centre, 4.5, 2 * 0.375, {"invasiveness": answer}))
    write_case(CasePrediction("c1", SCHEMA, tuple(nodules)), folder / "c1.json")
    image = sitk.GetImageFromArray(mask())
    image.CopyInformation(ct.image)
    sitk.WriteImage(image, str(folder / "c1.nii.gz"))
    return folder


def export(predicted: Path, *more: str) -> int:
    return main(["export", "dicom", str(predicted), "--series", str(predicted.parent / "ct"), *more])


def test_segmentation_holds_the_voxels_of_the_mask(predicted: Path, ct: CtVolume) -> None:
    assert export(predicted) == 0
    path = predicted / "dicom" / "c1_seg.dcm"
    seg = hd.seg.segread(path)
    source = ct.series.objects[0].header
    for name in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert seg[name].value == source[name].value
    described = [seg.get_segment_description(number) for number in seg.segment_numbers]
    assert [one.segment_label for one in described] == ["nodule 1", "nodule b", "nodule not classified"]
    assert all(one.tracking_uid and one.tracking_id and one.algorithm_identification.version for one in described)
    pixels = seg.get_pixels_by_source_instance(list(ct.source.sop_uids), assert_missing_frames_are_empty=True)
    np.testing.assert_array_equal(pixels.any(axis=-1), mask() > 0)
    assert np.argwhere(pixels[..., 1]).tolist() == [[2, 3, 3], [2, 4, 3]]


def test_frames_of_a_multi_frame_ct_in_any_order_keep_their_places(tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    write_enhanced_ct(tmp_path / "ct" / "multi", order=(4, 2, 0, 1, 3))
    multi = read_ct(ct_series(read_export(tmp_path / "ct"))[0])
    predicted = write_prediction(tmp_path / "out", multi)
    assert export(predicted) == 0
    (series,) = structures_of(read_export(predicted / "dicom"), multi.series)
    found = np.any([one.mask for one in read_structures(series, multi)], axis=0)
    np.testing.assert_array_equal(found, mask() > 0)


def test_our_reader_reads_what_we_wrote(predicted: Path, ct: CtVolume) -> None:
    assert export(predicted) == 0
    (series,) = structures_of(read_export(predicted / "dicom"), ct.series)
    found = {item.name: item.mask for item in read_structures(series, ct)}
    np.testing.assert_array_equal(np.any(list(found.values()), axis=0), mask() > 0)


def test_report_holds_measurements_and_decisions(predicted: Path) -> None:
    assert export(predicted) == 0
    report = hd.sr.srread(predicted / "dicom" / "c1_report.dcm")
    seg = pydicom.dcmread(predicted / "dicom" / "c1_seg.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["nodule 1", "nodule b"]
    assert [group.tracking_uid for group in groups] == [item.TrackingUID for item in seg.SegmentSequence][:2]
    values = {item.name.meaning: (item.value, item.unit.value) for item in groups[1].get_measurements()}
    assert values == {
        "Volume": (0.75, "mm3"),
        "Diameter": (4.5, "mm"),
        "Probability of non-invasive, invasiveness": (0.25, "1"),
        "Probability of invasive, invasiveness": (0.75, "1"),
    }
    assert [item.value.meaning for item in groups[1].get_qualitative_evaluations()] == ["invasive"]
    assert groups[0].reference_type == hd.sr.coding.CodedConcept("121191", "DCM", "Referenced Segment")


def test_another_series_is_refused(predicted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ct(tmp_path / "ct", heights=(0, 2, 4, 6, 8))
    assert export(predicted) == 2
    assert "is not on the grid of patient 'P1'" in capsys.readouterr().err
    write_ct(tmp_path / "ct", series=2)
    assert export(predicted) == 2
    assert "holds 2 CT series" in capsys.readouterr().err


def test_the_series_that_was_predicted_is_told_from_another_of_the_same_patient(
    predicted: Path, ct: CtVolume, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another kernel or phase, or another patient, lies on the same grid."""
    own = voxel_checksum(sitk.GetArrayFromImage(ct.image))
    write_case(replace(read_case(predicted / "c1.json"), image_crc32="0badc0de"), predicted / "c1.json")
    assert export(predicted) == 2
    assert "are not those that were predicted in case 'c1': it may be another phase" in capsys.readouterr().err
    assert not (predicted / "dicom").exists()
    assert export(predicted, "--same-scan") == 0
    write_case(replace(read_case(predicted / "c1.json"), image_crc32=own), predicted / "c1.json")
    assert export(predicted) == 0
    assert capsys.readouterr().err == ""
    write_sources(predicted / "sources", {"c1": replace(ct.source, series_uid="1.2.3")})
    assert export(predicted) == 2
    assert "was made from the series 1.2.3, and" in capsys.readouterr().err


def test_nodules_whose_names_begin_alike_keep_their_own_answers(
    predicted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = read_case(predicted / "c1.json")
    first, second = case.nodules
    far = replace(first, nodule_id="far", centre_mm=(900.0, 900.0, 900.0))
    long = [replace(nodule, nodule_id="left upper lobe " * 5 + end) for nodule, end in ((first, "1"), (second, "2"))]
    write_case(replace(case, nodules=(*long, far)), predicted / "c1.json")
    assert export(predicted) == 0
    report = hd.sr.srread(predicted / "dicom" / "c1_report.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    probabilities = [
        item.value for group in groups for item in group.get_measurements()
        if item.name.meaning == "Probability of invasive, invasiveness"
    ]  # fmt: skip
    assert probabilities == [0.25, 0.75]
    assert "['far'] have no part of the mask" in capsys.readouterr().err


def plain_groups(predicted: Path) -> list[tuple[str, list[str]]]:
    """Of the report: nodules without a segment, each with its decisions."""
    assert {path.name for path in (predicted / "dicom").iterdir()} == {"c1_report.dcm"}
    report = hd.sr.srread(predicted / "dicom" / "c1_report.dcm")
    assert not report.content.get_volumetric_roi_measurement_groups()
    return [
        (group.tracking_identifier, [item.value.meaning for item in group.get_qualitative_evaluations()])
        for group in report.content.get_image_measurement_groups()
    ]


@pytest.mark.parametrize("found", [True, False])
def test_a_scan_without_nodules_and_nodules_without_a_mask_are_reported(
    predicted: Path, capsys: pytest.CaptureFixture[str], found: bool
) -> None:
    path = str(predicted / "c1.nii.gz")
    sitk.WriteImage(sitk.ReadImage(path) * 0, path)
    if not found:
        write_case(replace(read_case(predicted / "c1.json"), nodules=()), predicted / "c1.json")
    assert export(predicted) == 0
    assert "The mask is empty, so that there is no segmentation" in capsys.readouterr().err
    expected = [("nodule 1", ["invasive"]), ("nodule b", ["invasive"])] if found else [("no nodule", ["Absent"])]
    assert plain_groups(predicted) == expected
    assert read_ct(ct_series(read_export(predicted.parent / "ct"))[0]).image.GetSize() == (8, 6, 5)


def one_nodule(predicted: Path, schema: ClassificationSchema, answer: TaskPrediction, voxels: slice) -> None:
    """Leaves a case with a nodule in row 3 of the third slice."""
    old = read_case(predicted / "c1.json").nodules[1]
    nodule = replace(old, tasks={schema.primary_task: answer})
    write_case(CasePrediction("c1", schema, (nodule,)), predicted / "c1.json")
    image = sitk.ReadImage(str(predicted / "c1.nii.gz"))
    array = np.zeros((5, 6, 8), np.uint8)
    array[voxels, 3:5, 3] = 1
    only = sitk.GetImageFromArray(array)
    only.CopyInformation(image)
    sitk.WriteImage(only, str(predicted / "c1.nii.gz"))


@pytest.mark.parametrize("slices", [slice(2, 3), slice(1, 4)])
def test_a_single_nodule_of_graded_answer(predicted: Path, ct: CtVolume, slices: slice) -> None:
    grades = Task("grade", ("AAH", "AIS", "IAC"), True, Question("non-invasive", "invasive", "IAC"))
    answer = TaskPrediction(
        {"AAH": 0.2, "AIS": 0.3, "IAC": 0.5}, {}, "invasive", 0.5, {"non-invasive": 0.5, "invasive": 0.5}
    )
    one_nodule(predicted, ClassificationSchema((grades,), "grade"), answer, slices)
    assert export(predicted) == 0
    report = hd.sr.srread(predicted / "dicom" / "c1_report.dcm")
    (group,) = report.content.get_volumetric_roi_measurement_groups()
    assert [item.value.meaning for item in group.get_qualitative_evaluations()] == ["invasive"]
    assert group.referenced_segment is not None
    sources = [item.referenced_sop_instance_uid for item in group.referenced_segment.source_images_for_segmentation]
    assert sorted(sources) == sorted(list(ct.source.sop_uids)[slices])
    (series,) = structures_of(read_export(predicted / "dicom"), ct.series)
    (structure,) = read_structures(series, ct)
    assert int(structure.mask.sum()) == 2 * (slices.stop - slices.start)
