"""Pictures: orientation, contours, fields of view."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from dsmt_nnunet.report.nodule_picture import (
    PLANE_PIXELS,
    STACK_COLUMNS,
    STACK_PIXELS,
    STACK_SLICES,
    OutsideImageError,
    contour_path,
    nodule_picture,
    sample_planes,
    sample_stack,
)

FIELD_MM = 40.0
AXES = {
    "LPS": np.eye(3),
    "RAS": np.diag([-1.0, -1.0, 1.0]),
    "PSR": np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
}


def marked_image(axes: np.ndarray, mark_mm: tuple[float, float, float]) -> sitk.Image:
    """60 mm about the origin in 2 mm voxels, bright within 4 mm of a point; columns of `axes` are directions."""
    size = 31
    index = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), axis=-1) - (size - 1) / 2
    world = 2.0 * index @ axes.T
    bright = np.linalg.norm(world - np.array(mark_mm), axis=-1) <= 4
    image = sitk.GetImageFromArray(np.where(bright, 100, -1000).astype(np.int16).transpose(2, 1, 0))
    image.SetSpacing((2.0, 2.0, 2.0))
    image.SetDirection(axes.ravel().tolist())
    image.SetOrigin((axes @ np.full(3, -(size - 1.0))).tolist())
    return image


def bright_centre(plane: np.ndarray) -> tuple[float, float]:
    """Centre of what is bright, from the middle of the plane, in mm to the right and downwards."""
    rows, columns = np.nonzero(plane > -400)
    step = FIELD_MM / len(plane)
    middle = (len(plane) - 1) / 2
    return (columns.mean() - middle) * step, (rows.mean() - middle) * step


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
def test_planes_are_seen_as_radiologists_do(axes: np.ndarray) -> None:
    left, back, head = 10.0, 8.0, 6.0
    for plane, mark, expected in (
        (0, (left, back, 0), (left, back)),
        (1, (left, 0, head), (left, -head)),
        (2, (0, back, head), (back, -head)),
    ):
        planes = sample_planes(marked_image(axes, mark), (0.0, 0.0, 0.0), FIELD_MM, -1350)
        assert planes[plane].shape == (PLANE_PIXELS, PLANE_PIXELS)
        assert bright_centre(planes[plane]) == pytest.approx(expected, abs=0.6)


def test_stack_goes_from_head_to_feet() -> None:
    stack = sample_stack(marked_image(AXES["RAS"], (0, 0, 10)), (0.0, 0.0, 0.0), FIELD_MM, -1350)
    brightest = int(np.argmax([plane.sum() for plane in stack]))
    assert stack.shape == (STACK_SLICES, STACK_PIXELS, STACK_PIXELS)
    assert ((STACK_SLICES - 1) / 2 - brightest) * FIELD_MM / STACK_SLICES == pytest.approx(10, abs=1)


def test_contour_lies_on_the_edge_of_the_mask() -> None:
    mask = np.zeros((20, 20))
    mask[5:10, 4:12] = 1
    numbers = [float(text) for text in contour_path(mask).replace("M", "").replace("Z", "").replace("L", " ").split()]
    assert (min(numbers[::2]), max(numbers[::2])) == (4, 12)
    assert (min(numbers[1::2]), max(numbers[1::2])) == (5, 10)
    assert contour_path(np.zeros((20, 20))) == ""


def test_mask_at_the_border_has_a_closed_contour() -> None:
    path = contour_path(np.ones((20, 20)))
    assert path.startswith("M")
    assert path.endswith("Z")


def test_picture_holds_planes_and_slices() -> None:
    image = marked_image(AXES["LPS"], (0, 0, 0))
    picture = nodule_picture(image, {"truth": image > -400}, (0.0, 0.0, 0.0))
    planes, stack = (
        Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        for uri in (picture.planes_uri, picture.stack_uri)
    )
    assert planes.size == (3 * PLANE_PIXELS, PLANE_PIXELS)
    assert stack.size == (STACK_COLUMNS * STACK_PIXELS, -(-STACK_SLICES // STACK_COLUMNS) * STACK_PIXELS)
    assert all(picture.plane_contours["truth"])
    drawn = [bool(path) for path in picture.stack_contours["truth"]]
    assert drawn[STACK_SLICES // 2]
    assert not drawn[0]


def test_large_nodule_widens_the_field() -> None:
    image = marked_image(AXES["LPS"], (0, 0, 0))
    assert nodule_picture(image, {}, (0.0, 0.0, 0.0)).field_mm == 48
    assert nodule_picture(image, {}, (0.0, 0.0, 0.0), diameter_mm=40).field_mm == pytest.approx(68)


def test_position_outside_the_image_is_an_error() -> None:
    with pytest.raises(OutsideImageError, match="does not lie in the image"):
        nodule_picture(marked_image(AXES["LPS"], (0, 0, 0)), {}, (0.0, 0.0, 90.0))


def test_picture_at_the_border_is_filled() -> None:
    image = marked_image(AXES["LPS"], (0, 0, 0))
    mask = image > -400
    picture = nodule_picture(image, {"truth": mask}, (29.0, 29.0, 29.0))
    assert picture.plane_contours["truth"] == ["", "", ""]
