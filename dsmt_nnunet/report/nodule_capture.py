"""A nodule with its answers as one picture for an archive: what a card of the page shows, without a browser.

Nothing on it tells who the patient is: no name, no Patient ID (a case is often called so), no date.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from dsmt_nnunet import NOT_A_MEDICAL_DEVICE
from dsmt_nnunet.dicom.scan_source import ScanSource
from dsmt_nnunet.predictions.results import NodulePrediction, TaskPrediction
from dsmt_nnunet.report.figure_style import figure_style
from dsmt_nnunet.report.nodule_picture import AIR_HU, PLANES, field_mm_of, sample_planes
from dsmt_nnunet.report.numbers import readable
from dsmt_nnunet.report.places import place_in_source
from dsmt_nnunet.report.windows import WINDOWS
from dsmt_nnunet.tasks import ClassificationSchema

WIDTH_PIXELS, HEIGHT_PIXELS = 1080, 560
PREDICTED = "#E69F00"
"""As on the page: dashed, so that the colour does not matter."""
SCALE_MM = 10.0
_DPI = 100
_SIDE_PIXELS = 360
_SIDES = {"axial": ("R", "L"), "coronal": ("R", "L"), "sagittal": ("A", "P")}
"""Of the patient, at the left and the right of each plane."""


def nodule_capture(
    image: sitk.Image,
    mask: sitk.Image,
    nodule: NodulePrediction,
    schema: ClassificationSchema,
    source: ScanSource | None = None,
) -> npt.NDArray[np.uint8]:
    """Three planes with the predicted contour, the answers, and that this is no medical device.

    Args:
        image: in HU.
        mask: as predicted, 0 background.
        nodule: whose picture it is.
        schema: the tasks; the primary one comes first.
        source: of the image in the archive, for the place of the nodule.

    Returns:
        (`HEIGHT_PIXELS`, `WIDTH_PIXELS`, 3), RGB.
    """
    field = field_mm_of(nodule.diameter_mm)
    planes = sample_planes(image, nodule.centre_mm, field, AIR_HU, _SIDE_PIXELS)
    inside = sitk.Cast(mask != 0, sitk.sitkFloat32)
    layers = sample_planes(inside, nodule.centre_mm, field, 0.0, _SIDE_PIXELS)
    with figure_style():
        figure = Figure(figsize=(WIDTH_PIXELS / _DPI, HEIGHT_PIXELS / _DPI), dpi=_DPI, facecolor="black")
        canvas = FigureCanvasAgg(figure)
        for number, (name, plane, layer) in enumerate(zip(PLANES, planes, layers, strict=True)):
            height = _SIDE_PIXELS / HEIGHT_PIXELS
            axes = figure.add_axes((number / len(PLANES), 1 - height, 1 / len(PLANES), height))
            _draw_plane(axes, name, plane, layer, field)
        for line, text in enumerate(_lines(nodule, schema, source)):
            colour, size = ("white", 13) if line == 0 else ("#d9dee5", 10)
            figure.text(0.012, 0.325 - 0.042 * line, text, color=colour, fontsize=size, va="top")
        figure.text(0.012, 0.015, NOT_A_MEDICAL_DEVICE, color=PREDICTED, fontsize=11, weight="bold")
        figure.text(0.988, 0.015, "dashed: predicted contour", color=PREDICTED, fontsize=9, ha="right")
        drawn, size = canvas.print_to_buffer()  # type: ignore[no-untyped-call]
        return np.frombuffer(drawn, np.uint8).reshape(size[1], size[0], 4)[..., :3].copy()


def _draw_plane(
    axes: Axes, name: str, plane: npt.NDArray[np.float32], layer: npt.NDArray[np.float32], field_mm: float
) -> None:
    window = WINDOWS[0]
    axes.set_axis_off()
    axes.grid(False)
    axes.imshow(plane, cmap="gray", vmin=window.low_hu, vmax=window.high_hu, interpolation="nearest", aspect="auto")
    if layer.max() > 0.5:
        axes.contour(layer, levels=[0.5], colors=[PREDICTED], linestyles="dashed", linewidths=1.6)
    side = plane.shape[0]
    bar = SCALE_MM / field_mm * side
    outlined = [withStroke(linewidth=2.5, foreground="black")]
    ends = [0.04 * side, 0.04 * side + bar]
    for colour, width in (("black", 6), ("white", 3)):
        axes.plot(ends, [0.95 * side] * 2, color=colour, linewidth=width, solid_capstyle="butt")
    words = [
        (0.04, 0.93, f"{SCALE_MM:.0f} mm", "left", "bottom"),
        (0.5, 0.03, f"{name}, {window.words}", "center", "top"),
        (0.02, 0.5, _SIDES[name][0], "left", "center"),
        (0.98, 0.5, _SIDES[name][1], "right", "center"),
    ]
    for x, y, text, ha, va in words:
        axes.text(x * side, y * side, text, color="white", fontsize=9, ha=ha, va=va, path_effects=outlined)


def _lines(nodule: NodulePrediction, schema: ClassificationSchema, source: ScanSource | None) -> list[str]:
    size = "not marked in the mask" if math.isnan(nodule.diameter_mm) else f"{nodule.diameter_mm:.1f} mm"
    lines = [f"Nodule {nodule.nodule_id}: {size}, {nodule.volume_mm3:.0f} mm³"]
    place = place_in_source(source, nodule.centre_mm) if source else None
    lines += [place.words] if place else []
    names = sorted((task.name for task in schema.tasks), key=lambda name: name != schema.primary_task)
    return lines + [_answer(name, nodule.tasks[name]) for name in names if name in nodule.tasks][:5]


def _answer(name: str, answer: TaskPrediction) -> str:
    asked = answer.answer_probabilities
    shown = ", ".join(f"{label} {probability:.2f}" for label, probability in asked.items())
    threshold = "" if answer.threshold is None else f"; threshold {answer.threshold:.2f}"
    return f"{readable(name)}: {answer.decision} ({shown}{threshold})"
