"""Typed views of the files that nnU-Net keeps: plans.json, dataset.json and the fingerprint.

Each is parsed once, where it comes in. A view names what DSMT uses; `content` is the whole, for handing it back to
nnU-Net with all that DSMT does not know.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Json = Mapping[str, object]


@dataclass(frozen=True)
class ForegroundIntensities:
    """Statistics of one channel inside the foreground of the training cases, in the image's own unit."""

    mean: float
    std: float
    percentile_00_5: float
    percentile_99_5: float

    @classmethod
    def parse(cls, content: Json, where: str) -> ForegroundIntensities:
        names = ("mean", "std", "percentile_00_5", "percentile_99_5")
        return cls(*(_number(content, name, where) for name in names))


@dataclass(frozen=True)
class Architecture:
    """The network of a configuration.

    Attributes:
        class_name: dotted, of the network's class.
        arguments: of its constructor.
        imported: names of those arguments that are dotted names of classes.
        features_per_stage: channels of each stage, from the image to the bottleneck.
    """

    class_name: str
    arguments: Json
    imported: tuple[str, ...]
    features_per_stage: tuple[int, ...]

    @classmethod
    def parse(cls, content: Json, where: str) -> Architecture:
        arguments = _mapping(content, "arch_kwargs", where)
        return cls(
            class_name=_text(content, "network_class_name", where),
            arguments=arguments,
            imported=_texts(content, "_kw_requires_import", where),
            features_per_stage=tuple(int(n) for n in _numbers(arguments, "features_per_stage", where)),
        )


@dataclass(frozen=True)
class Configuration:
    """One configuration of the plans, with what it inherits.

    Attributes:
        name: such as 3d_fullres.
        data_identifier: folder of its preprocessed cases.
        spacing_mm: of preprocessed images, (z, y, x) after the plans' transposition.
        patch_size: in voxels, along the same axes.
        batch_size: patches.
        normalization_schemes: one a channel.
        architecture: of the network.
        content: as nnU-Net wrote it.
    """

    name: str
    data_identifier: str
    spacing_mm: tuple[float, ...]
    patch_size: tuple[int, ...]
    batch_size: int
    normalization_schemes: tuple[str, ...]
    architecture: Architecture
    content: Json

    @classmethod
    def parse(cls, name: str, content: Json) -> Configuration:
        """
        Raises:
            ValueError: an entry is missing or of another kind.
        """
        where = f"plans.json, configuration '{name}'"
        return cls(
            name=name,
            data_identifier=_text(content, "data_identifier", where),
            spacing_mm=_numbers(content, "spacing", where),
            patch_size=tuple(int(length) for length in _numbers(content, "patch_size", where)),
            batch_size=int(_number(content, "batch_size", where)),
            normalization_schemes=_texts(content, "normalization_schemes", where),
            architecture=Architecture.parse(_mapping(content, "architecture", where), f"{where}, architecture"),
            content=content,
        )

    @property
    def patch_mm(self) -> tuple[float, ...]:
        """Extent of the patch along each axis."""
        return tuple(length * size for length, size in zip(self.patch_size, self.spacing_mm, strict=True))


@dataclass(frozen=True)
class NnunetPlans:
    """plans.json.

    Attributes:
        transpose_forward: axis of the image that becomes each axis of the preprocessed array.
        intensities: of each channel, in order.
        content: as nnU-Net wrote it.
    """

    transpose_forward: tuple[int, ...]
    intensities: tuple[ForegroundIntensities, ...]
    content: Json

    @classmethod
    def parse(cls, content: Json) -> NnunetPlans:
        """
        Raises:
            ValueError: an entry is missing or of another kind.
        """
        where, key = "plans.json", "foreground_intensity_properties_per_channel"
        channels = _mapping(content, key, where)
        return cls(
            transpose_forward=tuple(int(axis) for axis in _numbers(content, "transpose_forward", where)),
            intensities=tuple(
                ForegroundIntensities.parse(_mapping(channels, str(channel), f"{where}, {key}"), f"{where}, {key}")
                for channel in range(len(channels))
            ),
            content=content,
        )

    @classmethod
    def read(cls, path: Path) -> NnunetPlans:
        """
        Raises:
            ValueError: the file is not JSON, or an entry is missing or of another kind.
        """
        return cls.parse(_read(path))

    def configuration(self, name: str) -> Configuration:
        """A configuration with what it inherits.

        Raises:
            ValueError: there is none of that name, or an entry of it is missing or of another kind.
        """
        return Configuration.parse(name, resolve_configuration(self.content, name))


@dataclass(frozen=True)
class DatasetJson:
    """dataset.json of a raw data set.

    Attributes:
        channel_names: in order.
        label_names: of the background and the structures.
        training_cases: how many there are.
        file_ending: of images and masks, with its dot.
        content: as it stands in the file.
    """

    channel_names: tuple[str, ...]
    label_names: tuple[str, ...]
    training_cases: int
    file_ending: str
    content: Json

    @classmethod
    def parse(cls, content: Json) -> DatasetJson:
        """
        Raises:
            ValueError: an entry is missing or of another kind.
        """
        where = "dataset.json"
        channels = _mapping(content, "channel_names", where)
        return cls(
            channel_names=tuple(_text(channels, name, f"{where}, channel_names") for name in channels),
            label_names=tuple(_mapping(content, "labels", where)),
            training_cases=int(_number(content, "numTraining", where)),
            file_ending=_text(content, "file_ending", where),
            content=content,
        )

    @classmethod
    def read(cls, path: Path) -> DatasetJson:
        """
        Raises:
            ValueError: the file is not JSON, or an entry is missing or of another kind.
        """
        return cls.parse(_read(path))


