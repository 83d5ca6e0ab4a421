"""Which cases of an output folder are done, and whose answers lie there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dsmt_nnunet.image_files import is_whole_image
from dsmt_nnunet.nodules import Nodule
from dsmt_nnunet.predictions.results import CasePrediction, is_case_file, read_case, write_case

_DECISIVE = ("weights", "mirroring")
"""What of CASE.json's `model` two predictions must share to lie in one folder."""
_SAME_MM = 2e-3


def check_output_folder(folder: Path, own: CasePrediction, replaced: Sequence[str]) -> None:
    """Checks that answers of this model alone will lie in a folder.

    Args:
        folder: of the output.
        own: an empty prediction of this model.
        replaced: cases that are predicted anew.

    Raises:
        ValueError: there are answers to other tasks, of other weights, or of unlike mirroring.
    """
    for path in sorted(folder.glob("*.json")):
        if path.stem in replaced or not is_case_file(path):
            continue
        case = read_case(path)
        if case.schema != own.schema:
            raise ValueError(
                f"{path} was predicted for other tasks than this model's {list(own.schema.task_names)}. Give each "
                f"model an output folder of its own."
            )
        if differs := [key for key in _DECISIVE if case.model.get(key) != own.model.get(key)]:
            raise ValueError(
                f"{path} was predicted by another model, fold or checkpoint, or with other mirroring "
                f"({', '.join(differs)} differ). Give each its own output folder."
            )


def is_finished(mask: Path, case_file: Path, image_crc32: str, given: Sequence[Nodule]) -> bool:
    """Whether mask and CASE.json are whole, of this image, and of these positions and covariates where given."""
    if not (mask.is_file() and case_file.is_file() and is_whole_image(mask)):
        return False
    try:
        case = read_case(case_file)
    except ValueError:
        return False
    if case.image_crc32 != image_crc32:
        return False
    if not given:
        return True
    return len(case.nodules) == len(given) and all(
        found.nodule_id == nodule.nodule_id
        and all(abs(a - b) < _SAME_MM for a, b in zip(found.centre_mm, nodule.centre_mm, strict=True))
        and all(found.covariates.get(name) == value for name, value in nodule.covariates.items())
        for found, nodule in zip(case.nodules, given, strict=True)
    )


def write_finished(case: CasePrediction, output: str) -> None:
    """Writes CASE.json, `output` being its path without ending, and says what should be looked at."""
    write_case(case, f"{output}.json")
    for text in case.doubts:
        print(f"Case {case.case_id}: {text}")
