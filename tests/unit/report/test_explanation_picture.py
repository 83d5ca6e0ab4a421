"""What drove a score: overlays lie where the maps do, and words say what the colours say."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from dsmt_nnunet.geometry import ArrayGeometry
from dsmt_nnunet.predictions.explanation import Explanation, ExplanationMap
from dsmt_nnunet.report import explanation_picture as pictures
from dsmt_nnunet.report.page import write_report
from tests.unit.report.cohort import CENTRE_VOXEL, SPACING_MM, Cohort, explain_case, make_cohort, page_options

CENTRE = (CENTRE_VOXEL * SPACING_MM,) * 3
FIELD_MM = 48.0


@pytest.fixture(scope="module")
def own_cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return make_cohort(tmp_path_factory.mktemp("explained"), n_cases=4)


@pytest.fixture(scope="module")
def picture(own_cohort: Cohort) -> pictures.ExplanationPicture:
    explanation = Explanation.read(explain_case(own_cohort, 0))
    image = sitk.ReadImage(str(own_cohort.images / "case_00_0000.nii.gz"))
    made = pictures.explanation_picture(explanation, image, CENTRE, FIELD_MM)
    assert made is not None
    return made


def rgba(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA"))


def strongest(overlay: np.ndarray, field_mm: float) -> tuple[float, float]:
    """Middle of what is opaque, in mm to the right of and below the middle of a square picture."""
    rows, columns = np.nonzero(overlay[..., 3] > 0.6 * overlay[..., 3].max())
    step, middle = field_mm / len(overlay), (len(overlay) - 1) / 2
    return (columns.mean() - middle) * step, (rows.mean() - middle) * step


def test_planes_show_the_place_where_it_lies(picture: pictures.ExplanationPicture) -> None:
    n = pictures.PLANE_PIXELS
    overlay = rgba(picture.planes_uri)
    assert overlay.shape == (n, 3 * n, 4)
    axial, coronal, sagittal = (overlay[:, i * n : (i + 1) * n] for i in range(3))
    assert strongest(coronal, FIELD_MM) == pytest.approx((8, -8), abs=1.5)
    assert not axial[..., 3].any()
    assert not sagittal[..., 3].any()
    assert tuple(coronal[coronal[..., 3] > 0][0, :3]) == pictures.FOR_RGB


def test_stack_shows_the_place_in_its_slices(picture: pictures.ExplanationPicture) -> None:
    overlay = rgba(picture.stack_uri)
    n, slices = pictures.STACK_PIXELS, pictures.STACK_SLICES // pictures.STACK_SHARE
    columns = overlay.shape[1] // n
    tiles = [overlay[i // columns * n :, i % columns * n :][:n, :n] for i in range(slices)]
    brightest = int(np.argmax([tile[..., 3].sum() for tile in tiles]))
    assert ((slices - 1) / 2 - brightest) * FIELD_MM / slices == pytest.approx(8, abs=2)
    assert strongest(tiles[brightest], FIELD_MM) == pytest.approx((8, 0), abs=2)


def test_surroundings_are_blue_where_they_speak_against(picture: pictures.ExplanationPicture) -> None:
    assert picture.context_field_mm == 160
    overlay = rgba(picture.context_map_uri)
    assert strongest(overlay, 160) == pytest.approx((40, 0), abs=5)
    assert tuple(overlay[overlay[..., 3] > 0][0, :3]) == pictures.AGAINST_RGB
    assert rgba(picture.context_uri).shape[:2] == (pictures.CONTEXT_PIXELS,) * 2


def test_axes_in_another_order_lie_where_they_do() -> None:
    affine = np.array([[0.5, 0, 0, 10], [0, 0, 0.25, 12], [0, -1.0, 0, 5]])
    values = np.zeros((20, 24, 16), dtype=np.float32)
    values[4, 7, 3] = 1
    part = ExplanationMap(values, ArrayGeometry((2.0, 4.0, 1.0), (20, 24, 16), affine))
    image = pictures.as_image(part)
    world = part.geometry.to_world((4, 7, 3))
    np.testing.assert_allclose(image.TransformPhysicalPointToContinuousIndex(world), (3, 7, 4), atol=1e-6)
    assert image[3, 7, 4] == 1


def test_words_say_what_the_colours_say(picture: pictures.ExplanationPicture) -> None:
    data = pictures.explanation_data(picture)
    assert "Orange: covering this place lowers the log-odds of <b>invasive</b>, by up to 2.50." in data["local"]
    assert "Blue" not in data["local"]
    assert "Blue: covering it raises the log-odds of <b>invasive</b>, by up to 0.75." in data["context"]["text"]
    assert picture.local.distance_mm == pytest.approx(np.hypot(8, 8), abs=2)
    assert "No place" in pictures.legend(pictures.ScaleWords(0.1, 0.02, 0.01, 3.0), "invasive")


def test_nearly_nothing_looks_like_nothing() -> None:
    values = np.full((4, 4), 0.002)
    assert not rgba(pictures.overlay_uri(values, pictures.SMALLEST_LIMIT))[..., 3].any()


def test_maps_of_another_place_are_left_out(own_cohort: Cohort) -> None:
    explanation = Explanation.read(explain_case(own_cohort, 0))
    image = sitk.ReadImage(str(own_cohort.images / "case_00_0000.nii.gz"))
    assert pictures.explanation_picture(explanation, image, (CENTRE[0] + 15, *CENTRE[1:]), FIELD_MM) is None


@pytest.mark.usefixtures("no_figures")
def test_page_shows_maps_where_there_are_some(own_cohort: Cohort, tmp_path: Path) -> None:
    path = explain_case(own_cohort, 0)
    text = write_report([own_cohort.metrics], tmp_path / "with.html", page_options(own_cohort)).read_text(
        encoding="utf-8"
    )
    stacks = [json.loads(found) for found in re.findall(r'class="stack">(.*?)</script>', text, re.DOTALL)]
    assert [("explanation" in stack) for stack in stacks].count(True) == 1
    assert 'name="drove"' in text
    assert text.count("what the model used, not what is true") == 2
    path.unlink()
    without = write_report([own_cohort.metrics], tmp_path / "without.html", page_options(own_cohort)).read_text(
        encoding="utf-8"
    )
    assert '"explanation"' not in without
    assert 'name="drove"' not in without.replace(pictures_script(), "")
    assert "what the model used" not in without
    assert len(text) - len(without) < 25_000


def pictures_script() -> str:
    return (Path(pictures.__file__).parent / "assets" / "script.js").read_text(encoding="utf-8")


@pytest.mark.usefixtures("no_figures")
def test_a_damaged_map_is_named(own_cohort: Cohort, tmp_path: Path) -> None:
    path = explain_case(own_cohort, 0)
    path.write_bytes(b"half")
    with pytest.raises(ValueError, match=path.name):
        write_report([own_cohort.metrics], tmp_path / "page.html", page_options(own_cohort))
    path.unlink()
