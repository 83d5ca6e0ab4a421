"""CASE.json of the cases on a page, each read once, and whether image and evaluation are those of the prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import SimpleITK as sitk

from dsmt_nnunet.evaluation.dice import same_grid
from dsmt_nnunet.image_files import read_image, read_mask, voxel_checksum
from dsmt_nnunet.predictions.explanation import Explanation
from dsmt_nnunet.predictions.results import CasePrediction, NodulePrediction, read_case
from dsmt_nnunet.report.image_folders import ImageFolders

OTHER_IMAGE = "The image in --images is not the one that was predicted, so that it is not shown."
OTHER_PREDICTION = "The prediction in --predictions is not the one that was evaluated: its contour is not shown."
OTHER_MAPS = "The maps of 'dsmt explain' were made of another image or by another model. Make them again."
MASK_OPTIONS = {"truth": "--labels", "predicted": "--predictions"}
_ROUNDING = 1e-6


class PredictedCases:
    """What lies in the folders of predictions."""

    def __init__(self, folders: ImageFolders, source: str) -> None:
        """
        Args:
            folders: where the predictions lie.
            source: name of the folder of predictions that was evaluated.
        """
        self._folders, self._source = folders, source
        self._read: dict[Path, CasePrediction | None] = {}

    def case(self, case_id: str, fold: str) -> CasePrediction | None:
        """None where there is none, or one of another release: the page shows what the evaluation holds."""
        path = self._folders.case_file(case_id, fold, self._source)
        if path is None:
            return None
        if path not in self._read:
            try:
                self._read[path] = read_case(path)
            except ValueError:
                self._read[path] = None
        return self._read[path]

    def nodule(self, case_id: str, fold: str, nodule_id: str) -> NodulePrediction | None:
        """A predicted nodule by its name."""
        case = self.case(case_id, fold)
        return None if case is None else next((own for own in case.nodules if own.nodule_id == nodule_id), None)

    def was_evaluated(self, case_id: str, fold: str, nodule_id: str, task: str, name: str, probability: float) -> bool:
        """Whether the folders hold the answer that was evaluated; so too where they hold none that can be compared.

        Args:
            case_id, fold, nodule_id: of the predicted nodule.
            task, name: of the answer, and the class whose probability it is.
            probability: that was evaluated; NaN where there is none.
        """
        case = self.case(case_id, fold)
        if case is None or math.isnan(probability):
            return True
        nodule = self.nodule(case_id, fold, nodule_id)
        if nodule is None or task not in nodule.tasks:
            return False
        answer = nodule.tasks[task]
        found = answer.answer_probabilities.get(name)
        return found is not None and abs(found - probability) <= _ROUNDING

    def is_predicted_image(self, case_id: str, fold: str, first: sitk.Image, evaluated: str = "") -> bool:
        """Whether an image is the one that was predicted, as far as evaluation or prediction tell.

        Args:
            case_id, fold: of the case.
            first: the first channel; the others are read.
            evaluated: checksum of the image whose prediction was evaluated; "" for what the prediction says.
        """
        case = self.case(case_id, fold)
        wanted = evaluated or ("" if case is None else case.image_crc32)
        if not wanted:
            return True
        others = [sitk.GetArrayFromImage(read_image(path)) for path in self._folders.other_channels(case_id)]
        return voxel_checksum(sitk.GetArrayViewFromImage(first), *others) == wanted

    def are_of(self, explanation: Explanation, case_id: str, fold: str) -> bool:
        """Whether maps were made of the prediction."""
        case = self.case(case_id, fold)
        return case is None or explanation.is_of(case)


def masks_on_grid(image: sitk.Image, paths: Mapping[str, Path | None]) -> tuple[dict[str, sitk.Image], str]:
    """Masks that lie on the grid of the image, and a sentence about each that is missing or lies on another.

    Args:
        image: of the case.
        paths: "truth" and "predicted" -> its mask; None where there is none.
    """
    masks, lacking = {}, []
    for name, path in paths.items():
        mask = None if path is None else read_mask(path)
        if mask is None:
            lacking.append(f"No {name} contour: no mask of this case in {MASK_OPTIONS[name]}.")
        elif not same_grid(image, mask):
            lacking.append(f"No {name} contour: its mask in {MASK_OPTIONS[name]} lies on another grid than the image.")
        else:
            masks[name] = mask
    return masks, " ".join(lacking)
