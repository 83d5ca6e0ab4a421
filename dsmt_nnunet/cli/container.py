"""`dsmt container`: what a container does that a platform starts without arguments, on the folders that it mounts.

grand-challenge mounts MetaImages at `/input/images/INTERFACE/`, wants masks at `/output/images/INTERFACE/` and JSON at
`/output/`; MHub mounts DICOM at `/app/data/input_data` and wants DICOM at `/app/data/output_data`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from dsmt_nnunet.files import write_json

PLATFORMS = {"/input": "/output", "/app/data/input_data": "/app/data/output_data"}
MODEL = "/opt/ml/model"
MASKS = "nodule-segmentation"
ANSWERS = "nodule-classification.json"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `container`."""
    parser = subparsers.add_parser(
        "container",
        help="predict what a platform has mounted (grand-challenge, MHub)",
        description="Predicts every image of grand-challenge's /input/images, or every CT of MHub's "
        "/app/data/input_data, with the model in /opt/ml/model. docs/running.md describes it.",
    )
    parser.add_argument("--input", type=Path, metavar="DIR", help=f"default: the first there is of {[*PLATFORMS]}")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: that of the same platform")
    parser.add_argument("--model", default=MODEL, metavar="MODEL", help="name, zip file or folder (%(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs `dsmt container`."""
    source = args.input or next((Path(name) for name in PLATFORMS if Path(name).is_dir()), None)
    target = args.output or Path(PLATFORMS.get(str(source), ""))
    if source is None or not source.is_dir():
        raise ValueError(f"There is no input folder: mount one of {[*PLATFORMS]}, or name it with --input.")
    if target == Path():
        raise ValueError(f"{source} is no platform's folder: name with --output where answers go.")
    if (source / "images").is_dir():
        return _grand_challenge(source / "images", target, args.model)
    return _mhub(source, target, args.model)


def _grand_challenge(images: Path, target: Path, model: str) -> int:
    """One image at least in a folder of its interface; its answers under the image's name."""
    import SimpleITK as sitk

    files = sorted(path for path in images.glob("*/*") if path.suffix in (".mha", ".mhd", ".tif", ".tiff"))
    if not files:
        raise ValueError(f"{images} holds no image: an .mha is expected in the folder of its interface.")
    names = [file.stem for file in files]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{images} holds {twice} in several folders or formats; each image needs a name of its own.")
    with TemporaryDirectory() as folder:
        scans, answers = Path(folder, "images"), Path(folder, "answers")
        scans.mkdir()
        for file in files:
            sitk.WriteImage(sitk.ReadImage(str(file)), str(scans / f"{file.stem}_0000.nii.gz"))
        status = _predict(model, scans, answers)
        masks = target / "images" / MASKS
        masks.mkdir(parents=True, exist_ok=True)
        told = []
        for file in files:
            if (answers / f"{file.stem}.json").is_file():
                told.append(json.loads((answers / f"{file.stem}.json").read_text(encoding="utf-8")))
                mask = sitk.ReadImage(str(answers / f"{file.stem}.nii.gz"))
                sitk.WriteImage(mask, str(masks / f"{file.stem}.mha"), useCompression=True)
        write_json(target / ANSWERS, told)
    return status


def _mhub(source: Path, target: Path, model: str) -> int:
    """Any number of series; a report of each case, and a segmentation where it has nodules, beside its answers."""
    from dsmt_nnunet.predictions.results import read_folder

    status = _predict(model, source, target)
    if not list(target.glob("*.nii.gz")):
        return status
    for case in read_folder(target):
        status = _dsmt("export", "dicom", target, "--series", source, "--case", case.case_id) or status
    return status


def _predict(model: str, source: Path, target: Path) -> int:
    """In this process alone: platforms give one case at a time, and containers little memory to share with workers."""
    return _dsmt("predict", "--model", model, "-i", source, "-o", target, "-npp", "0", "-nps", "0")


def _dsmt(*words: str | Path) -> int:
    """Another command in this process; its errors end this one."""
    from dsmt_nnunet.cli.main import main

    return main([str(word) for word in words])
