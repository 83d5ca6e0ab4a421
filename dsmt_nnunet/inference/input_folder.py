"""The folder of images to predict: what nnU-Net would pass over in it, and what would replace files of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dsmt_nnunet.identifiers import RESERVED

_CHANNEL = re.compile(r".*_[0-9]{4}")
_OTHER_IMAGES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".hdr", ".img", ".dcm", ".tif", ".tiff")


def images_of_cases(folder: Path, file_ending: str, channels: int) -> dict[str, list[str]]:
    """The cases of an input folder in nnU-Net's order, and the file of each channel.

    Args:
        folder: with CASE_0000.nii.gz and so on.
        file_ending: of the data set that the model was trained on.
        channels: files a case has.

    Raises:
        ValueError: no case, an image that nnU-Net would not find, channels that are missing or too many, or a name that
            files of nnU-Net have; all of them are named.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder.")
    found: dict[str, list[str]] = {}
    problems = []
    for name in sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
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


def described(failed: dict[str, str], total: int) -> str:
    """One line a case that could not be predicted."""
    listed: Sequence[str] = [f"  {case}: {reason}" for case, reason in failed.items()]
    return f"{len(failed)} of {total} cases could not be predicted; the others are done.\n" + "\n".join(listed)
