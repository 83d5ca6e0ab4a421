"""What drove a score, as the page lays it over the pictures of a nodule.

Colours of Okabe and Ito: orange-red where covering a place lowers the log-odds (the place speaks for the class), blue
where it raises them; the opacity grows with the change.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from PIL import Image

from dsmt_nnunet.predictions.explanation import Explanation, ExplanationMap
from dsmt_nnunet.report.nodule_picture import (
    AIR_HU,
    STACK_SLICES,
    Triple,
    data_uri,
    sample_planes,
    sample_slice,
    sample_stack,
    tiled,
)
from dsmt_nnunet.report.numbers import readable
from dsmt_nnunet.report.windows import stored_shades

FOR_RGB, AGAINST_RGB = (213, 94, 0), (0, 114, 178)
PLANE_PIXELS = 40
STACK_PIXELS = 28
STACK_SHARE = 2
"""One slice of the overlay for so many of the image: the map is far coarser than both."""
CONTEXT_PIXELS, CONTEXT_MAP_PIXELS = 128, 40
SMALLEST_LIMIT = 0.1
"""Log-odds of full colour, at least, so that a map of nearly nothing looks like nothing."""
_LEVELS = 15
_OPACITY = 0.8
_FURTHEST_MM = 12.0

FloatVolume = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ScaleWords:
    """One map in numbers.

    Attributes:
        limit: change of the log-odds at full colour.
        falls: largest fall of the log-odds, 0 for none.
        rises: largest rise, 0 for none.
        distance_mm: from the nodule's centre to the place of the largest change.
    """

    limit: float
    falls: float
    rises: float
    distance_mm: float


@dataclass(frozen=True)
class ExplanationPicture:
    """The maps of one nodule, as data for the page.

    Attributes:
        task, class_name: whose log-odds changed.
        planes_uri: overlay of the axial, coronal and sagittal plane side by side, `PLANE_PIXELS` a side each.
        stack_uri: overlay of the axial slices, every `STACK_SHARE`-th, `STACK_PIXELS` a side each.
        local: the local map in numbers.
        context_uri: axial slice of the surroundings, "" for a model without a context encoder.
        context_map_uri: its overlay.
        context: the context map in numbers.
        context_field_mm: side of both pictures.
    """

    task: str
    class_name: str
    planes_uri: str
    stack_uri: str
    local: ScaleWords
    context_uri: str = ""
    context_map_uri: str = ""
    context: ScaleWords | None = None
    context_field_mm: float = 0.0


def explanation_picture(
    explanation: Explanation, image: sitk.Image, centre_mm: Triple, field_mm: float
) -> ExplanationPicture | None:
    """Overlays for the pictures of a nodule.

    Args:
        explanation: its maps.
        image: the scan, in HU.
        centre_mm: of the pictures, (x, y, z), LPS.
        field_mm: side of the pictures.

    Returns:
        None if the maps are of another place, left over from an earlier prediction.
    """
    middle = (np.array(explanation.local.values.shape) - 1) / 2
    if math.dist(explanation.local.geometry.to_world(middle), centre_mm) > _FURTHEST_MM:
        return None
    local = as_image(explanation.local)
    words = scale_words(explanation.local, centre_mm)
    planes = sample_planes(local, centre_mm, field_mm, 0.0, PLANE_PIXELS)
    stack = sample_stack(local, centre_mm, field_mm, 0.0, STACK_PIXELS, STACK_SLICES // STACK_SHARE)
    picture = ExplanationPicture(
        task=explanation.task,
        class_name=explanation.class_name,
        planes_uri=overlay_uri(np.hstack(planes), words.limit),
        stack_uri=overlay_uri(tiled(stack), words.limit),
        local=words,
    )
    if explanation.context is None:
        return picture
    return _with_context(picture, explanation.context, image, centre_mm)


def _with_context(
    picture: ExplanationPicture, context: ExplanationMap, image: sitk.Image, centre_mm: Triple
) -> ExplanationPicture:
    field = float(max(np.multiply(context.values.shape, context.geometry.spacing_mm)))
    words = scale_words(context, centre_mm)
    scan = sample_slice(image, centre_mm, field, AIR_HU, CONTEXT_PIXELS)
    values = sample_slice(as_image(context), centre_mm, field, 0.0, CONTEXT_MAP_PIXELS)
    return replace(
        picture,
        context_uri=data_uri(stored_shades(scan)),
        context_map_uri=overlay_uri(values, words.limit),
        context=words,
        context_field_mm=field,
    )


def as_image(part: ExplanationMap) -> sitk.Image:
    """A map as an image in the world, whatever the order of its axes."""
    world_from_voxel = np.linalg.inv(part.geometry.world_to_voxel[:, :3])[:, ::-1]
    spacing = np.linalg.norm(world_from_voxel, axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(part.values, dtype=np.float32))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((world_from_voxel / spacing).ravel().tolist())
    image.SetOrigin(part.geometry.to_world((0.0, 0.0, 0.0)))
    return image


def scale_words(part: ExplanationMap, centre_mm: Triple) -> ScaleWords:
    """A map in numbers."""
    values = np.asarray(part.values, dtype=float)
    place = np.unravel_index(int(np.abs(values).argmax()), values.shape)
    return ScaleWords(
        limit=max(SMALLEST_LIMIT, float(np.abs(values).max())),
        falls=max(0.0, float(values.max())),
        rises=max(0.0, float(-values.min())),
        distance_mm=math.dist(part.geometry.to_world([float(index) for index in place]), centre_mm),
    )


def overlay_uri(values: npt.NDArray[np.floating], limit: float) -> str:
    """A transparent PNG: the sign of each value is its colour, its share of the limit the opacity."""
    levels = np.rint(np.clip(values / limit, -1, 1) * _LEVELS).astype(int) + _LEVELS
    shares = np.arange(-_LEVELS, _LEVELS + 1) / _LEVELS
    picture = Image.fromarray(levels.astype(np.uint8), mode="P")
    picture.putpalette([channel for share in shares for channel in (FOR_RGB if share > 0 else AGAINST_RGB)])
    stream = io.BytesIO()
    opacities = bytes(round(255 * _OPACITY * abs(share) ** 0.6) for share in shares)
    picture.save(stream, format="PNG", optimize=True, transparency=opacities)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def explanation_data(picture: ExplanationPicture) -> dict[str, Any]:
    """What the dialog of a card draws and says."""
    data: dict[str, Any] = {
        "title": f"{readable(picture.task)}, {picture.class_name}",
        "planes": picture.planes_uri,
        "stack": picture.stack_uri,
        "share": STACK_SHARE,
        "local": legend(picture.local, picture.class_name),
    }
    if picture.context is not None:
        data["context"] = {
            "image": picture.context_uri,
            "map": picture.context_map_uri,
            "field": round(picture.context_field_mm, 2),
            "text": legend(picture.context, picture.class_name),
        }
    return data


def legend(words: ScaleWords, class_name: str) -> str:
    """A map in words, for those who do not see it as well."""
    if max(words.falls, words.rises) < SMALLEST_LIMIT:
        return f"No place changes the log-odds of {class_name} by {SMALLEST_LIMIT:g} when covered."
    parts = []
    if words.falls >= SMALLEST_LIMIT / 2:
        parts.append(f"Orange: covering this place lowers the log-odds of {class_name}, by up to {words.falls:.2f}.")
    if words.rises >= SMALLEST_LIMIT / 2:
        parts.append(f"Blue: covering it raises the log-odds of {class_name}, by up to {words.rises:.2f}.")
    parts.append(
        f"Full colour is {words.limit:.2f}; the largest change is {words.distance_mm:.0f} mm from the nodule's centre."
    )
    return " ".join(parts)
