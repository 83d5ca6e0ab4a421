"""What a model says of one scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import SimpleITK as sitk

from dsmt_nnunet.image_files import write_image
from dsmt_nnunet.inference.input_folder import check_output
from dsmt_nnunet.predictions.results import CasePrediction, NodulePrediction, write_case


@dataclass(frozen=True)
class Prediction:
    """Nodules and mask of a scan.

    Attributes:
        case: everything that CASE.json holds.
        mask: labels on the grid of the scan.

    >>> import dsmt_nnunet as dsmt
    >>> image, centre_mm = dsmt.example_scan()
    >>> prediction = dsmt.load_model(dsmt.example_model()).predict(image, centre_mm)
    >>> prediction.mask.GetSize() == image.GetSize()
    True
    >>> prediction.mask_array.shape
    (24, 40, 40)
    """

    case: CasePrediction
    mask: sitk.Image

    @property
    def nodules(self) -> tuple[NodulePrediction, ...]:
        """In the order of the positions, or found, the largest first: probabilities, spread over the folds, decision,
        diameter and volume of each."""
        return self.case.nodules

    @property
    def mask_array(self) -> npt.NDArray[Any]:
        """(Z, Y, X) labels."""
        array: npt.NDArray[Any] = sitk.GetArrayFromImage(self.mask)
        return array

    def write(self, folder: str | Path) -> Path:
        """Writes CASE.nii.gz and then CASE.json, as `dsmt predict` does.

        Returns:
            The JSON file.

        Raises:
            ValueError: a data set or a model lies in the folder, whose masks would be replaced; or it is a file.

        >>> import tempfile
        >>> import dsmt_nnunet as dsmt
        >>> image, centre_mm = dsmt.example_scan()
        >>> prediction = dsmt.load_model(dsmt.example_model()).predict(image, centre_mm, case_id="p7")
        >>> prediction.write(tempfile.mkdtemp()).name
        'p7.json'
        """
        folder = Path(folder)
        if folder.is_file():
            raise ValueError(f"{folder} is a file, and predictions go into a folder.")
        check_output(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_image(folder / f"{self.case.case_id}.nii.gz", self.mask)
        path = folder / f"{self.case.case_id}.json"
        write_case(self.case, path)
        return path
