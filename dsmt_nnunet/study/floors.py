"""The floors of a study: what measurements on the true masks tell without a network, which must beat them."""

from __future__ import annotations

import importlib.util
import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dsmt_nnunet.file_stamps import FileStamp
from dsmt_nnunet.files import write_text
from dsmt_nnunet.geometry import component_at
from dsmt_nnunet.intensities import TOUCH_MM
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.parallel import in_processes
from dsmt_nnunet.tasks import NODULE_TABLE_NAME, TEST_NODULE_TABLE_NAME, ClassificationSchema

RULER = "logistic_diameter_mean_hu"
"""Logistic regression on what a ruler and a region of interest tell."""
RADIOMICS = "logistic_radiomics"
"""Logistic regression, its L2 penalty chosen by cross-validation, on shape and on the IBSI features of MIRP."""
_FAMILIES = ["local_intensity", "statistical", "ih", "ivh", "glcm", "glrlm", "glszm", "gldzm", "ngtdm", "ngldm"]
"""Of MIRP. Not its shape, whose spatial autocorrelation takes seconds a nodule: SimpleITK measures that."""
_SHAPE = ("PhysicalSize", "Perimeter", "Roundness", "FeretDiameter", "Elongation", "Flatness")
_MARGIN_MM = 10.0
_HU_RANGE, _BIN_WIDTH_HU, _SPACING_MM = (-1000.0, 400.0), 25.0, 1.0
_INNER_FOLDS = 5
_PENALTIES = np.logspace(-4, 1, 6)

Array = npt.NDArray[Any]
Key = tuple[str, str]


@dataclass(frozen=True)
class Split:
    """Cases that a model learnt from, and cases that it had not seen."""

    train: frozenset[str]
    unseen: frozenset[str]


@dataclass(frozen=True)
class MeasuredNodule:
    """A nodule with the files it is measured on.

    Attributes:
        nodule: its row.
        label: index of its class among the strata, -1 for unknown.
        image, mask: files of its case.
    """

    nodule: Nodule
    label: int
    image: Path
    mask: Path

    @property
    def key(self) -> Key:
        return self.nodule.case_id, self.nodule.nodule_id


def nodules_of(raw: Path, part: str, schema: ClassificationSchema) -> list[MeasuredNodule]:
    """All nodules of the training (`Tr`) or test (`Ts`) cases of a raw data set, with labels of the primary task."""
    table = NoduleTable.read(raw / (NODULE_TABLE_NAME if part == "Tr" else TEST_NODULE_TABLE_NAME), schema)
    ending = json.loads((raw / "dataset.json").read_text(encoding="utf-8"))["file_ending"]
    measured = []
    for nodule in table.nodules:
        label = schema.primary.stratum(nodule.labels.get(schema.primary_task))
        image = raw / f"images{part}" / f"{nodule.case_id}_0000{ending}"
        mask = raw / f"labels{part}" / f"{nodule.case_id}{ending}"
        measured.append(MeasuredNodule(nodule, schema.primary.strata.index(label) if label else -1, image, mask))
    return measured


def ruler_scores(nodules: Sequence[MeasuredNodule], splits: Sequence[Split]) -> dict[Key, float]:
    """Probability of the last class for the unseen nodules, from diameter (mm) and mean HU."""
    features = []
    for measured in nodules:
        image, mask = _around(measured)
        inside = sitk.GetArrayViewFromImage(image)[sitk.GetArrayViewFromImage(mask) > 0]
        features.append([measured.nodule.diameter_mm, float(inside.mean()) if inside.size else np.nan])
    return _scores(np.array(features, dtype=float), nodules, splits, chooses_penalty=False)


def radiomics_scores(
    nodules: Sequence[MeasuredNodule], splits: Sequence[Split], cache: Path, processes: int
) -> dict[Key, float]:
    """Probability of the last class for the unseen nodules, from radiomics.

    Args:
        nodules: of training and test cases.
        splits: what is learnt from and what is scored.
        cache: CSV with the features, read if it holds these nodules of these files, written otherwise; a nodule takes
            seconds.
        processes: at work together.

    Raises:
        ImportError: MIRP is not installed.
    """
    return _scores(_cached_radiomics(nodules, cache, processes), nodules, splits, chooses_penalty=True)


def has_radiomics() -> bool:
    """Whether MIRP is installed."""
    return importlib.util.find_spec("mirp") is not None


def _cached_radiomics(nodules: Sequence[MeasuredNodule], cache: Path, processes: int) -> Array:
    """(N, F) features."""
    import pandas as pd

    stamps = [_stamp(measured) for measured in nodules]
    index = pd.MultiIndex.from_tuples(
        [(*measured.key, stamp) for measured, stamp in zip(nodules, stamps, strict=True)],
        names=["case_id", "nodule_id", "files"],
    )
    if cache.is_file():
        kept = pd.read_csv(cache, dtype=dict.fromkeys(index.names, str)).set_index(index.names)
        if index.isin(kept.index).all():
            return np.asarray(kept.loc[index], dtype=float)
    rows = in_processes(_radiomics, [(measured,) for measured in nodules], processes, "Radiomics")
    table = pd.DataFrame(rows, index=index)
    write_text(cache, table.to_csv())
    return np.asarray(table, dtype=float)


def _stamp(measured: MeasuredNodule) -> str:
    """Tells the content of the nodule's files and its position from others."""
    files = [FileStamp.of(file).crc32 for file in (measured.image, measured.mask)]
    return " ".join([*files, *(f"{value:.3f}" for value in measured.nodule.centre_mm)])


