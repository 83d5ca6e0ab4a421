"""How far readers agree in what they drew: Dice of each two of them and spread of their volumes, a nodule at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from dsmt_nnunet.evaluation.dice import dice_score, same_grid
from dsmt_nnunet.evaluation.files import write_rows
from dsmt_nnunet.files import write_json
from dsmt_nnunet.identifiers import same_person_key
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.reader_masks import READERS_FOLDER, read_reader_masks
from dsmt_nnunet.records import jsonable, read_object
from dsmt_nnunet.statistics.clusters.ratio import clustered_mean
from dsmt_nnunet.tasks import NODULE_TABLE_NAME, TEST_NODULE_TABLE_NAME, ClassificationSchema

TABLE_NAME = "contours.csv"
SUMMARY_NAME = "contours.json"
_COLUMNS = (
    *("case_id", "nodule_id", "patient_id", "readers", "volumes_mm3", "volume_variation"),
    *("dice_mean", "dice_min", "dice_max"),
)


@dataclass(frozen=True, kw_only=True)
class DrawnNodule:
    """What readers drew of one nodule.

    Attributes:
        nodule: of the table.
        volumes_mm3: reader -> volume.
        dice: of each two readers; none where one alone drew it.
    """

    nodule: Nodule
    volumes_mm3: Mapping[int, float]
    dice: tuple[float, ...]

    @property
    def volume_variation(self) -> float:
        """Standard deviation of the volumes by their mean; NaN for a single reader."""
        volumes = np.array(list(self.volumes_mm3.values()))
        return float(volumes.std(ddof=1) / volumes.mean()) if len(volumes) > 1 else math.nan

    def row(self) -> list[object]:
        """As in `TABLE_NAME`; volumes as `1: 523.4; 2: 498.1`, in the order of the readers."""
        volumes = "; ".join(f"{reader}: {volume:.1f}" for reader, volume in self.volumes_mm3.items())
        spread = [round(np.mean(self.dice), 4), round(min(self.dice), 4), round(max(self.dice), 4)] if self.dice else []
        variation = round(self.volume_variation, 4) if self.dice else ""
        nodule = self.nodule
        return [nodule.case_id, nodule.nodule_id, nodule.patient_id, len(self.volumes_mm3), volumes, variation,
                *(spread or ("", "", ""))]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ContourAgreement:
    """Over the nodules that two readers or more drew; each nodule counts once, whatever the number of its readers.

    Attributes:
        n: nodules that two readers or more drew.
        n_patients: patients of these.
        n_single: nodules that one reader alone drew, which have no agreement.
        dice: mean over nodules of the mean Dice of each two readers.
        dice_ci: t over patients on the logit scale; NaN for fewer than two patients.
        volume_variation: mean over nodules of the volumes' coefficient of variation.
        volume_variation_ci: t over patients.
        level: of the intervals.
    """

    n: int
    n_patients: int
    n_single: int
    dice: float
    dice_ci: tuple[float, float]
    volume_variation: float
    volume_variation_ci: tuple[float, float]
    level: float


def evaluate_contours(data_set: Path, out: Path, level: float = 0.95) -> ContourAgreement:
    """Writes `TABLE_NAME`, one row a nodule, and `SUMMARY_NAME`.

    Args:
        data_set: raw data set whose `READERS_FOLDER` holds what readers drew.
        out: folder.
        level: confidence level.

    Raises:
        ValueError: no reader's mask is kept there, none of its nodules was drawn twice, or masks differ in their grid.
    """
    drawn = [found for nodule in _nodules(data_set) if (found := _drawn(data_set, nodule)) is not None]
    if not drawn:
        raise ValueError(
            f"{data_set} holds no reader's mask in '{READERS_FOLDER}'. 'dsmt convert dicom' keeps them where a nodule "
            f"was drawn by several readers (LIDC's XML)."
        )
    agreement = _agreement(drawn, level)
    out.mkdir(parents=True, exist_ok=True)
    write_rows(out / TABLE_NAME, _COLUMNS, [one.row() for one in drawn])
    write_json(out / SUMMARY_NAME, jsonable(agreement), indent=2)
    return agreement


def _nodules(data_set: Path) -> list[Nodule]:
    schema = ClassificationSchema.from_dataset_json(read_object(data_set / "dataset.json"))
    paths = [data_set / name for name in (NODULE_TABLE_NAME, TEST_NODULE_TABLE_NAME)]
    return [nodule for path in paths if path.is_file() for nodule in NoduleTable.read(path, schema).nodules]


def _drawn(data_set: Path, nodule: Nodule) -> DrawnNodule | None:
    masks = read_reader_masks(data_set, nodule.case_id, nodule.nodule_id)
    if not masks:
        return None
    first = next(iter(masks.values()))
    if not all(same_grid(first, mask) for mask in masks.values()):
        raise ValueError(
            f"Case '{nodule.case_id}', nodule '{nodule.nodule_id}': the readers' masks in '{READERS_FOLDER}' differ in "
            f"size or place. Convert again."
        )
    arrays = {reader: sitk.GetArrayFromImage(mask) > 0 for reader, mask in masks.items()}
    voxel_mm3 = math.prod(first.GetSpacing())
    return DrawnNodule(
        nodule=nodule,
        volumes_mm3={reader: float(array.sum()) * voxel_mm3 for reader, array in arrays.items()},
        dice=tuple(dice_score(one, other) for one, other in combinations(arrays.values(), 2)),
    )


def _agreement(drawn: Sequence[DrawnNodule], level: float) -> ContourAgreement:
    several = [one for one in drawn if one.dice]
    if not several:
        raise ValueError(f"Each of the {len(drawn)} nodules was drawn by a single reader; agreement needs two.")
    patients = [same_person_key(one.nodule.patient_id) for one in several]
    dice = clustered_mean([float(np.mean(one.dice)) for one in several], patients, level, upper=1.0)
    variation = clustered_mean([one.volume_variation for one in several], patients, level)
    return ContourAgreement(
        n=len(several),
        n_patients=len(set(patients)),
        n_single=len(drawn) - len(several),
        dice=dice.estimate,
        dice_ci=dice.ci,
        volume_variation=variation.estimate,
        volume_variation_ci=variation.ci,
        level=level,
    )
