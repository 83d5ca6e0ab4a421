"""Maps of what drove a score, as they are kept on disk; `occlusion` makes them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.files import whole_file
from dsmt_nnunet.geometry import ArrayGeometry
from dsmt_nnunet.identifiers import nodule_in_file_name
from dsmt_nnunet.predictions.results import CasePrediction

Array = npt.NDArray[Any]
EXPLANATION_FOLDER = "explanations"
_SCALES = ("local", "context")


def explanation_path(predictions: Path, case_id: str, nodule_id: str) -> Path:
    """Where the maps of a nodule lie; no two of them share a file."""
    return predictions / EXPLANATION_FOLDER / f"{case_id}__{nodule_in_file_name(nodule_id)}.npz"


@dataclass(frozen=True)
class ExplanationMap:
    """One scale.

    Attributes:
        values: (Z, Y, X), by how much the log-odds of the class fall when the place is covered; positive where the
            place speaks for the class.
        geometry: where the map lies in the world.
    """

    values: Array
    geometry: ArrayGeometry


@dataclass(frozen=True)
class Explanation:
    """Maps of one task at one nodule.

    Attributes:
        task: whose score was explained.
        class_name: whose log-odds the maps are of.
        local: of the nodule.
        context: of its surroundings; None for a model without a context encoder.
        weights: digests of the networks that were asked.
        image_crc32: checksum of the scan.
    """

    task: str
    class_name: str
    local: ExplanationMap
    context: ExplanationMap | None
    weights: tuple[str, ...] = ()
    image_crc32: str = ""

    def is_of(self, case: CasePrediction) -> bool:
        """Whether the same networks were asked of the same scan as in a prediction."""
        return self.weights == tuple(case.model.get("weights", ())) and self.image_crc32 == case.image_crc32

    def write(self, path: str | Path) -> None:
        """Writes a compressed .npz, whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = {"task": self.task, "class_name": self.class_name, "image_crc32": self.image_crc32}
        content["weights"] = np.array(self.weights, dtype=str)
        for name, part in zip(_SCALES, (self.local, self.context), strict=True):
            if part is not None:
                content[f"{name}_values"] = part.values.astype(np.float16)
                content[f"{name}_spacing_mm"] = np.asarray(part.geometry.spacing_mm)
                content[f"{name}_world_to_voxel"] = part.geometry.world_to_voxel
        with whole_file(path, lambda written: np.load(written).close()) as place:
            np.savez_compressed(place, **content)

    @classmethod
    def read(cls, path: str | Path) -> Explanation:
        """Reads what `write` wrote.

        Raises:
            ValueError: the file is damaged or holds something else.
        """
        try:
            with np.load(path) as content:
                local, context = (_read_map(content, name) for name in _SCALES)
                if local is None:
                    raise KeyError("local_values")
                names = [str(content[key]) for key in ("task", "class_name", "image_crc32")]
                weights = tuple(map(str, content["weights"].tolist()))
                return cls(names[0], names[1], local, context, weights, names[2])
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} holds no maps ({error}). Make it again with 'dsmt explain'.") from error


def _read_map(content: Any, name: str) -> ExplanationMap | None:
    if f"{name}_values" not in content:
        return None
    values = content[f"{name}_values"].astype(np.float32)
    z, y, x = (float(value) for value in content[f"{name}_spacing_mm"])
    return ExplanationMap(values, ArrayGeometry((z, y, x), values.shape, content[f"{name}_world_to_voxel"]))