@dataclass(frozen=True)
class Fingerprint:
    """dataset_fingerprint.json: the grids of the training images.

    Attributes:
        shapes: (N, 3) voxels along the image's axes (z, y, x), after cropping to nonzero.
        spacings_mm: (N, 3) along the same axes.
    """

    shapes: NDArray[np.float64]
    spacings_mm: NDArray[np.float64]

    @classmethod
    def parse(cls, content: Json) -> Fingerprint:
        """
        Raises:
            ValueError: an entry is missing or is not a row of three numbers a case.
        """
        where = "dataset_fingerprint.json"
        return cls(_rows(content, "shapes_after_crop", where), _rows(content, "spacings", where))

    @property
    def extents_mm(self) -> NDArray[np.float64]:
        """(N, 3) of the images, along their axes (z, y, x)."""
        return self.shapes * self.spacings_mm


@dataclass(frozen=True)
class CaseFiles:
    """The files of a training case: one image a channel, and the mask."""

    images: tuple[str, ...]
    mask: str

    @classmethod
    def parse(cls, content: Json) -> CaseFiles:
        """
        Raises:
            ValueError: an entry is missing or of another kind.
        """
        return cls(_texts(content, "images", "files of a case"), _text(content, "label", "files of a case"))


def resolve_configuration(plans: Json, name: str) -> dict[str, object]:
    """A configuration of a plans.json with what it inherits, as nnU-Net writes it.

    Raises:
        ValueError: there is none of that name.
    """
    own = dict(_mapping(_mapping(plans, "configurations", "plans.json"), name, "plans.json, configurations"))
    if "inherits_from" in own:
        return {**resolve_configuration(plans, _text(own, "inherits_from", f"plans.json, '{name}'")), **own}
    return own


def _read(path: Path) -> Json:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not an object with names.")
    return content


def _entry(content: Json, key: str, where: str) -> object:
    if key not in content:
        raise ValueError(f"{where}: '{key}' is missing; there are: {', '.join(content) or 'no entries'}.")
    return content[key]


def _mapping(content: Json, key: str, where: str) -> Json:
    value = _entry(content, key, where)
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: '{key}' must be an object with names, got {value!r}.")
    return value


def _text(content: Json, key: str, where: str) -> str:
    value = _entry(content, key, where)
    if not isinstance(value, str):
        raise ValueError(f"{where}: '{key}' must be a text, got {value!r}.")
    return value


def _number(content: Json, key: str, where: str) -> float:
    value = _entry(content, key, where)
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"{where}: '{key}' must be a finite number, got {value!r}.")
    return float(value)


def _list(content: Json, key: str, where: str) -> list[object]:
    """The items of a list; a plan that has not been written yet holds tuples and arrays instead."""
    value = _entry(content, key, where)
    if not isinstance(value, (list, tuple, np.ndarray)):
        raise ValueError(f"{where}: '{key}' must be a list, got {value!r}.")
    return list(value)


def _numbers(content: Json, key: str, where: str) -> tuple[float, ...]:
    items = {f"{key}[{index}]": item for index, item in enumerate(_list(content, key, where))}
    return tuple(_number(items, name, where) for name in items)


def _texts(content: Json, key: str, where: str) -> tuple[str, ...]:
    items = {f"{key}[{index}]": item for index, item in enumerate(_list(content, key, where))}
    return tuple(_text(items, name, where) for name in items)


def _rows(content: Json, key: str, where: str) -> NDArray[np.float64]:
    rows = {f"{key}[{index}]": row for index, row in enumerate(_list(content, key, where))}
    table = [_numbers(rows, name, where) for name in rows]
    wrong = [name for name, row in zip(rows, table, strict=True) if len(row) != 3]
    if wrong:
        raise ValueError(f"{where}: {wrong[0]} must have three numbers, got {rows[wrong[0]]!r}.")
    return np.asarray(table, dtype=np.float64).reshape(-1, 3)


def read_splits(path: Path) -> list[dict[str, list[str]]]:
    """The folds of splits_final.json, whoever made it: of each, case identifiers under `train` and `val`.

    Raises:
        ValueError: it is no such list, or a fold lacks a side.
    """
    rule = "It is a list of folds, each with case identifiers under 'train' and 'val'."
    try:
        folds = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is cut off or no JSON ({error}). {rule}") from error
    if not isinstance(folds, list) or not folds:
        raise ValueError(f"{path} holds no folds. {rule}")
    for number, fold in enumerate(folds):
        sides = fold if isinstance(fold, dict) else {}
        if lacking := [side for side in ("train", "val") if not _is_texts(sides.get(side))]:
            raise ValueError(
                f"Fold {number} of {path} has no cases under {lacking}, it has {sorted(sides) or repr(fold)}. {rule}"
            )
    return folds


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)
