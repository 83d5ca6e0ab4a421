"""Where the images and masks of cases lie, where they came from, and what their data set says of itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsmt_nnunet.dicom.scan_source import SOURCES_FOLDER, ScanSource, read_source
from dsmt_nnunet.evaluation.dice import find_mask
from dsmt_nnunet.predictions.explanation import explanation_path
from dsmt_nnunet.predictions.results import is_case_file


@dataclass(frozen=True)
class ImageFolders:
    """Folders of images, of reference masks and of predicted masks; each case is looked for in all of its kind.

    Attributes:
        images: with CASE_0000.nii.gz (or CASE.nii.gz, and other formats that SimpleITK reads).
        labels: with CASE.nii.gz.
        predictions: with CASE.nii.gz, or model folders with fold_K/validation/CASE.nii.gz.
        sources: with CASE.json, which slices of the archive a case is (`dsmt_nnunet.dicom.scan_source`); those beside
            images and in folders of predictions need not be named.
    """

    images: tuple[Path, ...] = ()
    labels: tuple[Path, ...] = ()
    predictions: tuple[Path, ...] = ()
    sources: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for option in ("images", "labels", "predictions", "sources"):
            for folder in getattr(self, option):
                if not folder.is_dir():
                    raise ValueError(f"--{option} {folder} is not a folder.")

    def image(self, case_id: str) -> Path | None:
        """The first channel of a case's image."""
        return _first(self.images, [f"{case_id}_0000", case_id])

    def other_channels(self, case_id: str) -> list[Path]:
        """The files of a case's channels after the first, in their order."""
        found: list[Path] = []
        while path := _first(self.images, [f"{case_id}_{len(found) + 1:04d}"]):
            found.append(path)
        return found

    def label(self, case_id: str) -> Path | None:
        """The reference mask of a case."""
        return _first(self.labels, [case_id])

    def prediction(self, case_id: str, fold: str, source: str) -> Path | None:
        """The predicted mask of a case.

        Args:
            case_id: the case.
            fold: of a cross-validation, "" elsewhere.
            source: name of the folder that was evaluated; folders of that name come first, and alone.
        """
        return _first(self._predicted(fold, source), [case_id])

    def case_file(self, case_id: str, fold: str, source: str) -> Path | None:
        """CASE.json of a case; arguments as of `prediction`."""
        paths = (folder / f"{case_id}.json" for folder in self._predicted(fold, source))
        return next((path for path in paths if is_case_file(path)), None)

    def explanation(self, case_id: str, nodule_id: str, fold: str, source: str) -> Path | None:
        """The maps of what drove the score of a predicted nodule; arguments as of `prediction`."""
        paths = (explanation_path(folder, case_id, nodule_id) for folder in self._predicted(fold, source))
        return next((path for path in paths if path.is_file()), None)

    def scan_source(self, case_id: str, source: str) -> ScanSource | None:
        """Which slices of the archive a case is; None where no file says so.

        Args:
            case_id: the case.
            source: as of `prediction`.

        Raises:
            ValueError: the file is damaged.
        """
        beside = (folder.parent / SOURCES_FOLDER for folder in self.images)
        predicted = (folder / SOURCES_FOLDER for folder in self._predicted("", source))
        paths = (folder / f"{case_id}.json" for folder in (*self.sources, *predicted, *beside))
        found = next((path for path in paths if path.is_file()), None)
        return None if found is None else read_source(found)

    def _predicted(self, fold: str, source: str) -> list[Path]:
        """Folders that may hold the predictions of an evaluation."""
        named = [folder for folder in self.predictions if folder.resolve().name == source]
        folders = [folder / f"fold_{fold}" / "validation" if fold else folder for folder in named or self.predictions]
        return [*folders, *(self.predictions if fold and not named else ())]

    def dataset_notes(self) -> list[str]:
        """What dataset.json, beside the images or in the predictions, says of the data; computed data come out."""
        places = [*(folder.parent for folder in (*self.images, *self.labels)), *self.predictions]
        notes: list[str] = []
        for content in _dataset_files(places):
            notes += [note for note in _notes(content) if note not in notes]
        return notes


def _first(folders: Iterable[Path], names: Sequence[str]) -> Path | None:
    found = (find_mask(folder, name) for folder in folders for name in names)
    return next((path for path in found if path is not None), None)


def _dataset_files(folders: Iterable[Path]) -> list[dict[str, Any]]:
    contents = []
    for folder in dict.fromkeys(folders):
        try:
            content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict):
            contents.append(content)
    return contents


def _notes(content: dict[str, Any]) -> list[str]:
    phantom = content.get("phantom")
    if not isinstance(phantom, dict):
        return []
    notes = [
        "The images are computer-made phantoms, not patients: no number on this page says anything about a clinic."
    ]
    ceilings = phantom.get("auc_ceilings", {})
    if "full" in ceilings and "local_and_signs" in ceilings:
        notes.append(
            f"By construction the best expected AUC of the primary task is {ceilings['full']:.3f}, and "
            f"{ceilings['local_and_signs']:.3f} for a model that sees the nodule without the lung around it."
        )
    return notes
