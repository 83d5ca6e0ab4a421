"""What was predicted as objects that an archive reads: a segmentation and a structured report (TID 1500).

Needs highdicom (`pip install 'dsmt-nnunet[dicom]'`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cc3d
import highdicom as hd
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from dsmt_nnunet import __version__
from dsmt_nnunet.dicom.series import CtVolume
from dsmt_nnunet.predictions.results import CasePrediction, NodulePrediction
from dsmt_nnunet.tasks import ClassificationSchema, TaskKind

MANUFACTURER = "DSMT for nnU-Net"
UNCLASSIFIED = ""
"""Stands for a nodule_id, which is never empty, where the mask has something beside the classified nodules."""

CODING_SCHEME = "99DSMT"
"""Private scheme for what has no standard code: tasks, classes and their probabilities."""
NEAR_MM = 5.0
"""How far the mask of a nodule may lie from its centre."""
PRESENCE = hd.sr.CodedConcept("F1", CODING_SCHEME, "Nodules found")
ABSENT = hd.sr.CodedConcept("2667000", "SCT", "Absent")
GRID_TOLERANCE_MM = 0.05
UTF_8 = "ISO_IR 192"
"""Names of patients, tasks and classes are of any language, and highdicom does not know every way to write them."""
_REQUIRED_OF_SOURCES = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"),
    *("StudyTime", "ReferringPhysicianName", "PositionReferenceIndicator"),
)
_SEG_SERIES_NUMBER = 9001
_REPORT_SERIES_NUMBER = 9002


def with_what_is_required(source: Dataset, where: str) -> Dataset:
    """A slice in UTF-8, with an empty value for what its standard wants and some exports, mostly anonymised, leave out.

    Args:
        source: of the CT.
        where: patient and series, for the message.

    Raises:
        ValueError: it has no frame of reference, so that nothing can be placed in it.
    """
    if not source.get("FrameOfReferenceUID"):
        raise ValueError(
            f"{where}: it has no Frame of Reference UID, in which a segmentation would lie. Export it again."
        )
    source.decode()
    source.SpecificCharacterSet = UTF_8
    for keyword in _REQUIRED_OF_SOURCES:
        if keyword not in source:
            setattr(source, keyword, None)
    return source


def split_mask(mask: sitk.Image, prediction: CasePrediction, ct: CtVolume) -> dict[str, NDArray[np.bool_]]:
    """Gives every connected component of a mask to the nodule whose centre is nearest.

    Args:
        mask: CASE.nii.gz, 0 background.
        prediction: CASE.json.
        ct: the scan of the case.

    Returns:
        nodule_id -> (Z, Y, X), without nodules that have no voxel; components farther than `NEAR_MM` from every centre
        under `UNCLASSIFIED`. Together they are the mask.

    Raises:
        ValueError: the mask is not on the grid of the CT.
    """
    _check_grid(mask, ct, prediction.case_id)
    labels = cc3d.connected_components(np.ascontiguousarray(sitk.GetArrayViewFromImage(mask) != 0), connectivity=26)
    to_voxel = np.linalg.inv(np.array(mask.GetDirection()).reshape(3, 3))
    spacing = np.array(mask.GetSpacing())
    parts: dict[str, NDArray[np.bool_]] = {}
    for label in range(1, int(labels.max()) + 1):
        component = labels == label
        places_mm = np.argwhere(component)[:, ::-1] * spacing
        owner, nearest = UNCLASSIFIED, NEAR_MM
        for nodule in prediction.nodules:
            centre = to_voxel @ (np.array(nodule.centre_mm) - np.array(mask.GetOrigin()))
            distance = float(np.linalg.norm(places_mm - centre, axis=1).min())
            if distance <= nearest:
                owner, nearest = nodule.nodule_id, distance
        parts[owner] = parts.get(owner, np.zeros(labels.shape, bool)) | component
    return parts


def _check_grid(mask: sitk.Image, ct: CtVolume, case_id: str) -> None:
    far = [size - 1 for size in ct.image.GetSize()]
    same = mask.GetSize() == ct.image.GetSize() and all(
        math.dist(mask.TransformIndexToPhysicalPoint(index), ct.image.TransformIndexToPhysicalPoint(index))
        <= GRID_TOLERANCE_MM
        for index in ([0, 0, 0], far, [far[0], 0, 0], [0, far[1], 0])
    )
    if not same:
        raise ValueError(
            f"case '{case_id}': the mask ({mask.GetSize()} voxels) is not on the grid of {ct.series.where} "
            f"({ct.image.GetSize()} voxels). Give the series from which the case was made."
        )


def make_segmentation(
    parts: Mapping[str, NDArray[np.bool_]], sources: Sequence[Dataset], model_name: str
) -> hd.seg.Segmentation:
    """A binary DICOM SEG with one segment for each part, in the study and frame of reference of the scan.

    Args:
        parts: as `split_mask` gives them, at least one.
        sources: the slices of the CT, in the order of the masks' first axis, or its one multi-frame object.
        model_name: name of the algorithm.

    Raises:
        ValueError: no part.
    """
    if not parts:
        raise ValueError("the mask is empty; there is nothing to put into a segmentation.")
    algorithm = hd.AlgorithmIdentificationSequence(
        name=model_name, family=codes.DCM.ArtificialIntelligence, version=__version__
    )
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=_label(name),
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Nodule,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            tracking_uid=hd.UID(),
            tracking_id=_label(name),
            anatomic_regions=[codes.SCT.Lung],
        )
        for number, name in enumerate(parts, start=1)
    ]
    return hd.seg.Segmentation(
        source_images=list(sources),
        pixel_array=np.stack([part.astype(np.uint8) for part in parts.values()], axis=-1)[_stored_order(sources)],
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=hd.UID(),
        series_number=_SEG_SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=model_name,
        software_versions=__version__,
        device_serial_number="none",
        content_label="NODULES",
        series_description="Nodules (DSMT)",
    )


def _stored_order(sources: Sequence[Dataset]) -> NDArray[np.intp]:
    """For each stored frame its slice in the order of heights; slices of their own are in this order already."""
    frames = sources[0].get("PerFrameFunctionalGroupsSequence")
    if frames is None:
        return np.arange(len(sources))
    shared = sources[0].SharedFunctionalGroupsSequence[0]

    def group(frame: Dataset, name: str) -> Dataset:
        found: Dataset = (frame.get(name) or shared[name].value)[0]
        return found

    axes = np.array(group(frames[0], "PlaneOrientationSequence").ImageOrientationPatient, float)
    places = np.array([group(frame, "PlanePositionSequence").ImagePositionPatient for frame in frames], float)
    return np.argsort(np.argsort(places @ np.cross(axes[:3], axes[3:])))


def _label(nodule_id: str) -> str:
    """Of a segment; no longer than DICOM allows."""
    return f"nodule {nodule_id or 'not classified'}"[:64]


def make_report(
    prediction: CasePrediction,
    segmentation: hd.seg.Segmentation | None,
    segments: Sequence[str],
    sources: Sequence[Dataset],
    model_name: str,
) -> hd.sr.Comprehensive3DSR:
    """A structured report (TID 1500): one measurement group a nodule, or one that says that there is none.

    Args:
        prediction: CASE.json.
        segmentation: as `make_segmentation` gives it; None where the mask is empty.
        segments: nodule_id of each segment, in their order; labels are cut and need not tell nodules apart.
        sources: as for `make_segmentation`.
        model_name: name of the algorithm.
    """
    finding = {
        "finding_type": codes.SCT.Nodule,
        "finding_sites": [hd.sr.FindingSite(anatomic_location=codes.SCT.Lung)],
        "algorithm_id": hd.sr.AlgorithmIdentification(name=model_name, version=__version__),
    }
    groups = _groups(prediction, segmentation, segments, finding)
    observer = hd.sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=hd.UID(), name=MANUFACTURER, manufacturer_name=MANUFACTURER, model_name=model_name
        ),
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    return hd.sr.Comprehensive3DSR(
        evidence=[*sources, *([] if segmentation is None else [segmentation])],
        content=content[0],
        series_instance_uid=hd.UID(),
        series_number=_REPORT_SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        series_description="Nodule classification (DSMT)",
    )


def _groups(
    prediction: CasePrediction,
    segmentation: hd.seg.Segmentation | None,
    segments: Sequence[str],
    finding: Mapping[str, Any],
) -> list[Any]:
    """A group for each nodule, with its segment where it has one; where there is no nodule, one that says so."""
    if not prediction.nodules:
        return [
            hd.sr.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=hd.sr.TrackingIdentifier(uid=hd.UID(), identifier="no nodule"),
                qualitative_evaluations=[hd.sr.QualitativeEvaluation(name=PRESENCE, value=ABSENT)],
                **finding,
            )
        ]
    numbers = {nodule_id: number for number, nodule_id in enumerate(segments, start=1)}
    groups: list[Any] = []
    for nodule in sorted(prediction.nodules, key=lambda one: numbers.get(one.nodule_id, len(numbers) + 1)):
        told = {
            "measurements": _measurements(nodule, prediction.schema),
            "qualitative_evaluations": _decisions(nodule, prediction.schema),
            **finding,
        }
        number = numbers.get(nodule.nodule_id)
        if number is None or segmentation is None:
            name = hd.sr.TrackingIdentifier(uid=hd.UID(), identifier=_label(nodule.nodule_id))
            groups.append(hd.sr.MeasurementsAndQualitativeEvaluations(tracking_identifier=name, **told))
            continue
        segment = segmentation.get_segment_description(number)
        groups.append(
            hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=hd.sr.TrackingIdentifier(uid=segment.tracking_uid, identifier=segment.tracking_id),
                referenced_segment=_reference(segmentation, number),
                **told,
            )
        )
    return groups


def _reference(segmentation: hd.seg.Segmentation, number: int) -> hd.sr.ReferencedSegment:
    """A segment and the slices it was drawn on.

    What all frames share, as the only segment does, highdicom writes once for all of them, where its own
    `from_segmentation` does not look.
    """
    shared = segmentation.SharedFunctionalGroupsSequence[0]

    def group(frame: Dataset, name: str) -> Sequence[Dataset]:
        found: Sequence[Dataset] = (frame if name in frame else shared)[name].value
        return found

    images: dict[str, str] = {}
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        if group(frame, "SegmentIdentificationSequence")[0].ReferencedSegmentNumber == number:
            for derivation in group(frame, "DerivationImageSequence"):
                for source in derivation.SourceImageSequence:
                    images[str(source.ReferencedSOPInstanceUID)] = str(source.ReferencedSOPClassUID)
    return hd.sr.ReferencedSegment(
        segmentation.SOPClassUID,
        segmentation.SOPInstanceUID,
        number,
        source_images=[hd.sr.SourceImageForSegmentation(kind, uid) for uid, kind in images.items()],
    )


def _measurements(nodule: NodulePrediction, schema: ClassificationSchema) -> list[hd.sr.Measurement]:
    found = []
    if nodule.volume_mm3:
        found.append(hd.sr.Measurement(name=codes.SCT.Volume, value=nodule.volume_mm3, unit=codes.UCUM.CubicMillimeter))
    if not math.isnan(nodule.diameter_mm):
        found.append(hd.sr.Measurement(name=codes.SCT.Diameter, value=nodule.diameter_mm, unit=codes.UCUM.Millimeter))
    for number, task in enumerate(schema.tasks, start=1):
        for index, name in enumerate(task.classes):
            concept = hd.sr.CodedConcept(
                f"T{number}P{index}", CODING_SCHEME, f"Probability of {name}, {task.name}"[:64]
            )
            probability = nodule.tasks[task.name].probabilities[name]
            found.append(hd.sr.Measurement(name=concept, value=probability, unit=codes.UCUM.NoUnits))
    return found


def _decisions(nodule: NodulePrediction, schema: ClassificationSchema) -> list[hd.sr.QualitativeEvaluation]:
    """Of grades the answer to their question."""
    found = []
    for number, task in enumerate(schema.tasks, start=1):
        decision = nodule.tasks[task.name].decision
        asked = task if task.kind is TaskKind.NOMINAL else task.as_binary()
        letter = "C" if asked is task else "A"
        code = f"T{number}{letter}{asked.classes.index(decision)}"
        name = hd.sr.CodedConcept(f"T{number}", CODING_SCHEME, f"Decision, {task.name}"[:64])
        value = hd.sr.CodedConcept(code, CODING_SCHEME, decision[:64])
        found.append(hd.sr.QualitativeEvaluation(name=name, value=value))
    return found
