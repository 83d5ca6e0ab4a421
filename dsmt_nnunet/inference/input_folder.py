"""The folder of images to predict: what nnU-Net would pass over in it, and what would replace files of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dsmt_nnunet.identifiers import RESERVED
from dsmt_nnunet.tasks import NODULE_TABLE_NAME

_CHANNEL = re.compile(r".*_[0-9]{4}")
_OF_A_DATA_SET = ("imagesTr", "imagesTs", "labelsTr", "labelsTs", "gt_segmentations")
_OF_NNUNET = ("Dataset[0-9][0-9][0-9]_*", "imagesTr", "splits_final.json", "dataset_fingerprint.json", "*.b2nd",
              "fold_*/checkpoint_*.pth", "checkpoint_*.pth")  # fmt: skip
_TABLE_OF_NODULES = re.compile(r"nodules?[^.]*(?:\.(?:csv|txt|tsv|xlsx?|xlsm|ods))+", re.IGNORECASE)
_OTHER_IMAGES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".hdr", ".img", ".dcm", ".tif", ".tiff")


def images_of_cases(folder: Path, file_ending: str, channels: int) -> dict[str, list[str]]:
    """The cases of an input folder in nnU-Net's order, and the file of each channel.

    Args:
        folder: with CASE_0000.nii.gz and so on.
        file_ending: of the data set that the model was trained on.
        channels: files a case has.

    Raises:
        ValueError: no case, an image or a table of nodules that would not be found, channels that are missing or too
            many, or a name that files of nnU-Net have; all of them are named.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder.")
    found: dict[str, list[str]] = {}
    problems = []
    there = sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda path: path.name)
    for path in there:
        name = path.name
        if not path.is_file():
            if not path.exists() or name.endswith(file_ending):
                problems.append(f"{name}: it is no file, but a folder or a link that leads nowhere")
            elif further := sorted(path.glob(f"*_0000{file_ending}")):
                print(f"{path} holds {len(further)} images, which are not predicted: it is a folder of its own.")
            continue
        if name != NODULE_TABLE_NAME and _TABLE_OF_NODULES.fullmatch(name):
            problems.append(f"{name}: positions are read from a file called {NODULE_TABLE_NAME} alone, exactly so")
        stem = name.removesuffix(file_ending)
        if stem != name and _CHANNEL.fullmatch(stem):
            found.setdefault(stem[:-5], []).append(stem[-4:])
        elif stem != name:
            problems.append(f"{name}: the channel's number is missing; call it {stem}_0000{file_ending}")
        elif name.lower().endswith(_OTHER_IMAGES):
            problems.append(f"{name}: the model was trained on files that end in {file_ending}, exactly so")
    wanted = [f"{number:04d}" for number in range(channels)]
    problems += [
        f"{case}: the model needs the channels {wanted}, there are {own}"
        for case, own in found.items()
        if own != wanted
    ]
    problems += [
        f"{case}: predictions of this name would replace a file that nnU-Net writes" for case in found
        if case.lower() in RESERVED
    ]  # fmt: skip
    if problems:
        raise ValueError(f"{folder} cannot be predicted:\n  " + "\n  ".join(problems))
    if not found:
        raise ValueError(f"{folder} holds no image CASE_0000{file_ending}, so there is nothing to predict.")
    return {case: [str(folder / f"{case}_{number}{file_ending}") for number in wanted] for case in sorted(found)}


def check_places(source: Path, output: Path) -> None:
    """
    Raises:
        ValueError: predictions would lie among the images, where the next run takes their masks for scans.
    """
    if source.resolve() == output.resolve():
        raise ValueError(f"{output} is the input folder too. Give the predictions a folder of their own.")


def check_output(output: Path) -> None:
    """
    Raises:
        ValueError: a data set or a model lies there, whose masks, plans.json and dataset.json would be replaced.
    """
    place = output.resolve()
    of_a_data_set = place.name in _OF_A_DATA_SET and (place.parent / "dataset.json").is_file()
    if of_a_data_set or (place.name.startswith("validation") and any(place.parent.glob("checkpoint_*.pth"))):
        found = place.name
    else:
        found = next((path.name for sign in _OF_NNUNET for path in place.glob(sign)), "")
    if found:
        raise ValueError(
            f"{output} is a folder of nnU-Net's own ({found}): predictions would replace reference masks, answers of a "
            f"validation, plans.json or dataset.json. Give the predictions a folder of their own."
        )


def check_lists(files: Sequence[Sequence[str]], outputs: str | Sequence[str] | None, file_ending: str) -> None:
    """Checks files that are listed one by one, as nnU-Net's predictor takes them in place of a folder.

    Args:
        files: of each case, one a channel.
        outputs: folder of the predictions, the path of each without ending, or None where they are returned.
        file_ending: of the data set that the model was trained on.

    Raises:
        ValueError: two predictions would have one name, or there are not as many paths as cases.
    """
    names = [Path(of_case[0]).name if of_case else "" for of_case in files]
    if outputs is None:
        return
    if isinstance(outputs, str):
        # nnU-Net takes the ending and five letters off, whatever they are.
        wrong = [name for name in names if not _CHANNEL.fullmatch(name.removesuffix(file_ending))]
        if wrong:
            raise ValueError(
                f"Predictions take their names from images called CASE_0000{file_ending}, got {wrong[:5]}. Rename "
                f"them, or give the path of each prediction."
            )
        outputs = names
    elif len(outputs) != len(files):
        raise ValueError(f"There are {len(files)} cases and {len(outputs)} paths of predictions; give one each.")
    if twice := sorted({path for path in outputs if [*outputs].count(path) > 1}):
        raise ValueError(f"Several predictions would be written to {twice[:5]}. Give each a name of its own.")


def check_part(part_id: int, num_parts: int) -> None:
    """
    Raises:
        ValueError: there is no such part, and nnU-Net would predict some cases or none.
    """
    if not 0 <= part_id < num_parts:
        raise ValueError(f"-part_id runs from 0 to {num_parts - 1} with -num_parts {num_parts}, got {part_id}.")
