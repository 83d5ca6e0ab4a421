"""Handing a model on as a zip file, and taking one in: what prediction needs and nothing else."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from dsmt_nnunet.files import check_archive, temporary_folder, whole_file
from dsmt_nnunet.inference.model_files import checkpoint_paths, load_predictor, read_checkpoint, read_json
from dsmt_nnunet.inference.weights import weights_digest
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.predictions.operating_point import OPERATING_POINT_NAME, OperatingPoint
from dsmt_nnunet.shipped_models import CARD_NAME
from dsmt_nnunet.training.checkpoints import TRAINING_CASES

_OF_DATASET_JSON = (
    *("channel_names", "labels", "file_ending", "classification", "numTraining", "regions_class_order"),
    *("overwrite_image_reader_writer", "name", "description", "reference", "licence", "license", "release"),
)
"""What prediction reads of dataset.json, and what its author says of it; lists of cases stay behind."""
_OF_CHECKPOINT = ("network_weights", "trainer_name", "inference_allowed_mirroring_axes")
_OF_INIT_ARGS = ("configuration", "plans", "fold", TRAINING_CASES)
_HARMLESS_BYTES, _MOST_PACKED = 2**28, 20
"""Weights shrink by a tenth; what unpacks to more than both is made to fill a disk."""
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def export_model(
    folder: Path, output: Path, folds: Sequence[int | str] | None = None, checkpoint: str = "checkpoint_final.pth"
) -> bool:
    """Writes a model as nnU-Net's own install command takes it: no paths, host names or cases, no state of training.

    Args:
        folder: `nnUNet_results/DatasetXXX_Name/TRAINER__PLANS__CONFIGURATION`.
        output: the zip file; whole or not at all.
        folds: numbers, or "all"; None for all that hold the checkpoint.
        checkpoint: file in each fold's folder.

    Returns:
        Whether an operating point lies in it; one of other networks stays behind.

    Raises:
        FileNotFoundError: no model is there, or a fold lacks the checkpoint.
        ValueError: a checkpoint is damaged, or holds more than weights and plain values; or the card is of others.
    """
    paths = checkpoint_paths(folder, folds, checkpoint)
    plans, dataset_json = (read_json(folder / name, folder) for name in ("plans.json", "dataset.json"))
    point, card, digests = OperatingPoint.read(folder), folder / CARD_NAME, []
    inside = PurePosixPath(folder.resolve().parent.name) / folder.resolve().name
    with whole_file(output, check_archive) as place, zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        kept = {key: dataset_json[key] for key in _OF_DATASET_JSON if key in dataset_json}
        _add(archive, inside / "plans.json", json.dumps(plans, indent=1).encode())
        _add(archive, inside / "dataset.json", json.dumps(kept, indent=1).encode())
        for path in paths:
            content = read_checkpoint(path, trust=False)
            digests.append(weights_digest(content["network_weights"]))
            _add(archive, inside / path.parent.name / path.name, _slim(content))
        fits = point is not None and point.misfit(digests, DSMTPlan.from_plans(plans).schema) is None
        if fits:
            _add(archive, inside / OPERATING_POINT_NAME, (folder / OPERATING_POINT_NAME).read_bytes())
        if card.is_file():
            text = card.read_bytes()
            if not all(f"SHA-256 {digest}".encode() in text for digest in digests):
                raise ValueError(f"{card} is of other weights than are to be exported. Write it again: dsmt model card")
            _add(archive, inside / CARD_NAME, text)
    return fits


def install_model(archive: Path, results: Path, trust: bool = False) -> list[Path]:
    """Unpacks models into nnUNet_results, after a look at each.

    Args:
        archive: a zip file of `export_model`, or of nnUNetv2_export_model_to_zip.
        results: the folder nnUNet_results.
        trust: whether checkpoints and plans may run code of their own.

    Returns:
        The folders of the models.

    Raises:
        ValueError: damaged, names that lead elsewhere, no DSMT model, or one that wants to run code.
        FileExistsError: such a model is there already.
    """
    if not archive.is_file():
        raise FileNotFoundError(f"{archive}: there is no such file.")
    check_archive(archive, _check_list)
    results.mkdir(parents=True, exist_ok=True)
    hidden = temporary_folder(results)
    hidden.mkdir()
    try:
        with zipfile.ZipFile(archive) as content:
            content.extractall(hidden)
        found = list(_models(hidden))
        if not found:
            raise ValueError(f"{archive} holds no model: no DatasetXXX_Name/TRAINER__PLANS__CONFIGURATION/plans.json.")
        targets = [results / path.relative_to(hidden) for path in found]
        for path, target in zip(found, targets, strict=True):
            if target.exists():
                raise FileExistsError(f"{target} exists already. Remove it first, or keep it.")
            for name in sorted({file.name for file in path.glob("fold_*/checkpoint_*.pth")}):
                load_predictor(path, checkpoint=name, device="cpu", trust=trust)
        for path, target in zip(found, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        return targets
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


@contextmanager
def opened_model(place: Path) -> Iterator[Path]:
    """The folder of one model: `place`, the one model below it, or what a zip file holds, unpacked while it is needed.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: a zip file that is damaged or holds names that lead elsewhere, or several models.
    """
    if place.is_dir():
        found = _models_below(place)
        if found and holds_model(found[0]):
            with opened_model(found[0]) as folder:
                yield folder
        else:
            yield found[0] if found else place
        return
    if not place.is_file():
        raise FileNotFoundError(f"{place}: there is no such file or folder.")
    check_archive(place, _check_list)
    with tempfile.TemporaryDirectory(prefix="dsmt_model_") as unpacked:
        with zipfile.ZipFile(place) as content:
            content.extractall(unpacked)
        models = _unpacked_models(Path(unpacked))
        if len(models) != 1:
            names = ", ".join(sorted(model.name for model in models)) or "none"
            raise ValueError(f"{place} must hold one model, it holds {len(models)} ({names}). Give a model's folder.")
        yield models[0]


def _models_below(place: Path) -> list[Path]:
    """A folder or zip file within a folder that is no model itself, as platforms unpack what they were given.

    Raises:
        ValueError: there are several.
    """
    if (place / "plans.json").is_file():
        return []
    found = _unpacked_models(place) + [path for path in sorted(place.glob("*.zip")) if holds_model(path)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ValueError(f"{place} must hold one model, it holds {len(found)} ({names}). Give a model's folder.")
    return found


def _unpacked_models(place: Path) -> list[Path]:
    return [plans.parent for plans in sorted(place.rglob("plans.json")) if list(plans.parent.glob("fold_*"))]


def holds_model(place: Path) -> bool:
    """Whether it is a zip file of a model, and not one of torch's, which are zip files too."""
    if not zipfile.is_zipfile(place):
        return False
    with zipfile.ZipFile(place) as content:
        return any(PurePosixPath(name).name == "plans.json" for name in content.namelist())