def _radiomics(measured: MeasuredNodule) -> dict[str, float]:
    """Features by name, none without a mask: voxels of 1 mm, -1000 to 400 HU in bins of 25 HU; shape as it is."""
    from mirp import extract_features

    image, mask = _around(measured)
    if not sitk.GetArrayViewFromImage(mask).any():
        return {}
    # MIRP tells of every image, on a logger that it sets up itself.
    logging.disable(logging.INFO)
    try:
        with tempfile.TemporaryDirectory() as folder:
            files = [str(Path(folder) / name) for name in ("image.nii.gz", "mask.nii.gz")]
            for item, file in zip((image, mask), files, strict=True):
                sitk.WriteImage(item, file)
            (table,) = extract_features(
                image=files[0],
                mask=files[1],
                image_modality="ct",
                base_feature_families=_FAMILIES,
                new_spacing=_SPACING_MM,
                resegmentation_intensity_range=list(_HU_RANGE),
                base_discretisation_method="fixed_bin_size",
                base_discretisation_bin_width=_BIN_WIDTH_HU,
            )
    finally:
        logging.disable(logging.NOTSET)
    values = table.iloc[0]
    intensity = {name: float(values[name]) for name in table.columns if not name.startswith(("image_", "sample_"))}
    return {**_shape(mask), **intensity}


def _shape(mask: sitk.Image) -> dict[str, float]:
    """ITK's measures of the mask (mm), the lengths of its three axes among them."""
    measured = sitk.LabelShapeStatisticsImageFilter()
    measured.ComputeFeretDiameterOn()
    measured.Execute(mask)
    shape = {name: float(getattr(measured, f"Get{name}")(1)) for name in _SHAPE}
    axes = sorted(measured.GetEquivalentEllipsoidDiameter(1))
    return {**shape, **{f"Axis{number}": float(length) for number, length in enumerate(axes)}}


def _around(measured: MeasuredNodule) -> tuple[sitk.Image, sitk.Image]:
    """The scan and the nodule's own mask (0 and 1), cut to the mask and a margin.

    The mask of a nodule is the connected component nearest to its position, at most `TOUCH_MM` away; where there is
    none, it is empty, and the scan is cut to the neighbourhood of the position.
    """
    image, labels = sitk.ReadImage(str(measured.image)), sitk.ReadImage(str(measured.mask))
    nodule = measured.nodule
    spacing = np.array(image.GetSpacing())
    centre = np.array(image.TransformPhysicalPointToContinuousIndex(nodule.centre_mm))
    component = component_at(
        sitk.GetArrayViewFromImage(labels) > 0, tuple(centre[::-1]), tuple(spacing[::-1]), TOUCH_MM
    )
    own = np.argwhere(component)[:, ::-1]
    extent = own if len(own) else np.round(centre[None]).astype(int)
    margin = np.ceil(_MARGIN_MM / spacing).astype(int)
    low = np.clip(extent.min(axis=0) - margin, 0, None)
    high = np.minimum(extent.max(axis=0) + margin + 1, image.GetSize())
    mask = np.zeros((high - low)[::-1], dtype=np.uint8)
    mask[tuple((own - low).T[::-1])] = 1
    cut = image[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
    own_mask = sitk.GetImageFromArray(mask)
    own_mask.CopyInformation(cut)
    return cut, own_mask


def _scores(
    features: Array, nodules: Sequence[MeasuredNodule], splits: Sequence[Split], chooses_penalty: bool
) -> dict[Key, float]:
    labels = np.array([measured.label for measured in nodules])
    patients = np.array([measured.nodule.patient_id for measured in nodules])
    cases = [measured.nodule.case_id for measured in nodules]
    scores: dict[Key, float] = {}
    for split in splits:
        learnt = np.array([case in split.train for case in cases]) & (labels >= 0)
        unseen = [position for position, case in enumerate(cases) if case in split.unseen]
        classifier = LogisticRegression(max_iter=5000)
        imputer = SimpleImputer(strategy="median", keep_empty_features=True)
        model: Any = make_pipeline(imputer, StandardScaler(), classifier)
        inner_folds = min(_INNER_FOLDS, int(np.bincount(labels[learnt]).min()))
        if chooses_penalty and inner_folds > 1:
            inner = StratifiedGroupKFold(inner_folds).split(features[learnt], labels[learnt], patients[learnt])
            penalties = {"logisticregression__C": _PENALTIES}
            model = GridSearchCV(model, penalties, scoring="roc_auc_ovr", cv=list(inner))
        model.fit(features[learnt], labels[learnt])
        found = model.predict_proba(features[unseen])[:, -1]
        scores.update({nodules[i].key: float(value) for i, value in zip(unseen, found, strict=True)})
    return scores


def floor_columns(
    nodules: Sequence[MeasuredNodule], splits: Sequence[Split], cache: Path, processes: int
) -> dict[str, dict[Key, float]]:
    """Scores of both floors by name; the second only where MIRP is installed."""
    floors = {RULER: ruler_scores(nodules, splits)}
    if has_radiomics():
        floors[RADIOMICS] = radiomics_scores(nodules, splits, cache, processes)
    else:
        print("No radiomics floor: MIRP is not installed (pip install 'dsmt-nnunet[study]', Python 3.11 or newer).")
    return floors
