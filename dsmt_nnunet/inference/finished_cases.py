"""Which cases of an output folder are done, and whose answers lie there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dsmt_nnunet.image_files import is_whole_image
from dsmt_nnunet.inference.scan_image import ScanImage
from dsmt_nnunet.nodules import Nodule
from dsmt_nnunet.predictions.answer_rules import differences
from dsmt_nnunet.predictions.results import CasePrediction, is_case_file, read_case, read_folder, write_case
from dsmt_nnunet.predictions.table import CLASSIFICATION_TABLE_NAME, write_table

_SAME_MM = 2e-3


def check_output_folder(folder: Path, own: CasePrediction, replaced: Sequence[str]) -> None:
    """Checks that answers of this model alone will lie in a folder.

    Args:
        folder: of the output.
        own: an empty prediction of this model.
        replaced: cases that are predicted anew.

    Raises:
        ValueError: there are answers to other tasks, or of another model in what `answer_rules.differences` looks at.
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
        if differs := differences(case.model, own.model):
            raise ValueError(
                f"{path} was predicted by another model, fold or checkpoint, with other mirroring or another operating "
                f"point ({', '.join(differs)} differ). Give each its own output folder."
            )


def is_finished(
    files: Sequence[str], output: str, file_ending: str, plans_manager: PlansManager, given: Sequence[Nodule]
) -> bool:
    """Whether a case has been predicted: mask and CASE.json are whole, of this image, positions and covariates.

    Args:
        files: of the case, one a channel.
        output: path of its prediction, without ending.
        file_ending: of masks.
        plans_manager: of the model.
        given: its nodules; none where they are searched.
    """
    mask, case_file = Path(output + file_ending), Path(f"{output}.json")
    if not (mask.is_file() and case_file.is_file()):
        return False
    try:
        image = ScanImage.read(files, plans_manager)
        case = read_case(case_file) if is_whole_image(mask) else None
    except (ValueError, OSError):
        return False
    if case is None or case.image_crc32 != image.checksum:
        return False
    searched = case.candidates is not None
    if not given or searched:
        return searched and not given
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


def write_whole_table(folder: Path) -> None:
    """Writes classification.csv of all cases in an output folder; again, if another part finished meanwhile."""
    seen: set[str] = set()
    while True:
        present = {path.name for path in folder.glob("*.json") if is_case_file(path)}
        if present == seen:
            return
        write_table(read_folder(folder), folder / CLASSIFICATION_TABLE_NAME)
        seen = present