def _slim(checkpoint: dict[str, Any]) -> bytes:
    """A checkpoint with what prediction reads alone."""
    kept = {key: checkpoint[key] for key in _OF_CHECKPOINT if key in checkpoint}
    own = checkpoint["init_args"]
    kept["init_args"] = {key: own[key] for key in _OF_INIT_ARGS if key in own}
    stream = io.BytesIO()
    torch.save(kept, stream)
    return stream.getvalue()


def _add(archive: zipfile.ZipFile, name: PurePosixPath, content: bytes) -> None:
    entry = zipfile.ZipInfo(str(name), _NO_TIME)
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    archive.writestr(entry, content)


def _check_list(content: zipfile.ZipFile) -> None:
    """
    Raises:
        ValueError: a name leads out of the folder, or it unpacks to far more than weights do.
    """
    archive, entries = content.filename, content.infolist()
    unpacked, packed = sum(entry.file_size for entry in entries), sum(entry.compress_size for entry in entries)
    if unpacked > _HARMLESS_BYTES and unpacked > _MOST_PACKED * packed:
        raise ValueError(
            f"{archive} unpacks to {unpacked / 1e9:.1f} GB from {packed / 1e6:.1f} MB, and weights do not shrink so. "
            f"Nothing was unpacked."
        )
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in entry.filename or (entry.external_attr >> 28) == 0xA:
            raise ValueError(f"{archive}: '{entry.filename}' leads out of the folder. Nothing was unpacked.")


def _models(folder: Path) -> Iterator[Path]:
    for plans in sorted(folder.glob("Dataset*/*__*__*/plans.json")):
        if list(plans.parent.glob("fold_*/checkpoint_*.pth")):
            yield plans.parent
